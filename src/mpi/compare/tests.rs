use proptest::prelude::*;

use super::*;
use crate::id::patient::{MultipleBirth, TelecomSystem};
use crate::id::{Address, AssigningAuthority, Demographics, Gender, PatientId, PersonName, Telecom};

/// `family|given middle|birth|gender|street|zip|phone|ssn`.
pub(crate) fn demographics(text: &str) -> Demographics {
    let parts: Vec<&str> = text.split('|').collect();
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    let given: Vec<&str> = part(1).split_whitespace().collect();
    let address = Address { lines: vec![part(4).into()], postal_code: part(5).into(), ..Address::default() };
    let ssn = AssigningAuthority::new(crate::mpi::normalize::SSN_OID, "ISO").unwrap();
    Demographics {
        names: vec![PersonName::new(part(0), &given)],
        birth: part(2).parse().ok(),
        gender: Gender::from_wire(part(3)),
        addresses: if part(4).is_empty() && part(5).is_empty() { Vec::new() } else { vec![address] },
        telecoms: (!part(6).is_empty())
            .then(|| Telecom { system: TelecomSystem::Phone, value: part(6).into(), usage: "PRN".into() })
            .into_iter()
            .collect(),
        other_ids: PatientId::new(part(7), ssn).into_iter().collect(),
        ..Demographics::default()
    }
}

pub(crate) fn person(text: &str) -> Profile {
    Profile::of(&demographics(text))
}

fn check(a: &str, b: &str, grade: Grade) {
    let found = compare(&person(a), &person(b), &Parameters::default());
    assert_eq!(found.grade(), grade, "{a} / {b}: {found:?}");
}

#[test]
fn evidence_adds_up_to_a_grade() {
    use Grade::{Certain, No, Possible, Probable};
    let whole = "Okafor|Ada Mary|19870312|F|12 Elm Street|97301|5035550100|123-45-6780";
    for (other, grade) in [
        (whole, Certain),
        ("OKAFOR|ADA M|19870312|F|12 Elm St|97301||", Certain),
        ("Okafor|Ada|19870312|F|||503-555-0100|", Certain),
        ("Okafor|Ada|19870312|F||97301||", Certain),
        ("Okafor|Ada|19870312|F||||", Probable),
        ("Okafor|Ada|19870312|||||", Probable),
        ("Okafor|Ada|19870312|F|9 Oak Ave|10001|2125550199|", Possible),
        ("Okafor|Ada|||||| ", No),
        ("Smith|Ada|19870312|F|12 Elm St|97301|5035550100|", Certain),
        ("Okafor|Ada|19870321|F|12 Elm St|97301|5035550100|", Certain),
        ("Smith|John|19500101|M|||| ", No),
    ] {
        check(whole, other, grade);
    }
}

#[test]
fn conflicts_hold_a_match_down() {
    use Grade::{No, Possible};
    for (a, b, conflict, at_most) in [
        // Twins: everything but the given name.
        (
            "Reed|Ada|20250101|F|1 Elm St|97301|5035550100|",
            "Reed|Eve|20250101|F|1 Elm St|97301|5035550100|",
            Conflict::Twins,
            No,
        ),
        // Boy and girl.
        ("Reed|Adam|20250101|M|1 Elm St|97301||", "Reed|Eve|20250101|F|1 Elm St|97301||", Conflict::GenderAndName, No),
        (
            "Reed Sr|Adam|19600101|M|1 Elm St|97301||",
            "Reed Jr|Adam|19600101|M|1 Elm St|97301||",
            Conflict::Generation,
            Possible,
        ),
        (
            "Reed|Ada|19600101|F|1 Elm St|97301||123-45-6780",
            "Reed|Ada|19600101|F|1 Elm St|97301||321-54-7680",
            Conflict::Ssn,
            Possible,
        ),
        // A placeholder is no name: newborns of one mother.
        (
            "Reed|BABY GIRL|20250101|F|1 Elm St|97301|5035550100|",
            "Reed|BABY GIRL|20250101|F|1 Elm St|97301|5035550100|",
            Conflict::Thin,
            Possible,
        ),
    ] {
        let found = compare(&person(a), &person(b), &Parameters::default());
        assert!(found.conflicts.contains(&conflict) && found.grade() <= at_most, "{a} / {b}: {found:?}");
    }
}

#[test]
fn a_father_and_his_son_of_one_name_are_never_certain() {
    let found = compare(
        &person("Reed|Adam|19600101|M|1 Elm St|97301|5035550100|"),
        &person("Reed|Adam|19880617|M|1 Elm St|97301|5035550100|"),
        &Parameters::default(),
    );
    assert!(found.conflicts.contains(&Conflict::Birth) && found.grade() < Grade::Certain, "{found:?}");
}

#[test]
fn twins_with_an_order_of_birth_stay_apart() {
    let twin = |order| {
        let birth = MultipleBirth { multiple: true, order: Some(order) };
        Profile::of(&Demographics {
            multiple_birth: Some(birth),
            ..demographics("Reed|Ada|20250101|F|1 Elm St|97301||")
        })
    };
    assert_eq!(compare(&twin(1), &twin(2), &Parameters::default()).grade(), Grade::No);
    assert_eq!(compare(&twin(1), &twin(1), &Parameters::default()).grade(), Grade::Certain);
}

#[test]
fn scores_are_between_0_and_100_and_rise_with_the_evidence() {
    let score =
        |bits| Explanation { bits, prior: 0.0, household: 0.0, fields: Vec::new(), conflicts: Vec::new() }.score();
    assert_eq!((score(-200.0), score(0.0), score(200.0)), (0, 50, 100));
    assert!(score(9.0) > 80 && score(12.0) > score(9.0));
}

#[test]
fn an_explanation_holds_no_value() {
    let one = person("Canary|Tweety|19870312|F|12 Elm St|97301|5035550100|123-45-6780");
    let text = format!("{:?} {one:?}", compare(&one, &one, &Parameters::default())).to_lowercase();
    for value in ["canary", "tweety", "1987", "elm", "97301", "5550100", "6780"] {
        assert!(!text.contains(value), "{value}: {text}");
    }
}

proptest! {
    #[test]
    fn comparison_is_symmetric_and_a_record_never_contradicts_itself(
        a in "(Reed|Okafor|Li-Wu)\\|(Ada|Bob|Eve M)\\|(19870312|1987|19600101)?\\|[FM]?\\|(1 Elm)?\\|(97301)?\\|(5035550100)?\\|(123456780)?",
        b in "(Reed|Okafor|Wu)\\|(Ada|Robert|Eve)\\|(19870312|198703|19600110)?\\|[FM]?\\|(1 Elm)?\\|(97301)?\\|(5035550100)?\\|(123456780|6780)?",
    ) {
        let (one, two) = (person(&a), person(&b));
        let parameters = Parameters::default();
        let (forth, back) = (compare(&one, &two, &parameters), compare(&two, &one, &parameters));
        prop_assert!((forth.bits - back.bits).abs() < 1e-9, "{:?} {:?}", forth, back);
        let own = compare(&one, &one, &parameters);
        prop_assert!(own.conflicts.iter().all(|conflict| matches!(conflict, Conflict::Thin | Conflict::Birth)), "{:?}", own);
    }
}
