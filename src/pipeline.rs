//! The road that every transaction takes: authenticate, decode, authorize, handle, audit, encode.
//!
//! [`start`] is the road; a [`Transaction`] says what is particular about one transaction, a [`Wire`] what is
//! particular about SOAP, MLLP or FHIR. No handler runs without a `Permitted` request, and no reply leaves before its
//! audit record is on disk.

pub mod delivery;
pub mod fhir;
pub mod outgoing;
pub mod record;
pub mod soap;
pub mod v2;
pub mod v3;

pub use record::{Part, Record};

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::atna::Exchange;
use crate::authenticate::{AuthenticationError, Caller};
use crate::gateway::Gateway;
use crate::id::{Timestamp, TraceId, Transaction as Iti};
use crate::policy::{Permitted, PolicyRefusal};
use crate::trust::Peer;

/// A wire that transactions are spoken on.
pub trait Wire: Sized + 'static {
    /// A message as it was framed and parsed, not yet trusted.
    type Message<'m>;
    /// What follows the message on the connection and is read while it is handled: attachments.
    type Extras: Send + 'static;
    /// What the answer of a transaction is made of.
    type Answer: Send;
    /// What goes back to the caller.
    type Reply: Send;

    /// Who asks. Only this leads to a [`Caller`].
    fn authenticate(
        gateway: &Gateway,
        received: &Received,
        message: &Self::Message<'_>,
    ) -> Result<Caller, AuthenticationError>;

    /// What the audit record says of the two ends.
    fn exchange(gateway: &Gateway, received: &Received, message: &Self::Message<'_>) -> Exchange;

    /// Puts an answer, or the wire's own form of a denial, into a reply to that message.
    fn reply(
        gateway: &Arc<Gateway>,
        received: &Received,
        message: &Self::Message<'_>,
        caller: Option<&Caller>,
    ) -> Replier<Self>;
}

/// Makes the reply of an outcome.
pub type Replier<W> = Box<dyn FnOnce(Result<<W as Wire>::Answer, Denied>) -> <W as Wire>::Reply + Send>;

/// The circumstances of a message.
#[derive(Clone, Debug)]
pub struct Received {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// Who its certificate says is at the other end; none without TLS, which only MLLP allows.
    pub peer: Option<Arc<Peer>>,
    /// The URL or address at which it was received.
    pub endpoint: String,
    /// When.
    pub at: Timestamp,
    /// The name of this exchange.
    pub trace: TraceId,
}

/// A transaction that is answered here.
pub trait Transaction: Sized + Send + 'static {
    /// What it is spoken on.
    type Wire: Wire;
    /// Its number.
    const ID: Iti;
    /// What is asked.
    type Request: Send + Sync + 'static;
    /// What is answered.
    type Response: Send + 'static;
    /// Why it is not.
    type Refusal: std::error::Error + Send + 'static;
    /// What an answer of any kind repeats of the message, though it could not be decoded otherwise.
    type Echo: Send + 'static;

    /// Reads what an answer repeats. Never fails: what is not there is left out.
    fn echo(gateway: &Gateway, received: &Received, message: &<Self::Wire as Wire>::Message<'_>) -> Self::Echo;

    /// Reads the request.
    fn decode(
        gateway: &Gateway,
        caller: &Caller,
        message: &<Self::Wire as Wire>::Message<'_>,
    ) -> Result<Self::Request, Failure<Self::Refusal>>;

    /// Does what is asked.
    fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Self::Request>>,
        extras: <Self::Wire as Wire>::Extras,
    ) -> impl Future<Output = Result<Self::Response, Self::Refusal>> + Send;

    /// The parts of the audit record: at least one, and one more for each other outcome or patient.
    fn audit(request: &Self::Request, outcome: &Result<Self::Response, Self::Refusal>) -> Vec<Part>;

    /// Writes the answer.
    fn encode(
        echo: Self::Echo,
        outcome: Result<Self::Response, Self::Refusal>,
        trace: TraceId,
    ) -> <Self::Wire as Wire>::Answer;
}

/// A request that may be handled, with its circumstances.
pub struct Call<R> {
    /// The request, and who asks.
    pub permitted: Permitted<R>,
    /// The name of this exchange.
    pub trace: TraceId,
    /// When it was received.
    pub at: Timestamp,
}

/// Why a message was not handled.
#[derive(Debug)]
pub enum Failure<R> {
    /// By a rule of every transaction.
    Denied(Denied),
    /// By a rule of this one.
    Refused(R),
}

impl<R> From<Denied> for Failure<R> {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

/// Why any message may be denied, whatever its transaction.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// It cannot be read as a message of its transaction.
    #[error("{0}")]
    Malformed(String),
    /// Nobody whom we know asked for it.
    #[error(transparent)]
    Unauthenticated(#[from] AuthenticationError),
    /// Whoever asked may not.
    #[error(transparent)]
    NotPermitted(#[from] PolicyRefusal),
    /// It could not be recorded, and what cannot be recorded is not answered.
    #[error("the exchange cannot be recorded at the moment; try again later")]
    NotRecorded,
}

/// Takes a message down the road. What needs the parsed message happens at once; the returned future owns the rest,
/// so that the message's bytes can go.
pub fn start<T: Transaction>(
    gateway: Arc<Gateway>,
    received: Received,
    message: &<T::Wire as Wire>::Message<'_>,
    extras: <T::Wire as Wire>::Extras,
) -> impl Future<Output = <T::Wire as Wire>::Reply> + Send + 'static {
    let mut record = Record::open(&gateway, T::ID, T::Wire::exchange(&gateway, &received, message));
    let admitted = admit::<T>(&gateway, &received, message, &mut record);
    let reply = T::Wire::reply(&gateway, &received, message, record.known());
    let echo = T::echo(&gateway, &received, message);
    async move {
        let trace = received.trace;
        let outcome = match admitted {
            Ok(call) => {
                let call = Arc::new(call);
                let outcome = T::handle(gateway, call.clone(), extras).await;
                record.close(T::audit(call.permitted.request(), &outcome)).await.map(|()| outcome)
            }
            Err(Failure::Refused(refusal)) => {
                let part = Part::failure(Vec::new(), &refusal);
                record.close(vec![part]).await.map(|()| Err(refusal))
            }
            Err(Failure::Denied(denied)) => {
                let part = Part::failure(Vec::new(), &denied);
                record.close(vec![part]).await.and(Err(denied))
            }
        };
        reply(outcome.map(|outcome| T::encode(echo, outcome, trace)))
    }
}

fn admit<T: Transaction>(
    gateway: &Gateway,
    received: &Received,
    message: &<T::Wire as Wire>::Message<'_>,
    record: &mut Record,
) -> Result<Call<T::Request>, Failure<T::Refusal>> {
    let caller = T::Wire::authenticate(gateway, received, message).map_err(Denied::from)?;
    record.caller(&caller);
    let request = T::decode(gateway, &caller, message)?;
    let permitted = gateway.policy.authorize(T::ID, caller, request).map_err(Denied::from)?;
    Ok(Call { permitted, trace: received.trace, at: received.at })
}
