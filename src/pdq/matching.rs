//! Whether a person is one that a query by example asks for (ITI TF-2: 3.21.4.1.3): everything that the query tells has
//! to fit. What fits exactly is always told; what is only close, if the query or the supplier is content with that.

use smol_str::SmolStr;

use super::criteria::{Intent, Interval, PatientQuery, Pattern};
use crate::id::patient::MultipleBirth;
use crate::id::{Address, Demographics, Dtm, PatientId, PersonName, Telecom};
use crate::mpi::nicknames;
use crate::mpi::normalize::{SSN_OID, letters, phone};
use crate::mpi::similarity::jaro_winkler;
use crate::storage::identities::Person;

/// The confidence of whoever fits exactly.
pub const EXACT: u8 = 100;
/// Names that are less alike than this are different.
const ALIKE: f64 = 0.88;
/// The confidence of a date that is known less precisely than it was asked for.
const LESS_PRECISE: u8 = 90;

/// How well the best record of a person fits, up to 100, and which one it is. None: it is not one of those asked for.
pub fn fit(query: &PatientQuery, person: &Person) -> Option<(u8, usize)> {
    // No visits are kept, so nobody is known to have the one that is described.
    if query.visit != Default::default() || !query.ids.iter().all(|id| has_id(person, id)) {
        return None;
    }
    let records = person.records.iter().enumerate();
    let fits = records.filter_map(|(at, record)| Some((demographics(query, &record.demographics)?, at)));
    // Of those that fit alike, what was told last.
    fits.max_by_key(|(confidence, at)| (*confidence, person.records[*at].updated))
}

/// In use in a domain of ours, or told by a source as an identifier of another kind, or the account.
fn has_id(person: &Person, id: &PatientId) -> bool {
    person.ids().any(|own| own == id)
        || person.records.iter().any(|record| {
            let told = &record.demographics;
            told.other_ids.iter().chain(&told.account).any(|own| own == id || same_ssn(own, id))
        })
}

fn same_ssn(one: &PatientId, other: &PatientId) -> bool {
    let is_ssn = |id: &PatientId| id.authority().universal_id() == SSN_OID;
    is_ssn(one) && is_ssn(other) && letters(one.id()) == letters(other.id())
}

/// How well demographics fit: 100 for all exactly.
fn demographics(query: &PatientQuery, known: &Demographics) -> Option<u8> {
    let asked = &query.person;
    let told = |asked: &Option<SmolStr>, known: &Option<SmolStr>| {
        asked.as_ref().is_none_or(|asked| known.as_ref().is_some_and(|known| text(asked, known)))
    };
    let exact = asked.gender.is_none_or(|gender| known.gender == Some(gender))
        && query.birth_between.as_ref().is_none_or(|between| lies_in(known.birth.as_ref(), between))
        && asked.addresses.iter().all(|one| known.addresses.iter().any(|other| address(one, other)))
        && asked.telecoms.iter().all(|one| known.telecoms.iter().any(|other| telecom(one, other)))
        && asked.mothers_ids.iter().all(|id| known.mothers_ids.contains(id))
        && asked.account.as_ref().is_none_or(|account| known.account.as_ref() == Some(account))
        && asked.multiple_birth.is_none_or(|one| known.multiple_birth.is_some_and(|other| birth_order(one, other)))
        && asked.deceased.is_none_or(|dead| dead == (known.deceased == Some(true) || known.death.is_some()))
        && told(&asked.birth_place, &known.birth_place)
        && told(&asked.marital_status, &known.marital_status)
        && told(&asked.language, &known.language)
        && told(&asked.race, &known.race)
        && told(&asked.ethnicity, &known.ethnicity);
    if !exact {
        return None;
    }
    let birth = date(asked.birth.as_ref(), known.birth.as_ref())?;
    let death = date(asked.death.as_ref(), known.death.as_ref())?;
    let mother = match &asked.mothers_maiden_name {
        Some(one) => name(query, one, known.mothers_maiden_name.as_ref()?)?,
        None => EXACT,
    };
    let names = match asked.names.as_slice() {
        [] => EXACT,
        some => some.iter().flat_map(|one| known.names.iter().filter_map(|other| name(query, one, other))).max()?,
    };
    Some(birth.min(death).min(mother).min(names))
}

fn name(query: &PatientQuery, asked: &PersonName, known: &PersonName) -> Option<u8> {
    if !asked.suffix.is_empty() && !text(&asked.suffix, &known.suffix) {
        return None;
    }
    let mut confidence = part(query, &asked.family, std::iter::once(known.family.as_str()))?;
    for (at, given) in asked.given.iter().enumerate() {
        // The first is the first; of the others, each may be any.
        let range = if at == 0 { 0..known.given.len().min(1) } else { 1.min(known.given.len())..known.given.len() };
        confidence = confidence.min(part(query, given, known.given[range].iter().map(AsRef::as_ref))?);
    }
    Some(confidence)
}

/// A part of a name against those that it may be.
fn part<'k>(query: &PatientQuery, asked: &str, known: impl Iterator<Item = &'k str>) -> Option<u8> {
    let Some(intent) = query.name_intent(asked) else { return Some(EXACT) };
    known
        .filter_map(|known| match intent {
            Intent::Wildcard(pattern) => pattern.matches(known).then_some(EXACT),
            Intent::Exact(asked) | Intent::Similar(asked) => similar(&letters(asked), &letters(known)),
        })
        .max()
}

/// How sure it is that two folded names are one.
fn similar(asked: &str, known: &str) -> Option<u8> {
    if asked == known {
        return Some(EXACT);
    }
    if nicknames::equivalent(asked, known) {
        return Some(95);
    }
    let alike = jaro_winkler(asked, known);
    (alike >= ALIKE).then_some((alike * 100.0).min(99.0) as u8)
}

/// A date as precise as it was asked for.
fn date(asked: Option<&Dtm>, known: Option<&Dtm>) -> Option<u8> {
    let Some(asked) = asked else { return Some(EXACT) };
    let known = known?;
    if known.as_str().starts_with(asked.as_str()) || known.date() == asked.date() {
        return Some(EXACT);
    }
    asked.date().starts_with(known.date()).then_some(LESS_PRECISE)
}

fn lies_in(known: Option<&Dtm>, between: &Interval) -> bool {
    let Some(known) = known else { return false };
    between.from.as_ref().is_none_or(|from| known.latest() >= from.earliest())
        && between.to.as_ref().is_none_or(|to| known.earliest() <= to.latest())
}

fn address(asked: &Address, known: &Address) -> bool {
    let parts = [
        (&asked.city, &known.city),
        (&asked.state, &known.state),
        (&asked.country, &known.country),
        (&asked.county, &known.county),
    ];
    // Five digits mean all of their ZIP+4 codes.
    let zip = text(&asked.postal_code, &known.postal_code)
        || letters(&known.postal_code).strip_prefix(&*letters(&asked.postal_code)).is_some_and(|rest| rest.len() == 4);
    zip && parts.iter().all(|(asked, known)| text(asked, known))
        && asked.lines.iter().all(|asked| known.lines.iter().any(|known| text(asked, known)))
}

fn telecom(asked: &Telecom, known: &Telecom) -> bool {
    match (phone(&asked.value), phone(&known.value)) {
        (Some(asked), Some(known)) => asked == known,
        (None, _) | (_, None) => text(&asked.value, &known.value),
    }
}

fn birth_order(asked: MultipleBirth, known: MultipleBirth) -> bool {
    asked.multiple == known.multiple && asked.order.is_none_or(|order| known.order == Some(order))
}

/// A text, of which case, accents and punctuation do not count; nothing asks for nothing.
fn text(asked: &str, known: &str) -> bool {
    let asked = asked.trim();
    if asked.contains('*') {
        return Pattern::new(asked).matches(known);
    }
    asked.is_empty() || letters(asked) == letters(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::patient::TelecomSystem;
    use crate::id::{Gender, Timestamp};
    use crate::storage::identities::{Held, PersonKey, Record};

    fn ada() -> Person {
        let demographics = Demographics {
            names: vec![PersonName::new("Okafor", &["Ada", "Mary"]), PersonName::new("Lindqvist", &["Ada"])],
            gender: Some(Gender::Female),
            birth: "19870312".parse().ok(),
            addresses: vec![Address {
                lines: vec!["12 Elm St".into()],
                city: "Salem".into(),
                state: "OR".into(),
                postal_code: "97301-1234".into(),
                ..Address::default()
            }],
            telecoms: vec![Telecom {
                system: TelecomSystem::Phone,
                value: "(503) 555-0100".into(),
                usage: "PRN".into(),
            }],
            mothers_maiden_name: Some(PersonName::new("Nwosu", &["Grace"])),
            other_ids: vec![PatientId::from_cx("219-09-1234^^^&2.16.840.1.113883.4.1&ISO").unwrap()],
            account: PatientId::from_cx("A1^^^&2.999.7&ISO").ok(),
            ..Demographics::default()
        };
        let id = PatientId::from_cx("N-44^^^&2.999.1&ISO").unwrap();
        let gone = Held { id: PatientId::from_cx("N-43^^^&2.999.1&ISO").unwrap(), replaced_by: Some(id.clone()) };
        let ids = vec![Held { id, replaced_by: None }, gone];
        let record = Record { ids, demographics, updated: Timestamp::from_millis(1) };
        Person { key: PersonKey(1), records: vec![record] }
    }

    fn asking(change: impl FnOnce(&mut PatientQuery)) -> Option<u8> {
        let mut query = PatientQuery::default();
        change(&mut query);
        fit(&query, &ada()).map(|(confidence, _)| confidence)
    }

    #[test]
    fn names_fit_exactly_by_wildcard_or_nearly() {
        for (family, given, expected) in [
            ("OKAFOR", &["ada"][..], Some(100)),
            ("Okafor", &["Ada", "Mary"], Some(100)),
            ("Okafor", &["Mary"], None),
            ("Lindqvist", &[], Some(100)),
            ("OK*", &["*"], Some(100)),
            ("*for", &[], Some(100)),
            ("OX*", &[], None),
            ("", &["Ada"], Some(100)),
            ("Okafur", &["Ada"], Some(93)),
            ("Smith", &["Ada"], None),
        ] {
            let found = asking(|query| query.person.names = vec![PersonName::new(family, given)]);
            assert_eq!(found, expected, "{family} {given:?}");
        }
    }

    #[test]
    fn a_date_is_as_precise_as_it_is_told() {
        for (birth, expected) in
            [("1987", Some(100)), ("198703", Some(100)), ("19870312", Some(100)), ("1988", None), ("198704", None)]
        {
            assert_eq!(asking(|query| query.person.birth = birth.parse().ok()), expected, "{birth}");
        }
        for (from, to, expected) in [
            ("1980", "1990", Some(100)),
            ("198703", "19870312", Some(100)),
            ("19870313", "", None),
            ("", "19870311", None),
        ] {
            let between = Interval { from: from.parse().ok(), to: to.parse().ok() };
            assert_eq!(asking(|query| query.birth_between = Some(between.clone())), expected, "{from}-{to}");
        }
        assert_eq!(date("19870312".parse().ok().as_ref(), "1987".parse().ok().as_ref()), Some(LESS_PRECISE));
    }

    #[test]
    fn identifiers_in_use_social_security_numbers_and_accounts_are_found() {
        for (id, expected) in [
            ("N-44^^^&2.999.1&ISO", true),
            ("N-43^^^&2.999.1&ISO", false),
            ("N-44^^^&2.999.2&ISO", false),
            ("219091234^^^&2.16.840.1.113883.4.1&ISO", true),
            ("219091235^^^&2.16.840.1.113883.4.1&ISO", false),
            ("A1^^^&2.999.7&ISO", true),
        ] {
            let found = asking(|query| query.ids = vec![PatientId::from_cx(id).unwrap()]);
            assert_eq!(found.is_some(), expected, "{id}");
        }
    }

    #[test]
    fn every_part_of_an_address_and_the_rest_have_to_fit() {
        type Change = fn(&mut Demographics);
        let table: [(Change, bool); 11] = [
            (|one| one.addresses = vec![Address { city: "SALEM".into(), ..Address::default() }], true),
            (|one| one.addresses = vec![Address { city: "Sal*".into(), ..Address::default() }], true),
            (|one| one.addresses = vec![Address { postal_code: "97301".into(), ..Address::default() }], true),
            (|one| one.addresses = vec![Address { postal_code: "9730".into(), ..Address::default() }], false),
            (|one| one.addresses = vec![Address { lines: vec!["12 elm st.".into()], ..Address::default() }], true),
            (|one| one.addresses = vec![Address { state: "WA".into(), ..Address::default() }], false),
            (|one| one.gender = Some(Gender::Male), false),
            (|one| one.mothers_maiden_name = Some(PersonName::new("NWOSU", &[])), true),
            (|one| one.mothers_maiden_name = Some(PersonName::new("Okafor", &[])), false),
            (|one| one.marital_status = Some("M".into()), false),
            (|one| one.account = PatientId::from_cx("A2^^^&2.999.7&ISO").ok(), false),
        ];
        for (number, (change, expected)) in table.into_iter().enumerate() {
            assert_eq!(asking(|query| change(&mut query.person)).is_some(), expected, "row {number}");
        }
        let telecom = Telecom { system: TelecomSystem::Phone, value: "+15035550100".into(), usage: "".into() };
        assert!(asking(|query| query.person.telecoms = vec![telecom]).is_some());
    }

    #[test]
    fn nobody_is_known_to_have_a_visit() {
        assert_eq!(asking(|query| query.visit.class = Some("I".into())), None);
    }
}
