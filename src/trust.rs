//! Whom we trust: anchors, chains, revocation and TLS, by network.
