//! Who is worth comparing: records that share a key. Several kinds of key, so that an error in one field leaves the
//! others.
//!
//! A key has two parts: what is shared ([`COARSE`]), and in its last byte something that narrows it down. Where few
//! share the first part, all of them are compared; where many do, only those who share the whole key. So a small
//! community loses nobody to a slip, and five million patients still give some dozens of records to compare.
//!
//! | kind | shared | narrowed down by |
//! |---|---|---|
//! | strong | social security number; another identifier | |
//! | birth | whole date of birth | first sound of the given name |
//! | name | sounds of both names in alphabetical order | year of birth |
//! | zip | postal code | sound of the given, or of the family name |
//! | house | house number and first word of the street | postal code |
//! | city | sounds of the city and of the given, or the family name | year of birth |
//! | phone | telephone number | |

use std::collections::BTreeSet;

use aws_lc_rs::digest;

use super::nicknames;
use super::normalize::{Name, Profile, Street, letters};

/// No record has more keys than this.
pub const MOST: usize = 16;
/// The bits of a key that say what is shared.
pub const COARSE: u64 = !0xff;
/// So many members share the first part of a key at most, if all of them are to be compared.
pub const FEW: usize = 64;
/// Names of a record that have all kinds of keys: a maiden or an alias name counts like the first one.
const NAMES: usize = 2;

/// The keys of a record, or of a query: hashes, because they are only ever compared.
pub fn keys(profile: &Profile) -> Vec<u64> {
    let mut keys = Vec::with_capacity(MOST);
    let mut push = |key: u64| {
        if keys.len() < MOST && !keys.contains(&key) {
            keys.push(key);
        }
    };
    strong_keys(profile).into_iter().for_each(&mut push);
    // Before the others, because whoever has a whole date of birth can be found by it, under every name.
    if let Some(day) = birthday(profile) {
        let unnamed = profile.names.is_empty().then_some("");
        let given = profile.names.iter().map(|name| name.given.as_str()).chain(unnamed);
        given.for_each(|given| push(day | initial(given)));
    } else if let Some((year, ..)) = profile.birth {
        push(birth_year(year));
    }
    profile.phones.iter().take(2).for_each(|phone| push(hash("phone", &[phone]) & COARSE));
    let home = profile.addresses.first();
    if let Some(house) = home.and_then(house_key) {
        push(house);
    }
    for name in profile.names.iter().take(NAMES) {
        name_keys(profile, name, home, &mut push);
    }
    keys
}

/// The key of a record that tells a year of birth, or a month, and no day: it may be of anybody born in that year.
pub fn birth_year(year: u16) -> u64 {
    hash("birth-year", &[&year.to_string()])
}

/// What all birth keys of one whole date of birth share.
pub fn birthday(profile: &Profile) -> Option<u64> {
    let (year, month, day) = profile.birth?;
    Some(hash("birth", &[&format!("{year:04}{:02}{:02}", month?, day?)]) & COARSE)
}

/// The birth keys of which everybody has one who was born on a day and has a given name of some letters, however the
/// name is parted into words: a record is indexed by the first of them.
pub fn called(day: u64, given: &str) -> BTreeSet<u64> {
    let letters = letters(given);
    let starts = letters.char_indices().map(|(at, letter)| &letters[..at + letter.len_utf8()]);
    // Names that say nothing have no sound.
    starts.map(|start| day | initial(start)).chain([day]).collect()
}

fn name_keys(profile: &Profile, name: &Name, home: Option<&Street>, push: &mut impl FnMut(u64)) {
    let given = sound(nicknames::canonical(&name.given));
    let family = sound(&name.family);
    let year = profile.birth.map_or(0, |(year, ..)| u64::from(year) & 0xff);
    if !given.is_empty() && !family.is_empty() {
        // In alphabetical order, so that swapped names meet.
        let mut both = [given.as_str(), family.as_str()];
        both.sort_unstable();
        push(hash("name", &both) & COARSE | year);
    }
    let Some(home) = home else { return };
    let city = sound(&home.city);
    for sound in [&given, &family].into_iter().filter(|sound| !sound.is_empty()) {
        if !home.zip.is_empty() {
            push(hash("zip", &[&home.zip]) & COARSE | hash("sound", &[sound]) & !COARSE);
        }
        if !city.is_empty() {
            push(hash("city", &[&city, sound]) & COARSE | year);
        }
    }
}

fn house_key(home: &Street) -> Option<u64> {
    let mut words = home.line.split(' ');
    let (house, street) = (words.next()?, words.next()?);
    Some(hash("house", &[house, street]) & COARSE | hash("zip", &[&home.zip]) & !COARSE)
}

/// The keys by which one strong identifier finds another: social security number, driver's licence and the like.
pub fn strong_keys(profile: &Profile) -> Vec<u64> {
    let ssn = profile.ssn.iter().map(|ssn| hash("ssn", &[ssn]));
    let other = profile.ids.iter().take(3).map(|id| {
        let authority = id.authority();
        hash("id", &[authority.universal_id(), authority.kind(), id.id()])
    });
    ssn.chain(other).collect()
}

/// How a given name starts, as it sounds; 0 for none.
fn initial(given: &str) -> u64 {
    sound(nicknames::canonical(given)).bytes().next().map_or(0, u64::from)
}

/// How a normalized name sounds; the name itself where that means nothing (other scripts).
fn sound(name: &str) -> String {
    if !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return name.chars().filter(|letter| letter.is_alphanumeric()).collect();
    }
    let code = rphonetic::DoubleMetaphone::new(Some(5)).double_metaphone(name).primary();
    if code.is_empty() { name.to_owned() } else { code }
}

/// The hash of a kind of value and its parts.
pub(super) fn hash(kind: &str, parts: &[&str]) -> u64 {
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

    fn meets(a: &str, b: &str, whole: bool) -> bool {
        let (a, b) = (keys(&person(a)), keys(&person(b)));
        let bits = if whole { u64::MAX } else { COARSE };
        a.iter().any(|key| b.iter().any(|other| key & bits == other & bits))
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
            "Smith|Eve|19990312|F|12 Elm Avenue|97301||",
            "Smith|Ada|19990312|F||97301||",
        ] {
            assert!(meets(whole, other, true), "{other}");
        }
        // Among few, more is forgiven.
        for other in
            ["Okafor|Ada|||||", "Smith|Ruth|19870312|F||||", "Smith|Ruth||F||97301||", "Smith|Eve||F|12 Elm St|10001||"]
        {
            assert!(meets(whole, other, false) && !meets(whole, other, true), "{other}");
        }
        assert!(meets("Okafor|Bob|19870312|M||||", "Okafor|Robert|19870312|M||||", true));
        assert!(!meets(whole, "Smith|John|19600101|M|9 Oak Av|10001|2125550100|", false));
    }

    #[test]
    fn whoever_was_born_on_one_day_shares_the_start_of_a_key_under_every_name() {
        let day = birthday(&person("X|Y|19870312|F")).unwrap();
        for text in ["Okafor|Ada|19870312|F", "Okafor|BABY BOY|19870312|M", "Doe|John|19870312|M", "Okafor||19870312|"]
        {
            assert!(keys(&person(text)).iter().any(|key| key & COARSE == day), "{text}");
        }
        assert!(!keys(&person("Okafor|Ada|19870313|F")).iter().any(|key| key & COARSE == day));
        assert_eq!(birthday(&person("Okafor|Ada|198703|F")), None, "not a whole date");
        let names =
            ["Ada", "Bea", "Cleo", "Dora", "Eve", "Fay"].map(|given| crate::id::PersonName::new("Okafor", &[given]));
        let many =
            crate::id::Demographics { names: names.to_vec(), birth: "19870312".parse().ok(), ..Default::default() };
        let keys = keys(&Profile::of(&many));
        assert_eq!(keys.iter().filter(|key| *key & COARSE == day).count(), 5, "Ada and Eve start alike: {keys:?}");
    }

    #[test]
    fn whoever_is_called_so_is_among_few_of_those_born_on_a_day() {
        let day = birthday(&person("X|Y|19870312|F")).unwrap();
        for (asked, known) in [
            ("Ada", "ADA"),
            ("MaryAnn", "Mary Ann"),
            ("Mary Ann", "Maryann"),
            ("Al-Bert", "Albert"),
            ("BABY BOY", "Baby Boy"),
            ("José", "JOSE"),
            ("O'Neil", "O Neil"),
            ("Ольга", "ОЛЬГА"),
        ] {
            let known = keys(&person(&format!("Okafor|{known}|19870312|F")));
            assert!(called(day, asked).iter().any(|key| known.contains(key)), "{asked}");
        }
        assert!(called(day, "Elizabeth").len() <= 4);
        assert!(!called(day, "Elizabeth").iter().any(|key| keys(&person("Okafor|Mary|19870312|F")).contains(key)));
    }

    proptest! {
        #[test]
        fn whatever_parts_the_words_of_a_name(given in "[A-Za-z]{1,3}( ?[A-Za-z]{1,6}){0,3}", family in "[A-Z]{2,6}") {
            let day = birthday(&person("X|Y|19870312|F")).unwrap();
            let known = keys(&person(&format!("{family}|{given}|19870312|F")));
            prop_assert!(called(day, &given.replace(' ', "")).iter().any(|key| known.contains(key)));
        }

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
