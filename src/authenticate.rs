//! Who is asking, proved by certificate, signature and token.

mod client;
mod replay;
mod soap;
mod source;

use std::net::SocketAddr;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::directory::{Fingerprint, NetworkKind, Partner};
use crate::id::{Code, HomeCommunityId, Timestamp};
use crate::trust::NetworkName;

pub use client::{ClientProof, FhirClient, client};
pub use replay::{ReplayCache, Seen};
pub use soap::{AuthenticationError, Checks, soap};
pub use source::{FeedSource, source};

/// What sort of party asks.
#[derive(Clone, Debug)]
pub enum CallerKind {
    /// A partner of the directory, proved by an assertion that it signed.
    Partner(Arc<Partner>),
    /// One of our own feeds, proved by its connection (MLLP).
    Source {
        /// Its name in the configuration.
        name: SmolStr,
    },
    /// One of our own systems that speaks FHIR, proved by its certificate.
    Client(Arc<FhirClient>),
}

/// The person or system at the partner on whose behalf the request is made. Names staff, so logs do not print it.
#[derive(Clone, Eq, PartialEq)]
pub struct User {
    /// `NameID` of the assertion's subject.
    pub name_id: SmolStr,
    /// Issuer of the assertion.
    pub issuer: SmolStr,
    /// Name of the person or system (attribute subject-id).
    pub subject_id: Option<SmolStr>,
    /// Roles that the partner asserts.
    pub roles: Vec<Code>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User(issuer {:?}, {} roles)", self.issuer, self.roles.len())
    }
}

/// Who asks. Only this module makes one, from what was verified.
#[derive(Clone, Debug)]
pub struct Caller {
    kind: CallerKind,
    network: Option<NetworkName>,
    home: Option<HomeCommunityId>,
    organization: Option<SmolStr>,
    user: Option<User>,
    purposes: Vec<Code>,
    fingerprint: Option<Fingerprint>,
    address: SocketAddr,
    signature_confirmation: Option<Vec<u8>>,
    replay: Option<([u8; 32], Timestamp)>,
}

/// What was verified about a caller, to make a `Caller` of.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    /// What sort of party.
    pub(crate) kind: CallerKind,
    /// Network whose trust store proved the certificate; none for a feed without TLS.
    pub(crate) network: Option<NetworkName>,
    /// Community in the assertion.
    pub(crate) home: Option<HomeCommunityId>,
    /// Organization in the assertion.
    pub(crate) organization: Option<SmolStr>,
    /// User in the assertion.
    pub(crate) user: Option<User>,
    /// Purposes in the assertion.
    pub(crate) purposes: Vec<Code>,
    /// Certificate that proved the caller.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Where the connection comes from.
    pub(crate) address: SocketAddr,
    /// Value of the message signature.
    pub(crate) signature_confirmation: Option<Vec<u8>>,
    /// What names the message among copies, and when a copy would be refused for its age.
    pub(crate) replay: Option<([u8; 32], Timestamp)>,
}

impl Caller {
    /// The caller of a proof. For this crate's authentication only: what is in the proof has been verified.
    pub(crate) fn new(proof: Proof) -> Self {
        let Proof {
            kind,
            network,
            home,
            organization,
            user,
            purposes,
            fingerprint,
            address,
            signature_confirmation,
            replay,
        } = proof;
        Self { kind, network, home, organization, user, purposes, fingerprint, address, signature_confirmation, replay }
    }

    /// What sort of party it is.
    pub fn kind(&self) -> &CallerKind {
        &self.kind
    }

    /// The partner, if it is one.
    pub fn partner(&self) -> Option<&Arc<Partner>> {
        match &self.kind {
            CallerKind::Partner(partner) => Some(partner),
            CallerKind::Source { .. } | CallerKind::Client(_) => None,
        }
    }

    /// Whether it is one of our own systems, and no other community.
    pub fn is_ours(&self) -> bool {
        match &self.kind {
            CallerKind::Partner(partner) => partner.kind == NetworkKind::Local,
            CallerKind::Source { .. } | CallerKind::Client(_) => true,
        }
    }

    /// The FHIR client, if it is one.
    pub fn client(&self) -> Option<&Arc<FhirClient>> {
        match &self.kind {
            CallerKind::Client(client) => Some(client),
            CallerKind::Partner(_) | CallerKind::Source { .. } => None,
        }
    }

    /// The network whose trust store proved the certificate; none for a feed without TLS.
    pub fn network(&self) -> Option<&NetworkName> {
        self.network.as_ref()
    }

    /// The community in the assertion.
    pub fn home(&self) -> Option<&HomeCommunityId> {
        self.home.as_ref()
    }

    /// The organization in the assertion.
    pub fn organization(&self) -> Option<&str> {
        self.organization.as_deref()
    }

    /// The person or system on whose behalf the request is made.
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// The purposes in the assertion, as they came.
    pub fn purposes(&self) -> &[Code] {
        &self.purposes
    }

    /// The certificate that proved the caller.
    pub fn fingerprint(&self) -> Option<&Fingerprint> {
        self.fingerprint.as_ref()
    }

    /// Where the connection comes from.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Value of the message signature, which the response repeats as `SignatureConfirmation`.
    pub fn signature_confirmation(&self) -> Option<&[u8]> {
        self.signature_confirmation.as_deref()
    }

    /// What names the message among copies, and when a copy would be refused for its age.
    pub fn replay(&self) -> Option<([u8; 32], Timestamp)> {
        self.replay
    }
}
