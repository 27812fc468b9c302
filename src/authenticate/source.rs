//! Who feeds patients over MLLP: HL7 v2 has no place for an assertion, so the connection and the names in the message
//! must be those of one source of the configuration.

use std::net::{IpAddr, SocketAddr};

use smol_str::SmolStr;

use super::{AuthenticationError, Caller, CallerKind, Proof};
use crate::directory::Fingerprint;
use crate::id::AssigningAuthority;
use crate::trust::Peer;

/// A system that feeds patients, and the domains that it alone may feed (ITI TF-2: 3.8.4.1.3).
#[derive(Clone, Debug)]
pub struct FeedSource {
    /// A name for people.
    pub name: SmolStr,
    /// MSH-3; empty for any.
    pub application: SmolStr,
    /// MSH-4; empty for any.
    pub facility: SmolStr,
    /// Domains that it may feed.
    pub authorities: Vec<AssigningAuthority>,
    /// Its certificate; none where it comes without TLS, or where any trusted one will do.
    pub certificate: Option<Fingerprint>,
    /// Addresses it may come from; empty for any.
    pub addresses: Vec<IpAddr>,
    /// The domain of identifiers that it sends without one.
    pub default_authority: Option<AssigningAuthority>,
}

impl FeedSource {
    fn is(&self, application: &str, facility: &str, address: IpAddr, certificate: Option<&Fingerprint>) -> bool {
        let named = |ours: &str, theirs: &str| ours.is_empty() || ours == theirs;
        named(&self.application, application)
            && named(&self.facility, facility)
            && (self.addresses.is_empty() || self.addresses.contains(&address.to_canonical()))
            && (self.certificate.is_none() || self.certificate.as_ref() == certificate)
    }
}

/// The source that sends under these names over this connection. One whose certificate is configured is found by it
/// and never without it.
pub fn source<'s>(
    sources: &'s [FeedSource],
    (application, facility): (&str, &str),
    address: SocketAddr,
    peer: Option<&Peer>,
) -> Result<(&'s FeedSource, Caller), AuthenticationError> {
    let certificate: Option<Fingerprint> = peer.and_then(|peer| peer.fingerprint().parse().ok());
    let found = sources
        .iter()
        .find(|source| source.is(application, facility, address.ip(), certificate.as_ref()))
        .ok_or(AuthenticationError::UnknownSource)?;
    let caller = Caller::new(Proof {
        kind: CallerKind::Source { name: found.name.clone() },
        network: peer.and_then(|peer| peer.networks().first().cloned()),
        home: None,
        organization: None,
        user: None,
        purposes: Vec::new(),
        fingerprint: certificate,
        address,
        signature_confirmation: None,
        replay: None,
    });
    Ok((found, caller))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Vec<FeedSource> {
        let source = |name: &str, application: &str, address: Option<&str>, certificate: bool| FeedSource {
            name: name.into(),
            application: application.into(),
            facility: "NORTH".into(),
            authorities: Vec::new(),
            certificate: certificate.then_some(Fingerprint([7; 32])),
            addresses: address.into_iter().map(|address| address.parse().unwrap()).collect(),
            default_authority: None,
        };
        vec![source("tls", "ADT1", None, true), source("house", "ADT2", Some("192.0.2.7"), false)]
    }

    #[test]
    fn a_source_is_known_by_its_names_and_its_connection_together() {
        let sources = sources();
        for (application, address, found) in [
            ("ADT2", "192.0.2.7:5000", Some("house")),
            ("ADT2", "[::ffff:192.0.2.7]:5000", Some("house")),
            ("ADT2", "192.0.2.8:5000", None),
            ("ADT1", "192.0.2.7:5000", None),
            ("ADT3", "192.0.2.7:5000", None),
        ] {
            let result = source(&sources, (application, "NORTH"), address.parse().unwrap(), None);
            assert_eq!(result.ok().map(|(source, _)| &*source.name), found, "{application} from {address}");
        }
        assert!(source(&sources, ("ADT2", "SOUTH"), "192.0.2.7:1".parse().unwrap(), None).is_err());
    }
}
