//! Comparable forms as bytes, to be stored beside the records that they were made of: a search compares many persons,
//! and for most of them it needs nothing else.
//!
//! What is packed is a version and the profiles; counts and lengths are 16 bits, big-endian.

use smol_str::SmolStr;

use super::Profile;
use super::normalize::{Name, Street};
use crate::id::patient::MultipleBirth;
use crate::id::{AssigningAuthority, Gender, PatientId};

/// The version of [`Profile::of`]. Whoever changes what that makes of demographics raises it: what another version
/// packed is not read, but made anew from the records.
const VERSION: u8 = 1;

/// Packs the profiles of a person's records. Nothing, if one is beyond all measure.
pub fn pack(profiles: &[Profile]) -> Vec<u8> {
    let mut packing = Packing { out: vec![VERSION], fits: true };
    packing.list(profiles, Packing::profile);
    if packing.fits { packing.out } else { Vec::new() }
}

/// The profiles that were packed; none if it was by another version, or beyond all measure.
pub fn unpack(packed: &[u8]) -> Option<Vec<Profile>> {
    let (&VERSION, profiles) = packed.split_first()? else { return None };
    let mut unpacking = Unpacking(profiles);
    let profiles = unpacking.list(Unpacking::profile)?;
    unpacking.0.is_empty().then_some(profiles)
}

struct Packing {
    out: Vec<u8>,
    fits: bool,
}

impl Packing {
    fn number(&mut self, number: usize) {
        let short = u16::try_from(number);
        self.fits &= short.is_ok();
        self.out.extend_from_slice(&short.unwrap_or(0).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.out.extend_from_slice(text.as_bytes());
    }

    fn string(&mut self, text: &impl AsRef<str>) {
        self.text(text.as_ref());
    }

    fn list<T>(&mut self, items: &[T], each: impl Fn(&mut Self, &T)) {
        self.number(items.len());
        items.iter().for_each(|item| each(self, item));
    }

    /// A byte that may not be there: one that tells, and the byte.
    fn byte(&mut self, byte: Option<u8>) {
        self.out.extend_from_slice(&[u8::from(byte.is_some()), byte.unwrap_or(0)]);
    }

    fn profile(&mut self, profile: &Profile) {
        self.list(&profile.names, Self::name);
        self.byte(profile.gender.map(|gender| match gender {
            Gender::Female => 0,
            Gender::Male => 1,
            Gender::Other => 2,
            Gender::Unknown => 3,
        }));
        self.list(profile.birth.as_slice(), |packing, (year, month, day)| {
            packing.number(usize::from(*year));
            packing.byte(*month);
            packing.byte(*day);
        });
        self.list(&profile.addresses, |packing, street: &Street| {
            [&street.line, &street.city, &street.zip].into_iter().for_each(|text| packing.text(text));
        });
        self.list(&profile.phones, Self::string);
        self.list(&profile.emails, Self::string);
        self.list(profile.ssn.as_slice(), Self::string);
        self.list(profile.ssn_last4.as_slice(), Self::string);
        self.list(&profile.ids, |packing, id: &PatientId| {
            let authority = id.authority();
            [authority.universal_id(), authority.kind(), id.id()].into_iter().for_each(|text| packing.text(text));
        });
        self.list(profile.multiple_birth.as_slice(), |packing, birth: &MultipleBirth| {
            packing.out.push(u8::from(birth.multiple));
            packing.byte(birth.order);
        });
    }

    fn name(&mut self, name: &Name) {
        self.text(&name.family);
        self.list(&name.family_parts, Self::string);
        self.text(&name.given);
        self.list(&name.middle, Self::string);
        self.out.push(name.generation);
    }
}

struct Unpacking<'p>(&'p [u8]);

impl<'p> Unpacking<'p> {
    fn take(&mut self, length: usize) -> Option<&'p [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'p str> {
        let length = self.number()?;
        std::str::from_utf8(self.take(usize::from(length))?).ok()
    }

    fn string(&mut self) -> Option<SmolStr> {
        self.text().map(SmolStr::new)
    }

    fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.number()?).map(|_| each(self)).collect()
    }

    /// A list of one or none.
    fn option<T>(&mut self, each: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.number()? {
            0 => Some(None),
            1 => each(self).map(Some),
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<Option<u8>> {
        match self.take(2)? {
            [0, _] => Some(None),
            [1, byte] => Some(Some(*byte)),
            _ => None,
        }
    }

    fn profile(&mut self) -> Option<Profile> {
        Some(Profile {
            names: self.list(Self::name)?,
            gender: match self.byte()? {
                None => None,
                Some(0) => Some(Gender::Female),
                Some(1) => Some(Gender::Male),
                Some(2) => Some(Gender::Other),
                Some(3) => Some(Gender::Unknown),
                Some(_) => return None,
            },
            birth: self.option(|unpacking| Some((unpacking.number()?, unpacking.byte()?, unpacking.byte()?)))?,
            addresses: self.list(|unpacking| {
                Some(Street { line: unpacking.string()?, city: unpacking.string()?, zip: unpacking.string()? })
            })?,
            phones: self.list(Self::string)?,
            emails: self.list(Self::string)?,
            ssn: self.option(Self::string)?,
            ssn_last4: self.option(Self::string)?,
            ids: self.list(|unpacking| {
                let authority = AssigningAuthority::new(unpacking.text()?, unpacking.text()?).ok()?;
                PatientId::new(unpacking.text()?, authority).ok()
            })?,
            multiple_birth: self.option(|unpacking| {
                Some(MultipleBirth { multiple: unpacking.take(1)? == [1], order: unpacking.byte()? })
            })?,
        })
    }

    fn name(&mut self) -> Option<Name> {
        Some(Name {
            family: self.string()?,
            family_parts: self.list(Self::string)?,
            given: self.string()?,
            middle: self.list(Self::string)?,
            generation: *self.take(1)?.first()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};
    use proptest::prelude::*;

    use super::*;
    use crate::id::patient::{Telecom, TelecomSystem};
    use crate::id::{Address, Demographics, PersonName};

    fn full(family: &str, given: &str, line: &str, digits: &str) -> Demographics {
        let telecom = |system, value: &str| Telecom { system, value: value.into(), usage: "".into() };
        let id = |universal: &str, kind: &str, id: &str| {
            PatientId::new(id, AssigningAuthority::new(universal, kind).unwrap()).unwrap()
        };
        Demographics {
            names: vec![PersonName::new(family, &[given, "Mary Ann"]), PersonName::new("O'Brien-Smith Jr", &["Zoë"])],
            gender: Some(Gender::Female),
            birth: "198703".parse().ok(),
            addresses: vec![Address {
                lines: vec![line.into(), "Apartment 4".into()],
                city: "St. Paul".into(),
                postal_code: digits.into(),
                ..Address::default()
            }],
            telecoms: vec![
                telecom(TelecomSystem::Phone, "(503) 555-0100"),
                telecom(TelecomSystem::Phone, digits),
                telecom(TelecomSystem::Email, "Ada@Example.org"),
            ],
            other_ids: vec![
                id("2.16.840.1.113883.4.1", "ISO", "219-09-8999"),
                id("2.999.7", "ISO", "D 1"),
                id("x.example", "DNS", "7"),
            ],
            multiple_birth: Some(MultipleBirth { multiple: true, order: Some(2) }),
            ..Demographics::default()
        }
    }

    fn profiles() -> Vec<Profile> {
        let people = [full("Okafor", "Ada", "12 Elm Street", "97301"), Demographics::default()];
        people.iter().map(Profile::of).collect()
    }

    #[test]
    fn what_another_version_packed_is_not_read() {
        let profiles = profiles();
        let mut bytes = pack(&profiles);
        assert_eq!(unpack(&bytes), Some(profiles));
        assert!((0..bytes.len()).all(|length| unpack(&bytes[..length]).is_none()), "cut off");
        bytes[0] = VERSION + 1;
        assert_eq!(unpack(&bytes), None);
    }

    /// When this fails, stored comparable forms are no longer those that are made now: raise [`VERSION`].
    #[test]
    fn comparable_forms_are_those_of_this_version() {
        let digest = hex::encode(&digest(&SHA256, &pack(&profiles())).as_ref()[..8]);
        assert_eq!((VERSION, digest.as_str()), (1, "b5b14f160733d0bf"));
    }

    #[test]
    fn a_profile_beyond_all_measure_is_not_packed() {
        let profile = Profile { emails: vec!["a".repeat(70_000).into()], ..Profile::default() };
        assert!(pack(&[profile]).is_empty());
    }

    proptest! {
        #[test]
        fn whatever_is_packed_is_read_back(family in ".{0,30}", given in ".{0,30}", line in ".{0,40}", digits in "[0-9 ]{0,12}") {
            let profiles = [Profile::of(&full(&family, &given, &line, &digits))];
            prop_assert_eq!(unpack(&pack(&profiles)), Some(profiles.to_vec()));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let _ = unpack(&bytes);
        }
    }
}
