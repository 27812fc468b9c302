//! Sockets: HTTPS and MLLP listeners, calls to partners.
