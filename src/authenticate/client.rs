//! Who speaks FHIR with us: systems of our own community, proved by the certificate of their connection and an entry of
//! the configuration. FHIR requests carry no assertion, so the entry says for whom and why such a system asks. A bearer
//! token (ITI-71, 72) will be one more thing that [`client`] looks at; what it leads to stays a [`Caller`].

use std::sync::Arc;

use smol_str::SmolStr;

use super::{AuthenticationError, Caller, CallerKind, Proof, User};
use crate::directory::Fingerprint;
use crate::id::{AssigningAuthority, ExchangePurpose};
use crate::trust::{NetworkName, Peer};

/// What proves a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientProof {
    /// This certificate.
    Certificate(Fingerprint),
    /// Any certificate of a name that this network vouches for.
    Name {
        /// Whose trust store.
        network: NetworkName,
        /// A DNS name in its `subjectAltName`, or the common name of a certificate without one; in lower case.
        name: SmolStr,
    },
}

/// A system that speaks FHIR, and what it may do. What is not allowed here is refused.
#[derive(Clone, Debug)]
pub struct FhirClient {
    /// A name for people.
    pub name: SmolStr,
    /// What proves it.
    pub proof: ClientProof,
    /// The user of its requests in audit records.
    pub user: Option<SmolStr>,
    /// The purpose of requests that state none; without it they are refused.
    pub purpose: Option<ExchangePurpose>,
    /// Other purposes that a request may state.
    pub purposes: Vec<ExchangePurpose>,
    /// It may look for patients (ITI-78, 83, 119).
    pub finds_patients: bool,
    /// Domains of which it may feed identifiers (ITI-104).
    pub feeds: Vec<AssigningAuthority>,
    /// It may look for and retrieve documents (ITI-66, 67, 68).
    pub finds_documents: bool,
    /// It may provide documents (ITI-65, 105).
    pub provides_documents: bool,
    /// What it looks for is looked for in other communities too.
    pub asks_communities: bool,
}

impl FhirClient {
    /// Whether a purpose is one of those that it may have.
    pub fn may_ask_for(&self, purpose: &ExchangePurpose) -> bool {
        self.purpose.as_ref() == Some(purpose) || self.purposes.contains(purpose)
    }
}

/// The client at the other end of a connection, with the purpose that its request states in words of its own; none if
/// it states none.
pub fn client(
    clients: &[Arc<FhirClient>],
    peer: Option<&Peer>,
    stated: Option<&str>,
) -> Result<Caller, AuthenticationError> {
    let peer = peer.ok_or(AuthenticationError::NoCertificate)?;
    let found = find(clients, peer)?;
    let purpose = match stated {
        Some(text) => Some(text.parse().map_err(|_| AuthenticationError::UnreadablePurpose)?),
        None => found.purpose.clone(),
    };
    Ok(Caller::new(Proof {
        network: peer.networks().first().cloned(),
        home: None,
        organization: None,
        user: found.user.as_ref().map(|user| User {
            name_id: user.clone(),
            issuer: peer.subject().into(),
            subject_id: Some(found.name.clone()),
            roles: Vec::new(),
        }),
        purposes: purpose.iter().map(ExchangePurpose::to_code).collect(),
        fingerprint: peer.fingerprint().parse().ok(),
        address: peer.address(),
        signature_confirmation: None,
        replay: None,
        kind: CallerKind::Client(found),
    }))
}

/// By the certificate itself, else by a name in it. A certificate with the names of two clients is neither's.
fn find(clients: &[Arc<FhirClient>], peer: &Peer) -> Result<Arc<FhirClient>, AuthenticationError> {
    let own: Option<Fingerprint> = peer.fingerprint().parse().ok();
    let pinned = clients.iter().find(|one| match &one.proof {
        ClientProof::Certificate(fingerprint) => own.as_ref() == Some(fingerprint),
        ClientProof::Name { .. } => false,
    });
    if let Some(client) = pinned {
        return Ok(client.clone());
    }
    let names = peer.names();
    let mut named = clients.iter().filter(|one| match &one.proof {
        ClientProof::Certificate(_) => false,
        ClientProof::Name { network, name } => peer.networks().contains(network) && names.contains(name),
    });
    match (named.next(), named.next()) {
        (Some(client), None) => Ok(client.clone()),
        (None, _) | (Some(_), Some(_)) => Err(AuthenticationError::UnknownClient),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Clock, NhinPurpose};
    use crate::trust::issue::{Authority, KeyKind, Leaf, Validity, write_public};
    use crate::trust::{Trust, fingerprint};

    fn entry(name: &str, proof: ClientProof) -> Arc<FhirClient> {
        Arc::new(FhirClient {
            name: name.into(),
            proof,
            user: Some("app@example.org".into()),
            purpose: Some(NhinPurpose::Treatment.into()),
            purposes: vec![NhinPurpose::Operations.into()],
            finds_patients: true,
            feeds: Vec::new(),
            finds_documents: false,
            provides_documents: false,
            asks_communities: false,
        })
    }

    fn named(network: &str, name: &str) -> ClientProof {
        ClientProof::Name { network: network.parse().unwrap(), name: name.into() }
    }

    /// Two networks with an authority each, and the connection of a leaf of one of them.
    struct World {
        trust: Arc<Trust>,
        local: Authority,
        other: Authority,
        validity: Validity,
        _folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let validity = Validity::days(Clock::system().now(), 2);
            let authority = |name: &str| {
                let root = Authority::root(name, KeyKind::P256, validity).unwrap();
                write_public(&folder.path().join(name).join("root.pem"), &root.pem()).unwrap();
                root
            };
            let (local, other) = (authority("local"), authority("other"));
            let trust = Trust::open(folder.path(), Default::default()).unwrap();
            Self { trust, local, other, validity, _folder: folder }
        }

        fn leaf(&self, authority: &Authority, common: &str, names: &[&str]) -> Leaf {
            authority.leaf(common, names, KeyKind::P256, self.validity).unwrap()
        }

        fn peer(&self, leaf: &Leaf) -> Peer {
            let address = ([127, 0, 0, 1], 1).into();
            Peer::verify(&self.trust, address, leaf.chain().to_vec(), Clock::system().now()).unwrap()
        }
    }

    #[test]
    fn a_client_is_known_by_its_certificate_or_by_a_name_of_its_network() {
        let world = World::new();
        let app = world.leaf(&world.local, "app", &["app.example.org"]);
        let elsewhere = world.leaf(&world.other, "app", &["app.example.org"]);
        let two = world.leaf(&world.local, "two", &["app.example.org", "lab.example.org"]);
        let pinned = world.leaf(&world.local, "pinned", &["app.example.org"]);
        let stranger = world.leaf(&world.local, "app.example.org", &["stranger.example.org"]);
        let clients = [
            entry("app", named("local", "app.example.org")),
            entry("lab", named("local", "lab.example.org")),
            entry("pinned", ClientProof::Certificate(fingerprint(&pinned.chain()[0]).parse().unwrap())),
        ];
        for (leaf, found) in [
            (&app, Some("app")),
            (&pinned, Some("pinned")),
            // The other network may not speak for a name of ours.
            (&elsewhere, None),
            (&two, None),
            // A common name counts only where there is no other name.
            (&stranger, None),
        ] {
            let caller = client(&clients, Some(&world.peer(leaf)), None);
            let name = caller.as_ref().ok().and_then(|caller| caller.client()).map(|client| client.name.as_str());
            assert_eq!(name, found);
            assert_eq!(caller.err(), found.is_none().then_some(AuthenticationError::UnknownClient));
        }
        assert_eq!(client(&clients, None, None).err(), Some(AuthenticationError::NoCertificate));
    }

    #[test]
    fn a_request_states_its_purpose_or_has_that_of_its_client() {
        let world = World::new();
        let app = world.peer(&world.leaf(&world.local, "app", &["app.example.org"]));
        let clients = [entry("app", named("local", "app.example.org"))];
        for (stated, expected) in [(None, "TREATMENT"), (Some("OPERATIONS"), "OPERATIONS"), (Some("x|2.999"), "x")] {
            let caller = client(&clients, Some(&app), stated).unwrap();
            assert_eq!(caller.purposes().iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), [expected]);
            assert_eq!(caller.user().unwrap().name_id, "app@example.org");
        }
        for stated in ["", "nonsense"] {
            let refused = client(&clients, Some(&app), Some(stated)).err();
            assert_eq!(refused, Some(AuthenticationError::UnreadablePurpose), "{stated:?}");
        }
    }
}
