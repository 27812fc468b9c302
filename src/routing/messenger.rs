//! The seam for HL7 v2 messages that go to others over MLLP, as `exchange` is for calls over HTTPS: `net::messenger`
//! implements it on sockets.

use std::time::Duration;

use futures_util::future::BoxFuture;
use smol_str::SmolStr;

use super::exchange::ExchangeError;
use crate::trust::NetworkName;

/// Where a system listens for HL7 v2.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Address {
    /// Host name or IP address, without brackets.
    pub host: SmolStr,
    /// Port.
    pub port: u16,
    /// The network whose authorities decide about its certificate; none: no TLS.
    pub network: Option<NetworkName>,
    /// The name in its certificate.
    pub server_name: SmolStr,
    /// For connecting, sending and the answer together.
    pub timeout: Duration,
}

/// Sends messages.
pub trait Messenger: Send + Sync {
    /// Sends one message and returns the one that answers it, both without frame. Messages to one address go one after
    /// the other over one connection. `answers` tells an answer to this message from one that came too late for an
    /// earlier one, which is passed over.
    fn ask<'a>(
        &'a self,
        to: &'a Address,
        message: &'a [u8],
        answers: &'a (dyn Fn(&[u8]) -> bool + Sync),
    ) -> BoxFuture<'a, Result<Vec<u8>, ExchangeError>>;
}
