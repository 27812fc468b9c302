//! Every way in which a certificate can fail to be trusted, and the trust store that tests elsewhere use.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::issue::{Authority, KeyKind, Leaf, Validity, write_public};
use super::*;
use crate::id::{Clock, Timestamp};

/// A trust store in a temporary folder, with one network `alpha` and its authority.
pub(crate) struct House {
    folder: TempDir,
    pub(crate) now: Timestamp,
    pub(crate) root: Authority,
    policies: BTreeMap<NetworkName, RevocationPolicy>,
}

pub(crate) fn alpha() -> NetworkName {
    "alpha".parse().unwrap()
}

impl House {
    pub(crate) fn new() -> Self {
        let now = Clock::system().now();
        let root = Authority::root("Alpha Root", KeyKind::P256, Validity::days(now, 30)).unwrap();
        let house = Self { folder: TempDir::new().unwrap(), now, root, policies: BTreeMap::new() };
        house.put("alpha/root.pem", &house.root.pem());
        house
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("trust-store").join(name)
    }

    /// Writes a file into the store.
    pub(crate) fn put(&self, name: &str, text: &str) {
        write_public(&self.path(name), text).unwrap();
    }

    pub(crate) fn policy(mut self, revocation: Revocation, expired_list: ExpiredList) -> Self {
        self.policies.insert(alpha(), RevocationPolicy { revocation, expired_list });
        self
    }

    pub(crate) fn open(&self) -> Result<Arc<Trust>, Problems> {
        Trust::open(&self.path(""), self.policies.clone())
    }

    pub(crate) fn days(&self) -> Validity {
        Validity::days(self.now, 10)
    }

    pub(crate) fn leaf(&self) -> Leaf {
        self.root.leaf("gateway", &["localhost", "127.0.0.1"], KeyKind::P256, self.days()).unwrap()
    }

    pub(crate) fn leaf_valid(&self, validity: Validity) -> Leaf {
        self.root.leaf("gateway", &["localhost"], KeyKind::P256, validity).unwrap()
    }

    pub(crate) fn expired(&self) -> Leaf {
        let day = Duration::from_secs(86_400);
        self.leaf_valid(Validity { from: self.now.minus(day * 9), until: self.now.minus(day) })
    }

    pub(crate) fn not_yet_valid(&self) -> Leaf {
        let day = Duration::from_secs(86_400);
        self.leaf_valid(Validity { from: self.now.plus(day), until: self.now.plus(day * 9) })
    }

    pub(crate) fn revoke(&self, leaves: &[&Leaf]) {
        let serials: Vec<_> = leaves.iter().map(|leaf| leaf.serial()).collect();
        self.put("alpha/root.crl", &self.root.revocation_list(&serials, self.days()).unwrap());
    }

    fn verdict(&self, leaf: &Leaf) -> Result<(), ChainError> {
        verdict(&self.open().unwrap(), leaf, Usage::Client, self.now)
    }
}

fn verdict(trust: &Trust, leaf: &Leaf, usage: Usage, at: Timestamp) -> Result<(), ChainError> {
    let chain = leaf.chain();
    trust.verify_chain(&alpha(), &chain[0], &chain[1..], usage, at)
}

#[test]
fn a_network_name_is_a_plain_folder_name() {
    for name in ["tefca", "carequality-test", "site_2"] {
        assert_eq!(name.parse::<NetworkName>().unwrap().as_str(), name);
    }
    for name in ["", "..", "a/b", "TEFCA", "-x", ".hidden", "a b"] {
        assert_eq!(name.parse::<NetworkName>(), Err(NotANetworkName), "{name:?}");
    }
}

#[test]
fn a_certificate_of_the_network_is_trusted_for_each_use() {
    let house = House::new();
    let trust = house.open().unwrap();
    for kind in [KeyKind::P256, KeyKind::Rsa2048] {
        let leaf = house.root.leaf("a", &["a.example"], kind, house.days()).unwrap();
        for usage in [Usage::Client, Usage::Server, Usage::Signing] {
            assert_eq!(verdict(&trust, &leaf, usage, house.now), Ok(()), "{kind:?} {usage:?}");
        }
        assert_eq!(trust.networks_trusting(&leaf.chain(), house.now), [alpha()]);
    }
}

#[test]
fn every_other_certificate_is_refused_by_name() {
    let house = House::new();
    let other = Authority::root("Other Root", KeyKind::P256, house.days()).unwrap();
    // The name of a known authority with another key behind it.
    let forged = Authority::root("Alpha Root", KeyKind::P256, house.days()).unwrap();
    let hosts = &["localhost"];
    for (leaf, error) in [
        (house.expired(), ChainError::Expired),
        (house.not_yet_valid(), ChainError::NotYetValid),
        (other.leaf("a", hosts, KeyKind::P256, house.days()).unwrap(), ChainError::UnknownIssuer),
        (Leaf::self_signed("a", hosts, KeyKind::P256, house.days()).unwrap(), ChainError::SelfSigned),
        (forged.leaf("a", hosts, KeyKind::P256, house.days()).unwrap(), ChainError::BadSignature),
    ] {
        assert_eq!(house.verdict(&leaf), Err(error));
    }
}

#[test]
fn a_revoked_certificate_is_refused_and_its_neighbour_is_not() {
    let house = House::new();
    let (good, bad) = (house.leaf(), house.leaf());
    house.revoke(&[&bad]);
    assert_eq!(house.verdict(&good), Ok(()));
    assert_eq!(house.verdict(&bad), Err(ChainError::Revoked));
}

#[test]
fn an_expired_list_refuses_unless_the_operator_says_otherwise() {
    let day = Duration::from_secs(86_400);
    for (policy, expected) in
        [(ExpiredList::Refuse, Err(ChainError::RevocationListExpired)), (ExpiredList::Accept, Ok(()))]
    {
        let house = House::new().policy(Revocation::WhenPublished, policy);
        let validity = Validity { from: house.now.minus(day * 3), until: house.now.minus(day) };
        house.put("alpha/crl/old.pem", &house.root.revocation_list(&[], validity).unwrap());
        assert_eq!(house.verdict(&house.leaf()), expected, "{policy:?}");
    }
}

/// rustls checks nothing when it is given no list; "required" must not mean that.
#[test]
fn required_revocation_needs_a_list_of_the_issuer() {
    let house = House::new().policy(Revocation::Required, ExpiredList::Refuse);
    let problems = house.open().unwrap_err();
    assert!(problems.to_string().contains("no revocation list"), "{problems}");

    let other = Authority::root("Other Root", KeyKind::P256, house.days()).unwrap();
    house.put("alpha/other.crl", &other.revocation_list(&[], house.days()).unwrap());
    assert_eq!(house.verdict(&house.leaf()), Err(ChainError::UnknownRevocation));

    house.revoke(&[]);
    assert_eq!(house.verdict(&house.leaf()), Ok(()));
}

#[test]
fn an_intermediate_is_used_whether_sent_or_stored_and_can_be_revoked() {
    let house = House::new();
    let middle = house.root.intermediate("Alpha Issuing", KeyKind::P256, house.days()).unwrap();
    let leaf = middle.leaf("a", &["localhost"], KeyKind::P256, house.days()).unwrap();
    assert_eq!(leaf.chain().len(), 2, "the intermediate is sent, the root is not");
    assert_eq!(house.verdict(&leaf), Ok(()));

    let alone = |trust: &Trust| trust.verify_chain(&alpha(), &leaf.chain()[0], &[], Usage::Client, house.now);
    assert_eq!(alone(&house.open().unwrap()), Err(ChainError::UnknownIssuer));
    house.put("alpha/issuing.pem", &middle.pem());
    assert_eq!(alone(&house.open().unwrap()), Ok(()));

    let serial = x509_parser::parse_x509_certificate(middle.certificate()).unwrap().1.raw_serial().to_vec();
    let list = house.root.revocation_list(&[&rcgen::SerialNumber::from_slice(&serial)], house.days()).unwrap();
    house.put("alpha/root.crl", &list);
    assert_eq!(alone(&house.open().unwrap()), Err(ChainError::Revoked));
}

/// ITI-19: validation by direct trust of an end certificate, beside that by chain.
#[test]
fn a_pinned_certificate_is_trusted_itself_and_vouches_for_nobody() {
    let house = House::new();
    let pinned = Leaf::self_signed("lab", &["localhost"], KeyKind::P256, house.days()).unwrap();
    let expired = house.expired();
    house.put("alpha/pinned/lab.pem", &pinned.pem());
    house.put("alpha/pinned/old.pem", &expired.pem());
    assert_eq!(house.verdict(&pinned), Ok(()));
    assert_eq!(house.verdict(&expired), Err(ChainError::Expired));
    let twin = Leaf::self_signed("lab", &["localhost"], KeyKind::P256, house.days()).unwrap();
    assert_eq!(house.verdict(&twin), Err(ChainError::SelfSigned));
}

#[test]
fn networks_trust_for_themselves_only() {
    let house = House::new();
    let other = Authority::root("Beta Root", KeyKind::P256, house.days()).unwrap();
    house.put("beta/root.pem", &other.pem());
    let trust = house.open().unwrap();
    let leaf = other.leaf("b", &["localhost"], KeyKind::P256, house.days()).unwrap();
    assert_eq!(verdict(&trust, &leaf, Usage::Client, house.now), Err(ChainError::UnknownIssuer));
    assert_eq!(trust.networks_trusting(&leaf.chain(), house.now), ["beta".parse().unwrap()]);
    let nowhere: NetworkName = "nowhere".parse().unwrap();
    let chain = leaf.chain();
    let verdict = trust.verify_chain(&nowhere, &chain[0], &[], Usage::Client, house.now);
    assert_eq!(verdict, Err(ChainError::UnknownNetwork));
}

#[test]
fn the_store_tells_all_its_problems_at_once() {
    let house = House::new();
    house.put("alpha/broken.pem", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
    house.put("alpha/empty.pem", "nothing");
    house.put("alpha/end.pem", &house.leaf().pem());
    house.put("alpha/bad.crl", "not a list");
    house.put("Bad Name/root.pem", "");
    fs::create_dir_all(house.path("empty")).unwrap();
    let problems = house.open().unwrap_err();
    let text = problems.to_string();
    for part in ["broken.pem", "empty.pem has no certificate", "belongs into pinned/", "bad.crl", "Bad Name", "neither"]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(problems.0.len(), 6, "{text}");
}

#[test]
fn a_reload_with_problems_changes_nothing_and_a_good_one_all() {
    let house = House::new();
    let leaf = house.leaf();
    let trust = house.open().unwrap();
    assert!(!trust.changed());
    house.put("alpha/broken.pem", "nothing");
    assert!(trust.changed());
    trust.reload().unwrap_err();
    assert_eq!(verdict(&trust, &leaf, Usage::Client, house.now), Ok(()));
    assert_eq!(trust.generation(), 1);
    fs::remove_file(house.path("alpha/broken.pem")).unwrap();
    house.revoke(&[&leaf]);
    trust.reload().unwrap();
    assert_eq!(verdict(&trust, &leaf, Usage::Client, house.now), Err(ChainError::Revoked));
    assert!(!trust.changed());
    assert_eq!(trust.generation(), 2);
}

#[test]
fn a_chain_found_good_is_judged_again_for_another_time_use_or_network() {
    let house = House::new();
    let minute = Duration::from_secs(60);
    let leaf = house.leaf_valid(Validity { from: house.now.minus(minute), until: house.now.plus(minute) });
    let trust = house.open().unwrap();
    let at = |at| verdict(&trust, &leaf, Usage::Signing, at);
    assert_eq!(at(house.now), Ok(()));
    assert_eq!(at(house.now.minus(minute * 5)), Err(ChainError::NotYetValid));
    assert_eq!(at(house.now), Ok(()));
    assert_eq!(at(house.now.plus(minute * 5)), Err(ChainError::Expired));
    let nowhere: NetworkName = "nowhere".parse().unwrap();
    let chain = leaf.chain();
    let elsewhere = trust.verify_chain(&nowhere, &chain[0], &chain[1..], Usage::Signing, house.now);
    assert_eq!(elsewhere, Err(ChainError::UnknownNetwork));
}

#[test]
fn the_board_shows_what_expires_when() {
    let house = House::new();
    house.revoke(&[]);
    let store = house.open().unwrap().store();
    let kinds: Vec<_> = store.held().iter().map(|held| held.kind).collect();
    assert_eq!(kinds, [HeldKind::Anchor, HeldKind::RevocationList]);
    assert_eq!(store.held()[0].name, "CN=Alpha Root");
    let left = store.held()[0].expires.unwrap().since(house.now);
    assert!(left > Duration::from_secs(86_400 * 29) && left <= Duration::from_secs(86_400 * 30));
}

#[cfg(unix)]
#[test]
fn keys_are_files_that_only_their_owner_reads_and_must_fit_their_certificate() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new();
    let (one, two) = (house.leaf(), house.leaf());
    let (certificate, key) = (house.path("../own.pem"), house.path("../own.key"));
    fs::write(&key, "an older file with an open mode").unwrap();
    one.write(&certificate, &key).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Identity::load(&certificate, &key).unwrap().certificates(), one.chain());
    two.write(&house.path("../other.pem"), &key).unwrap();
    assert!(matches!(Identity::load(&certificate, &key), Err(IdentityError::Mismatch)));
    let missing = Identity::load(&certificate, &house.path("../none.key")).unwrap_err();
    assert!(missing.to_string().contains("none.key"), "{missing}");
}

#[test]
fn an_authority_that_was_written_issues_again() {
    let house = House::new();
    let again = Authority::from_pem(&house.root.pem(), &house.root.key_pem()).unwrap();
    let leaf = again.leaf("later", &["localhost"], KeyKind::P256, house.days()).unwrap();
    assert_eq!(house.verdict(&leaf), Ok(()));
}
