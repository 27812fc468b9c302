//! Makes what sources wrote comparable, and leaves out what says nothing: placeholders are kept in the store and
//! ignored here.
//!
//! A search unpacks hundreds of profiles, nearly all of them of short words, so they are kept where no allocation is needed.

use smol_str::SmolStr;

use crate::id::patient::{MultipleBirth, TelecomSystem};
use crate::id::{Demographics, Gender, PatientId, PersonName};

/// The OID of the US social security number, as an assigning authority.
pub const SSN_OID: &str = "2.16.840.1.113883.4.1";

/// Demographics ready for comparison. Holds patient data: `Debug` prints no value.
#[derive(Clone, Default, PartialEq)]
pub struct Profile {
    /// Names without placeholders.
    pub names: Vec<Name>,
    /// Female, male or other; unknown is absent.
    pub gender: Option<Gender>,
    /// Year, month, day of birth, as far as told.
    pub birth: Option<(u16, Option<u8>, Option<u8>)>,
    /// Postal addresses.
    pub addresses: Vec<Street>,
    /// Ten digits.
    pub phones: Vec<SmolStr>,
    /// Lower case.
    pub emails: Vec<SmolStr>,
    /// Nine digits.
    pub ssn: Option<SmolStr>,
    /// The last four digits of the SSN, when known.
    pub ssn_last4: Option<SmolStr>,
    /// Other identifiers: driver's licence, member id.
    pub ids: Vec<PatientId>,
    /// Twins and their order.
    pub multiple_birth: Option<MultipleBirth>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Profile(…)")
    }
}

/// A name: upper case, ASCII where that is possible, without punctuation.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Name {
    /// Family name without spaces and hyphens; empty if it is a placeholder.
    pub family: SmolStr,
    /// The parts of a double family name; empty for a simple one.
    pub family_parts: Vec<SmolStr>,
    /// First given name.
    pub given: SmolStr,
    /// The other given names.
    pub middle: Vec<SmolStr>,
    /// Generation: 1 senior, 2 junior or second, 3 and so on; 0 when not told.
    pub generation: u8,
}

/// An address.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Street {
    /// All lines as one, abbreviated.
    pub line: SmolStr,
    /// City.
    pub city: SmolStr,
    /// First five digits of the postal code.
    pub zip: SmolStr,
}

impl Profile {
    /// The comparable form of demographics.
    pub fn of(person: &Demographics) -> Self {
        let mut names: Vec<Name> = Vec::new();
        for name in person.names.iter().take(8).filter_map(name) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let telecom = |system: TelecomSystem| {
            person.telecoms.iter().take(16).filter(move |telecom| telecom.system == system).map(|t| t.value.as_str())
        };
        let is_ssn = |id: &&PatientId| id.authority().universal_id() == SSN_OID;
        let ssn_text = person.other_ids.iter().find(is_ssn).map(PatientId::id);
        let ssn = ssn_text.and_then(ssn);
        let last4 = ssn.as_deref().map(|ssn| ssn[5..].into()).or_else(|| ssn_text.and_then(ssn_last4));
        Self {
            names,
            gender: person.gender.filter(|gender| *gender != Gender::Unknown),
            birth: person.birth.as_ref().map(|birth| birth.ymd()).filter(|birth| is_plausible_birth(*birth)),
            addresses: person.addresses.iter().take(8).filter_map(street).collect(),
            phones: telecom(TelecomSystem::Phone).filter_map(phone).collect(),
            emails: telecom(TelecomSystem::Email).filter_map(email).collect(),
            ssn,
            ssn_last4: last4,
            ids: person.other_ids.iter().filter(|id| !is_ssn(id)).take(16).cloned().collect(),
            multiple_birth: person.multiple_birth.filter(|birth| birth.multiple || birth.order.is_some()),
        }
    }
}

/// Names that stand for "nobody told us": ignored in comparison.
const PLACEHOLDERS: &[&str] = &[
    "ANON",
    "ANONYMOUS",
    "BABY",
    "BABYBOY",
    "BABYGIRL",
    "BOY",
    "FEMALE",
    "GIRL",
    "INFANT",
    "MALE",
    "NEWBORN",
    "NFN",
    "NLN",
    "NONAME",
    "NONE",
    "NULL",
    "PATIENT",
    "TEST",
    "TESTPATIENT",
    "TRAUMA",
    "TWIN",
    "UNIDENTIFIED",
    "UNK",
    "UNKNOWN",
    "XX",
    "XXX",
    "ZZTEST",
    "ZZZ",
];

/// A name in comparable form; none if nothing usable is in it.
pub fn name(name: &PersonName) -> Option<Name> {
    let mut generation = generation(&letters(&name.suffix));
    let mut family_parts = words(&name.family);
    // A suffix often ends the family name: "Okafor Jr".
    if family_parts.len() > 1
        && let Some(found) = family_parts.last().map(|last| self::generation(last)).filter(|found| *found > 0)
    {
        family_parts.pop();
        generation = generation.max(found);
    }
    let mut given = name.given.iter().flat_map(|given| words(given));
    let first = given.next().unwrap_or_default();
    let middle: Vec<SmolStr> = given.filter(|word| !is_placeholder(word)).map(SmolStr::from).collect();
    let joined = family_parts.concat();
    let whole = format!("{first}{joined}");
    let hidden = matches!(whole.as_str(), "JOHNDOE" | "JANEDOE");
    let keep = |text: String| if hidden || is_placeholder(&text) { SmolStr::default() } else { text.into() };
    let (family, given) = (keep(joined), keep(first));
    if family.is_empty() {
        family_parts.clear();
    }
    if family_parts.len() < 2 {
        family_parts.clear();
    }
    let family_parts = family_parts.into_iter().map(SmolStr::from).collect();
    let nothing = family.is_empty() && given.is_empty();
    (!nothing).then_some(Name { family, family_parts, given, middle, generation })
}

fn is_placeholder(text: &str) -> bool {
    // "BABY BOY A" and "TEST 1": a placeholder with a letter or a number behind it.
    let stem = text.trim_end_matches(|letter: char| letter.is_ascii_digit());
    PLACEHOLDERS.binary_search(&stem).is_ok() || (!stem.is_empty() && stem.chars().all(|letter| letter == 'X'))
}

fn generation(suffix: &str) -> u8 {
    match suffix {
        "SR" | "SENIOR" | "I" | "1ST" => 1,
        "JR" | "JUNIOR" | "II" | "2ND" => 2,
        "III" | "3RD" => 3,
        "IV" | "4TH" => 4,
        _ => 0,
    }
}

/// Words in upper case without accents and punctuation; an apostrophe joins, anything else separates.
pub fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in text.chars().take(200) {
        if letter.is_alphanumeric() {
            if let Some(word) = words.last_mut() {
                fold(letter, word);
            }
        } else if !matches!(letter, '\'' | '’' | '`' | '.') && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// All letters and digits of a text as one word.
pub fn letters(text: &str) -> String {
    words(text).concat()
}

/// A letter in upper case without its accent.
fn fold(letter: char, into: &mut String) {
    let plain = match letter.to_uppercase().next().unwrap_or(letter) {
        'À'..='Å' | 'Ā' | 'Ă' | 'Ą' => "A",
        'Æ' => "AE",
        'Ç' | 'Ć' | 'Ĉ' | 'Ċ' | 'Č' => "C",
        'Ð' | 'Ď' | 'Đ' => "D",
        'È'..='Ë' | 'Ē' | 'Ĕ' | 'Ė' | 'Ę' | 'Ě' => "E",
        'Ĝ' | 'Ğ' | 'Ġ' | 'Ģ' => "G",
        'Ì'..='Ï' | 'Ĩ' | 'Ī' | 'Ĭ' | 'Į' | 'İ' => "I",
        'Ĺ' | 'Ļ' | 'Ľ' | 'Ł' => "L",
        'Ñ' | 'Ń' | 'Ņ' | 'Ň' => "N",
        'Ò'..='Ö' | 'Ø' | 'Ō' | 'Ŏ' | 'Ő' => "O",
        'Œ' => "OE",
        'Ŕ' | 'Ŗ' | 'Ř' => "R",
        'Ś' | 'Ŝ' | 'Ş' | 'Š' | 'Ș' => "S",
        'Ţ' | 'Ť' | 'Ț' => "T",
        'Ù'..='Ü' | 'Ũ' | 'Ū' | 'Ŭ' | 'Ů' | 'Ű' | 'Ų' => "U",
        'Ý' | 'Ÿ' => "Y",
        'Ź' | 'Ż' | 'Ž' => "Z",
        other => {
            into.push(other);
            return;
        }
    };
    into.push_str(plain);
}

/// Not in the far past, and not the dates that stand for "unknown".
fn is_plausible_birth((year, month, day): (u16, Option<u8>, Option<u8>)) -> bool {
    year > 1880 && (year, month, day) != (1900, Some(1), Some(1)) && year < 2200
}

/// The nine digits of a social security number that can exist (no 000, 666 or 9xx area, 00 group, 0000 serial) and
/// is not one of those that people make up.
pub fn ssn(text: &str) -> Option<SmolStr> {
    let digits = digits(text);
    let made_up = matches!(digits.as_str(), "123456789" | "987654321" | "123121234" | "078051120" | "219099999");
    let valid = digits.len() == 9
        && !digits.starts_with("000")
        && !digits.starts_with("666")
        && !digits.starts_with('9')
        && &digits[3..5] != "00"
        && &digits[5..] != "0000"
        && !all_equal(&digits)
        && !made_up;
    valid.then(|| digits.into())
}

/// The last four digits alone, as some sources send them (`6780`, `XXX-XX-6780`).
fn ssn_last4(text: &str) -> Option<SmolStr> {
    let digits = digits(text);
    (digits.len() == 4 && digits != "0000" && digits != "9999").then(|| digits.into())
}

/// Ten digits of a North American number; other numbers with all their digits.
pub fn phone(text: &str) -> Option<SmolStr> {
    // Neither "ext. 12" nor "x12" belongs to the number.
    let number = text.split(['x', 'X', ';', 'e', 'E']).next().unwrap_or_default();
    let mut digits = digits(number);
    if digits.len() == 11 && digits.starts_with('1') {
        digits.remove(0);
    }
    let usable = (10..=15).contains(&digits.len()) && !all_equal(&digits[3..]) && !all_equal(&digits);
    (usable && digits != "1234567890").then(|| digits.into())
}

fn email(text: &str) -> Option<SmolStr> {
    let email = text.trim().to_lowercase();
    let (user, host) = email.split_once('@')?;
    let usable = !user.is_empty() && host.contains('.') && !matches!(user, "none" | "noemail" | "unknown" | "declined");
    usable.then(|| email.into())
}

fn street(address: &crate::id::Address) -> Option<Street> {
    let zip: String = digits(&address.postal_code).chars().take(5).collect();
    // Spreadsheets lose the leading zero of New England.
    let zip = if zip.len() == 4 { format!("0{zip}") } else { zip };
    let zip = if zip.len() == 5 && !all_equal(&zip) { zip } else { String::new() };
    let line: Vec<String> = address.lines.iter().flat_map(|line| words(line)).map(abbreviate).collect();
    let line = if matches!(line.concat().as_str(), "UNKNOWN" | "HOMELESS" | "NONE" | "BADADDRESS") {
        String::new()
    } else {
        line.join(" ")
    };
    let street = Street { line: line.into(), city: letters(&address.city).into(), zip: zip.into() };
    (street != Street::default()).then_some(street)
}

/// The usual abbreviation of a word of an address (USPS Publication 28, the common ones).
fn abbreviate(word: String) -> String {
    let short = match word.as_str() {
        "ALLEY" => "ALY",
        "AVENUE" | "AV" | "AVEN" => "AVE",
        "BOULEVARD" | "BLV" => "BLVD",
        "CIRCLE" | "CIRC" => "CIR",
        "COURT" => "CT",
        "DRIVE" | "DRV" => "DR",
        "EXPRESSWAY" => "EXPY",
        "HIGHWAY" => "HWY",
        "LANE" => "LN",
        "PARKWAY" | "PKY" => "PKWY",
        "PLACE" => "PL",
        "PLAZA" => "PLZ",
        "ROAD" => "RD",
        "SQUARE" => "SQ",
        "STREET" | "STR" => "ST",
        "TERRACE" => "TER",
        "TRAIL" => "TRL",
        "APARTMENT" | "UNIT" | "SUITE" | "STE" => "APT",
        "FLOOR" => "FL",
        "NORTH" => "N",
        "SOUTH" => "S",
        "EAST" => "E",
        "WEST" => "W",
        "NORTHEAST" => "NE",
        "NORTHWEST" => "NW",
        "SOUTHEAST" => "SE",
        "SOUTHWEST" => "SW",
        _ => return word,
    };
    short.to_owned()
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).take(20).collect()
}

fn all_equal(digits: &str) -> bool {
    let mut bytes = digits.bytes();
    let first = bytes.next();
    bytes.all(|byte| Some(byte) == first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn placeholders_can_be_searched() {
        assert!(PLACEHOLDERS.windows(2).all(|pair| pair[0] < pair[1]), "sorted, without repetitions");
    }

    #[test]
    fn names_lose_case_accents_and_punctuation() {
        for (family, given, expected) in [
            ("O'Brien", "José", Some(("OBRIEN", "JOSE"))),
            ("Müller-Lüdenscheidt", "Zoë", Some(("MULLERLUDENSCHEIDT", "ZOE"))),
            ("Okafor Jr.", "Ada", Some(("OKAFOR", "ADA"))),
            ("Smith", "BABY BOY A", Some(("SMITH", ""))),
            ("Unknown", "Ada", Some(("", "ADA"))),
            ("Doe", "John", None),
            ("TEST", "TEST1", None),
            ("", "", None),
        ] {
            let found = name(&PersonName::new(family, &[given]));
            let found = found.as_ref().map(|name| (name.family.as_str(), name.given.as_str()));
            assert_eq!(found, expected, "{family} {given}");
        }
    }

    #[test]
    fn generations_are_told_apart_wherever_they_stand() {
        for (family, suffix, generation) in
            [("Okafor", "Jr.", 2), ("Okafor III", "", 3), ("Okafor", "", 0), ("Okafor", "MD", 0), ("Iv", "", 0)]
        {
            let person = PersonName { suffix: suffix.into(), ..PersonName::new(family, &["Ada"]) };
            assert_eq!(name(&person).unwrap().generation, generation, "{family} {suffix}");
        }
    }

    #[test]
    fn numbers_that_cannot_be_are_ignored() {
        for (text, usable) in [
            ("123-45-6780", true),
            ("000-45-6780", false),
            ("666-45-6780", false),
            ("900-45-6780", false),
            ("123-00-6780", false),
            ("123-45-0000", false),
            ("123456789", false),
            ("111111111", false),
            ("999-99-9999", false),
            ("6780", false),
        ] {
            assert_eq!(ssn(text).is_some(), usable, "{text}");
        }
        assert_eq!(ssn_last4("XXX-XX-6780").as_deref(), Some("6780"));
        for (text, number) in [
            ("+1 (503) 555-0123 ext. 9", Some("5035550123")),
            ("tel:+15035550123", None),
            ("503-555-0123x9", Some("5035550123")),
            ("0000000000", None),
            ("555-0123", None),
            ("+44 20 7946 0958", Some("442079460958")),
        ] {
            // "tel:" is stripped when the message is decoded, so here it only has to do no harm.
            assert_eq!(phone(text).as_deref(), number, "{text}");
        }
    }

    #[test]
    fn addresses_are_abbreviated() {
        let address = crate::id::Address {
            lines: vec!["12 North Elm Street".into(), "Apartment 4".into()],
            city: "St. Paul".into(),
            postal_code: "97301-1234".into(),
            ..Default::default()
        };
        let street = street(&address).unwrap();
        assert_eq!(
            (street.line.as_str(), street.city.as_str(), street.zip.as_str()),
            ("12 N ELM ST APT 4", "STPAUL", "97301")
        );
    }

    proptest! {
        #[test]
        fn any_text_can_be_normalized(family in ".{0,40}", given in ".{0,40}", number in ".{0,30}") {
            let person = PersonName::new(&family, &[&given]);
            if let Some(first) = name(&person) {
                let again = name(&PersonName::new(&first.family, &[&first.given]));
                prop_assert!(again.is_none_or(|again| again.family == first.family || again.generation > 0));
            }
            if let Some(ssn) = ssn(&number) { prop_assert_eq!(super::ssn(&ssn), Some(ssn)); }
            if let Some(phone) = phone(&number) { prop_assert_eq!(super::phone(&phone).map(|p| p.len() <= phone.len()), Some(true)); }
        }
    }
}
