//! The one seam for calls to partners: `net::dial` implements it over HTTPS, tests bring their own.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use hyper::header::HeaderMap;
use hyper::{Method, Uri};
use smol_str::SmolStr;
use tokio::time::Instant;

use crate::trust::{NetworkName, Refusal};

/// Sends one HTTP call to a partner and returns what it answered, whatever the status.
pub trait Exchange: Send + Sync {
    /// Calls; everything, the answer's body included, ends at `deadline` or after the endpoint's own timeout.
    fn call<'a>(
        &'a self,
        to: &'a Endpoint,
        call: HttpCall,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<HttpAnswer, ExchangeError>>;
}

/// Where a partner is reached for one kind of transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// The `https` address.
    pub url: Uri,
    /// The network whose authorities decide about the partner's server, and whose certificate of ours is presented.
    pub network: NetworkName,
    /// The partner's name in the directory, for logs.
    pub partner: SmolStr,
    /// For the whole call, the answer's body included.
    pub timeout: Duration,
    /// The most bytes that the answer's body may have.
    pub answer_limit: u64,
}

/// What is sent.
pub struct HttpCall {
    /// POST, except for FHIR.
    pub method: Method,
    /// `Content-Type`, with its parameters; none for a call without body.
    pub content_type: Option<String>,
    /// Further headers.
    pub headers: HeaderMap,
    /// The content.
    pub body: CallBody,
}

impl HttpCall {
    /// A POST.
    pub fn post(content_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        let body = CallBody::Bytes(body.into());
        Self { method: Method::POST, content_type: Some(content_type.into()), headers: HeaderMap::new(), body }
    }
}

impl fmt::Debug for HttpCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body is patient data.
        write!(f, "HttpCall({}, {:?}, {:?})", self.method, self.content_type, self.body)
    }
}

/// The content of a call.
pub enum CallBody {
    /// All of it, sent with its length.
    Bytes(Bytes),
    /// Pieces as they come, sent in chunks. An error breaks the call off.
    Stream(BoxStream<'static, io::Result<Bytes>>),
}

impl fmt::Debug for CallBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Stream(_) => f.write_str("a stream"),
        }
    }
}

/// What came back.
pub struct HttpAnswer {
    /// The status; partners send SOAP faults with 200, 400 and 500, so look at the body before you judge.
    pub status: u16,
    /// `Content-Type` as sent.
    pub content_type: Option<String>,
    /// All headers.
    pub headers: HeaderMap,
    /// The content, within the endpoint's limit and the call's deadline.
    pub body: BoxStream<'static, Result<Bytes, ExchangeError>>,
}

impl HttpAnswer {
    /// Reads the whole body; [`ExchangeError::Empty`] if there is none.
    pub async fn collect(mut self) -> Result<Bytes, ExchangeError> {
        let mut first = Bytes::new();
        while first.is_empty() {
            first = self.body.next().await.ok_or(ExchangeError::Empty)??;
        }
        let Some(second) = self.body.next().await else { return Ok(first) };
        let mut whole = BytesMut::from(first);
        whole.extend_from_slice(&second?);
        while let Some(piece) = self.body.next().await {
            whole.extend_from_slice(&piece?);
        }
        Ok(whole.freeze())
    }
}

impl fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpAnswer({}, {:?})", self.status, self.content_type)
    }
}

/// How far a call had come.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Phase {
    /// TCP and TLS.
    #[error("while connecting")]
    Connecting,
    /// The request is on its way or handled; the partner may have acted on it.
    #[error("before an answer came")]
    Answering,
    /// The status is here, the body is not complete.
    #[error("while the answer was read")]
    Reading,
}

/// Why a call to a partner brought no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExchangeError {
    /// The address is not `https`, or has no host.
    #[error("the partner's address is not an https address")]
    NotHttps,
    /// Our side cannot call partners of this network.
    #[error("calls into this network are not possible: {0}")]
    Network(String),
    /// The host name has no address.
    #[error("the partner's host name is not known")]
    NameNotResolved,
    /// Nothing listens there, or no route leads there.
    #[error("the partner cannot be reached: {0}")]
    Unreachable(Unreachable),
    /// One side refused the other's certificate or protocol.
    #[error("no secure connection to the partner: {0}")]
    TlsRefused(Refusal),
    /// The deadline passed.
    #[error("the partner did not finish in time, {0}")]
    TimedOut(Phase),
    /// The connection ended before an answer came. The partner may have acted on the request.
    #[error("the partner closed the connection without an answer")]
    Reset,
    /// The connection ended within the answer.
    #[error("the partner's answer ended too early")]
    Truncated,
    /// The answer is larger than allowed.
    #[error("the partner's answer is larger than {limit} bytes")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// A status that is no success, with a body that means nothing to the caller.
    #[error("the partner answered with HTTP status {0}")]
    Http(u16),
    /// A success without a body where one is needed.
    #[error("the partner's answer is empty")]
    Empty,
    /// Not HTTP.
    #[error("the partner did not answer in HTTP")]
    NotHttp,
    /// The body of our own call broke off.
    #[error("the request could not be read to its end on our side")]
    Source,
}

/// Why nothing could be connected to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Unreachable {
    /// The host is there, the port is closed.
    #[error("the connection was refused")]
    Refused,
    /// No route to the host.
    #[error("there is no route to it")]
    NoRoute,
    /// Something else.
    #[error("the connection failed")]
    Other,
}

impl ExchangeError {
    /// Whether the partner certainly never saw the request, so that sending it again cannot do anything twice.
    pub fn never_sent(&self) -> bool {
        match self {
            Self::NotHttps | Self::Network(_) | Self::NameNotResolved | Self::Unreachable(_) | Self::TlsRefused(_) => {
                true
            }
            Self::TimedOut(phase) => *phase == Phase::Connecting,
            Self::Reset
            | Self::Truncated
            | Self::TooLarge { .. }
            | Self::Http(_)
            | Self::Empty
            | Self::NotHttp
            | Self::Source => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pieces: &[&'static [u8]]) -> HttpAnswer {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        let body = futures_util::stream::iter(pieces).boxed();
        HttpAnswer { status: 200, content_type: None, headers: HeaderMap::new(), body }
    }

    /// An empty success was once read as a success (Metriport pull request 2926).
    #[tokio::test]
    async fn an_empty_answer_is_an_error_of_its_own() {
        assert_eq!(answer(&[]).collect().await, Err(ExchangeError::Empty));
        assert_eq!(answer(&[b""]).collect().await, Err(ExchangeError::Empty));
        assert_eq!(answer(&[b"", b"a", b"b"]).collect().await.unwrap(), "ab");
    }

    #[test]
    fn only_calls_that_never_left_may_be_repeated() {
        assert!(ExchangeError::TlsRefused(Refusal::NotTls).never_sent());
        assert!(ExchangeError::TimedOut(Phase::Connecting).never_sent());
        assert!(!ExchangeError::TimedOut(Phase::Answering).never_sent());
        assert!(!ExchangeError::Reset.never_sent());
    }

    #[test]
    fn debug_prints_no_content() {
        let call = HttpCall::post("text/plain", "Jane Example");
        assert!(!format!("{call:?}").contains("Jane"));
    }
}
