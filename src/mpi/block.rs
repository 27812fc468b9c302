//! Who is worth comparing: records that share a key. Several kinds of key, so that an error in one field leaves the
//! others; each kind is narrow enough that five million patients give it some dozens of records.

use aws_lc_rs::digest;

use super::nicknames;
use super::normalize::Profile;

/// No record has more keys than this.
pub const MOST: usize = 6;

/// The keys of a record, or of a query: hashes, because they are only ever compared.
pub fn keys(profile: &Profile) -> Vec<u64> {
    let mut keys = Vec::with_capacity(MOST);
    for key in strong_keys(profile) {
        if keys.len() < MOST && !keys.contains(&key) {
            keys.push(key);
        }
    }
    let mut push = |kind: &str, parts: &[&str]| {
        let key = hash(kind, parts);
        if keys.len() < MOST && !keys.contains(&key) {
            keys.push(key);
        }
    };
    if let Some(phone) = profile.phones.first() {
        push("phone", &[phone]);
    }
    // A maiden or an alias name counts like the first one, as far as there is room.
    for name in profile.names.iter().take(2) {
        let given = nicknames::canonical(&name.given);
        let (family_code, given_code) = (sound(&name.family), sound(given));
        if let (Some((year, Some(month), Some(day))), false) = (profile.birth, given_code.is_empty()) {
            push("birth", &[&format!("{year:04}{month:02}{day:02}"), &given_code[..1]]);
        }
        if let (Some((year, ..)), false, false) = (profile.birth, family_code.is_empty(), given_code.is_empty()) {
            // In alphabetical order, so that swapped names meet.
            let mut codes = [family_code.as_str(), given_code.as_str()];
            codes.sort_unstable();
            push("name", &[codes[0], codes[1], &year.to_string()]);
        }
        let home = profile.addresses.iter().map(|address| address.zip.as_str()).find(|zip| !zip.is_empty());
        if let (Some(zip), false, false) = (home, family_code.is_empty(), name.given.is_empty()) {
            let first: String = given.chars().take(3).collect();
            push("home", &[&first, &family_code, zip]);
        }
    }
    keys
}

/// The keys by which one strong identifier finds another: social security number, driver's licence and the like.
pub fn strong_keys(profile: &Profile) -> Vec<u64> {
    let ssn = profile.ssn.iter().map(|ssn| hash("ssn", &[ssn]));
    let other = profile.ids.iter().take(1).map(|id| {
        let authority = id.authority();
        hash("id", &[authority.universal_id(), authority.kind(), id.id()])
    });
    ssn.chain(other).collect()
}

/// How a normalized name sounds; the name itself where that means nothing (other scripts).
fn sound(name: &str) -> String {
    if !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return name.chars().filter(char::is_ascii_alphanumeric).collect();
    }
    let code = rphonetic::DoubleMetaphone::new(Some(5)).double_metaphone(name).primary();
    if code.is_empty() { name.to_owned() } else { code }
}

fn hash(kind: &str, parts: &[&str]) -> u64 {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(kind.as_bytes());
    for part in parts {
        context.update(b"\0");
        context.update(part.as_bytes());
    }
    let sum = context.finish();
    sum.as_ref().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mpi::compare::tests::person;

    fn meet(a: &str, b: &str) -> bool {
        let (a, b) = (keys(&person(a)), keys(&person(b)));
        a.iter().any(|key| b.contains(key))
    }

    #[test]
    fn one_error_does_not_hide_a_record() {
        let whole = "Okafor|Ada|19870312|F|12 Elm St|97301|5035550100|";
        for other in [
            "Okafor|Ada|19870312|F||||",
            "Okafur|Ada|19870312|F||||",
            "Ada|Okafor|19870312|F||||",
            "Smith|Ada|19870312|F||||",
            "Okafor|Ada|19870321|F||||",
            "Okafor|Ada|19860312|F|12 Elm St|97301||",
            "Okafor|Eve|19990312|F|||5035550100|",
        ] {
            assert!(meet(whole, other), "{other}");
        }
        assert!(meet("Okafor|Bob|19870312|M||||", "Okafor|Robert|19870312|M||||"));
        assert!(!meet(whole, "Smith|John|19600101|M|9 Oak Av|10001|2125550100|"));
    }

    proptest! {
        #[test]
        fn any_name_has_few_keys(family in ".{0,30}", given in ".{0,30}") {
            let person = crate::id::Demographics {
                names: vec![crate::id::PersonName::new(&family, &[&given])],
                birth: "19870312".parse().ok(),
                ..Default::default()
            };
            prop_assert!(keys(&Profile::of(&person)).len() <= MOST);
        }
    }
}
