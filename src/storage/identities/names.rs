//! Logical ids: what our own number for a person is outside the house, where the number itself would tell how many there
//! are and in which order they came.
//!
//! An id is the number under a mask, with a check value that the mask is made from (the construction of RFC 5297, a
//! synthetic initialization vector): always the same for a person, without sense for anybody else, and a made-up one is
//! found to be none. The key is made once and stays with the store.

use std::thread;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use smol_str::SmolStr;
use uuid::Uuid;

use super::{Identities, Person, PersonKey};
use crate::id::Tenant;
use crate::storage::engine::{Definition, StoreError, table};
use crate::storage::seal::Purpose;

const NAMES: Definition = table("identity.names");
/// Keeps seals apart from logical ids, which are made with the same key.
const SEAL: &[u8] = b"seal of a text\0";

/// Turns persons into logical ids and back.
pub struct PersonNames(hmac::Key);

impl std::fmt::Debug for PersonNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonNames(…)")
    }
}

impl PersonNames {
    /// The logical id of a person: 32 hexadecimal digits.
    pub fn name(&self, person: PersonKey) -> SmolStr {
        let number = person.0.to_be_bytes();
        let check = self.first_half(b"check", &number);
        let masked = xor(number, self.first_half(b"mask", &check));
        hex::encode([check, masked].concat()).into()
    }

    /// The person of a logical id; none if it is not one that we gave out.
    pub fn person(&self, name: &str) -> Option<PersonKey> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(name, &mut bytes).ok()?;
        let (check, masked) = bytes.split_at(8);
        let (check, masked) = (<[u8; 8]>::try_from(check).ok()?, <[u8; 8]>::try_from(masked).ok()?);
        let person = PersonKey(u64::from_be_bytes(xor(masked, self.first_half(b"mask", &check))));
        // The check value is compared as a whole id, so that upper-case digits are none either.
        (self.name(person) == name).then_some(person)
    }

    /// A text with a seal, so that it is known again as one that was written here.
    pub fn sealed(&self, text: &str) -> String {
        let tag = hmac::sign(&self.0, &[SEAL, text.as_bytes()].concat());
        format!("{text}.{}", hex::encode(&tag.as_ref()[..16]))
    }

    /// The text of a seal that was made here, and none of any other.
    pub fn unsealed<'t>(&self, sealed: &'t str) -> Option<&'t str> {
        let (text, seal) = sealed.rsplit_once('.')?;
        let mut given = [0; 16];
        hex::decode_to_slice(seal, &mut given).ok()?;
        let tag = hmac::sign(&self.0, &[SEAL, text.as_bytes()].concat());
        verify_slices_are_equal(&tag.as_ref()[..16], &given).ok().map(|()| text)
    }

    fn first_half(&self, purpose: &[u8], value: &[u8; 8]) -> [u8; 8] {
        let tag = hmac::sign(&self.0, &[purpose, value].concat());
        let mut half = [0; 8];
        half.copy_from_slice(&tag.as_ref()[..8]);
        half
    }
}

fn xor(a: [u8; 8], b: [u8; 8]) -> [u8; 8] {
    (u64::from_be_bytes(a) ^ u64::from_be_bytes(b)).to_be_bytes()
}

impl Identities {
    /// The logical ids of a tenant. The first time makes their key and waits until it is durable.
    pub fn names(&self, tenant: &Tenant) -> Result<PersonNames, StoreError> {
        let codec = self.codec(tenant);
        let read = self.engine.read()?.open_table(NAMES)?.get(&codec.prefix)?.map(|row| row.value().to_vec());
        let sealed = match read {
            Some(sealed) => sealed,
            None => {
                // Two random UUIDs have 244 random bits.
                let new = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes).concat();
                let (engine, new, key) = (&self.engine, codec.encode(Purpose::Identity, &new)?, codec.prefix.clone());
                let write = move || {
                    engine.write_blocking(move |write| {
                        let mut names = write.open_table(NAMES)?;
                        let there = names.get(&key)?.map(|row| row.value().to_vec());
                        if there.is_none() {
                            names.insert(&key, &new)?;
                        }
                        Ok(there.unwrap_or_else(|| new.clone()))
                    })
                };
                // In a thread of its own, because whoever opens a store may be inside a runtime.
                thread::scope(|scope| scope.spawn(write).join()).unwrap_or(Err(StoreError::Closed))?
            }
        };
        let key: Vec<u8> = codec.decode(Purpose::Identity, &sealed)?;
        Ok(PersonNames(hmac::Key::new(hmac::HMAC_SHA256, &zeroize::Zeroizing::new(key))))
    }

    /// The person of a number; none if they have become one with another, or were removed.
    pub fn person(&self, tenant: &Tenant, key: PersonKey) -> Result<Option<Person>, StoreError> {
        self.codec(tenant).load(&self.engine.read()?, key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::storage::engine::{Engine, Settings};
    use crate::storage::seal::Sealer;

    fn names(key: &[u8]) -> PersonNames {
        PersonNames(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    proptest! {
        #[test]
        fn every_person_has_an_id_that_leads_back(number in any::<u64>()) {
            let names = names(b"key");
            let name = names.name(PersonKey(number));
            prop_assert!(name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
            prop_assert_eq!(names.person(&name), Some(PersonKey(number)));
        }

        #[test]
        fn a_sealed_text_is_known_again_and_no_other_is(text in "[A-Za-z0-9_.-]{0,40}", at in 0usize..80, to in "[0-9a-f.]") {
            let names = names(b"key");
            let sealed = names.sealed(&text);
            prop_assert_eq!(names.unsealed(&sealed), Some(text.as_str()));
            prop_assert_eq!(super::tests::names(b"other").unsealed(&sealed), None);
            let mut changed = sealed.clone();
            changed.replace_range(at % sealed.len()..=at % sealed.len(), &to);
            prop_assert_eq!(names.unsealed(&changed).is_some(), changed == sealed);
            prop_assert_eq!(names.unsealed(&text), None);
        }

        #[test]
        fn whatever_we_did_not_give_out_leads_nowhere(text in "[0-9a-fA-F]{32}|.{0,40}") {
            prop_assert_eq!(names(b"key").person(&text), None);
        }
    }

    #[test]
    fn an_id_says_nothing_without_the_key_and_stays_with_the_store() {
        let one = names(b"key").name(PersonKey(1));
        assert_ne!(one[..16], names(b"key").name(PersonKey(2))[..16]);
        assert_eq!(names(b"other").person(&one), None);
        assert_eq!(names(b"key").person(&one.to_uppercase()).is_some(), one == one.to_uppercase());
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let engine = Engine::open(folder.path(), &Settings::default()).unwrap();
            Identities::new(engine, Sealer::plain()).names(&Tenant::default()).unwrap().name(PersonKey(7))
        };
        assert_eq!(open(), open());
    }
}
