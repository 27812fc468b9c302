//! Where deliveries go, and how long they are tried: the operator's decisions.

use std::path::PathBuf;
use std::time::Duration;

use smol_str::SmolStr;

use crate::directory::ServiceUrl;
use crate::id::{AssigningAuthority, ExchangePurpose};
use crate::metadata::{Xcn, Xon, Xtn};
use crate::routing::messenger::Address;
use crate::trust::NetworkName;

/// A system that is told of changes of the cross-reference (PIX Consumer).
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// Its name here.
    pub name: SmolStr,
    /// The domains that it is told of.
    pub authorities: Vec<AssigningAuthority>,
    /// How it is told.
    pub wire: Wire,
}

/// How a subscriber is told.
#[derive(Clone, Debug)]
pub enum Wire {
    /// ITI-10, over MLLP.
    V2 {
        /// Where it listens.
        address: Address,
        /// MSH-5.
        application: SmolStr,
        /// MSH-6.
        facility: SmolStr,
    },
    /// ITI-46, over SOAP.
    V3 {
        /// Its entry in the directory.
        partner: SmolStr,
        /// In whose name.
        user: SmolStr,
        /// What for.
        purpose: ExchangePurpose,
    },
}

/// For whom documents are taken in (XDR, XCDR).
#[derive(Clone, Debug)]
pub struct Recipient {
    /// Its name here.
    pub name: SmolStr,
    /// Identifiers of organisations that mean it (XON.10), without `urn:oid:`.
    pub organizations: Vec<SmolStr>,
    /// Addresses that mean it (XTN.4), in lower case.
    pub addresses: Vec<SmolStr>,
    /// Identifiers of people that mean it (XCN.1), with or without the authority that gave them.
    pub persons: Vec<PersonId>,
    /// Whether it gets what names no recipient.
    pub default: bool,
    /// What becomes of the documents.
    pub target: Target,
}

/// An identifier of a person: the id, and the OID of its authority unless any will do.
pub type PersonId = (SmolStr, Option<SmolStr>);

/// What becomes of documents for a recipient.
#[derive(Clone, Debug)]
pub enum Target {
    /// A folder that somebody empties.
    Inbox(PathBuf),
    /// A system that takes ITI-41, by its entry in the directory.
    Partner(SmolStr),
    /// A system that takes ITI-65.
    Fhir {
        /// The base of its FHIR service.
        url: ServiceUrl,
        /// Whose certificates count for it.
        network: NetworkName,
    },
    /// Our own repository.
    Repository,
}

impl Recipient {
    /// Whether one of the values of intendedRecipient means this one: its address, the person, or else the organisation.
    pub fn is_meant(&self, organization: Option<&Xon>, person: Option<&Xcn>, address: Option<&Xtn>) -> Match {
        let address = address.map(|one| one.address().to_lowercase()).filter(|one| !one.is_empty());
        if address.is_some_and(|address| self.addresses.iter().any(|own| *own == address)) {
            return Match::Exact;
        }
        if let Some(person) = person {
            let id = person.id();
            let authority = person.identifier().map(|id| id.authority().universal_id().to_owned());
            let is_own = |(own, whose): &PersonId| {
                *own == id && whose.as_deref().is_none_or(|whose| authority.as_deref() == Some(whose))
            };
            if !id.is_empty() && self.persons.iter().any(is_own) {
                return Match::Exact;
            }
        }
        let organization = organization.map(Xon::id).filter(|id| !id.is_empty());
        let bare = organization.as_deref().map(|id| id.strip_prefix("urn:oid:").unwrap_or(id));
        if bare.is_some_and(|id| self.organizations.iter().any(|own| own == id)) {
            Match::Organization
        } else {
            Match::No
        }
    }
}

/// How well a recipient is meant.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Match {
    /// Not at all.
    No,
    /// By its organisation.
    Organization,
    /// By its address, or by the person.
    Exact,
}

/// When deliveries are tried, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until the second attempt; each further wait is twice as long.
    pub first: Duration,
    /// The longest wait between two attempts.
    pub longest: Duration,
    /// From the cause of a delivery until it is given up.
    pub give_up: Duration,
    /// For which the account of one that ended is kept, and what was not delivered.
    pub keep: Duration,
    /// For which whoever sent documents is let wait for the receiver's answer.
    pub wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(600),
            give_up: Duration::from_secs(72 * 3600),
            keep: Duration::from_secs(30 * 86_400),
            wait: Duration::from_secs(20),
        }
    }
}

impl Patience {
    /// The wait after so many failures, a quarter longer or shorter by chance: those that failed together do not come
    /// back together.
    pub fn delay(&self, failures: u32, chance: u8) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(30)));
        let wait = doubled.min(self.longest);
        wait * 3 / 4 + wait * u32::from(chance) / 510
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_differ_by_a_quarter_either_way() {
        let patience = Patience::default();
        for (failures, shortest, longest) in [(1, 3.75, 6.25), (2, 7.5, 12.5), (3, 15.0, 25.0), (30, 450.0, 750.0)] {
            assert_eq!(patience.delay(failures, 0).as_secs_f64(), shortest, "{failures}");
            assert_eq!(patience.delay(failures, 255).as_secs_f64(), longest, "{failures}");
        }
        assert_eq!(patience.delay(u32::MAX, 0).as_secs(), 450);
    }

    /// ITI TF-3: Table 4.2.3.3-1: organisation, person and address, each may be empty.
    #[test]
    fn a_recipient_is_meant_by_its_address_the_person_or_the_organisation() {
        let recipient = Recipient {
            name: "ward".into(),
            organizations: vec!["2.999.5".into()],
            addresses: vec!["ward@direct.example.org".into()],
            persons: vec![("N1".into(), Some("2.999.8".into())), ("N2".into(), None)],
            default: false,
            target: Target::Repository,
        };
        for (value, expected) in [
            ("Some Hospital^^^^^^^^^2.999.5", Match::Organization),
            ("Some Hospital^^^^^^^^^urn:oid:2.999.5", Match::Organization),
            ("Some Hospital^^^^^&2.999.8&ISO^^^^2.999.55", Match::No),
            ("Some Hospital^^^^^^^^^2.999.5|N1^Ward^Anna^^^^^^&2.999.8&ISO", Match::Exact),
            ("|N1^Ward^Anna^^^^^^&2.999.9&ISO", Match::No),
            ("|N2^Ward^Anna^^^^^^&2.999.9&ISO", Match::Exact),
            ("|^Ward^Anna", Match::No),
            ("||^^Internet^Ward@Direct.example.org", Match::Exact),
            ("||^^Internet^other@direct.example.org", Match::No),
            ("", Match::No),
        ] {
            let mut parts = value.splitn(3, '|');
            let (one, two, three) =
                (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            let found = recipient.is_meant(
                Xon::from_wire(one).as_ref(),
                Xcn::from_wire(two).as_ref(),
                Xtn::from_wire(three).as_ref(),
            );
            assert_eq!(found, expected, "{value}");
        }
    }
}
