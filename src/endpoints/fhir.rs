//! FHIR below `/fhir`: method and path to transaction.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use futures_util::future::BoxFuture;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{LONGEST_BODY, Services};
use crate::atna::{Event, Outcome};
use crate::authenticate;
use crate::fhir::capability;
use crate::fhir::mhd::recipient::{ProvideBundle, SimplifiedPublish};
use crate::fhir::mhd::responder::{FindLists, FindReferences, ReadList, ReadReference, RetrieveDocument};
use crate::fhir::mhd::take_documents;
use crate::fhir::outcome::Refusal;
use crate::fhir::person;
use crate::fhir::search::Parameters;
use crate::gateway::Gateway;
use crate::id::{TraceId, Transaction as Iti};
use crate::net::body::{self, BodyError, Limited};
use crate::net::to_the_end::ToTheEnd;
use crate::pdq::supplier::{MatchFhir, ReadFhir, SearchFhir};
use crate::pipeline::fhir::{Answer, Content, Format, Headers, Message, Reply, exchange, format};
use crate::pipeline::{Denied, Received, start};
use crate::pix::manager::{FeedFhir, QueryFhir};
use crate::routing::exchange::CallBody;
use crate::trust::Peer;

/// The transactions that are served, as the capability statement tells them.
const SERVED: [Iti; 9] =
    [Iti::Iti65, Iti::Iti66, Iti::Iti67, Iti::Iti68, Iti::Iti78, Iti::Iti83, Iti::Iti104, Iti::Iti105, Iti::Iti119];

/// Takes a request to its transaction. A path that is not here is not served; one that is, with another method, says
/// for which ones it is.
fn dispatch(
    gateway: &Arc<Gateway>,
    received: Received,
    message: &Message,
) -> Result<BoxFuture<'static, Reply>, Refusal> {
    let gateway = gateway.clone();
    let segments: Vec<&str> = message.path.split('/').filter(|segment| !segment.is_empty()).collect();
    Ok(match (message.method.as_str(), segments.as_slice()) {
        ("GET", ["Patient"]) | ("POST", ["Patient", "_search"]) => {
            Box::pin(start::<SearchFhir>(gateway, received, message, ()))
        }
        ("POST" | "PUT" | "DELETE", ["Patient"]) => Box::pin(start::<FeedFhir>(gateway, received, message, ())),
        ("GET" | "POST", ["Patient", "$ihe-pix"]) => Box::pin(start::<QueryFhir>(gateway, received, message, ())),
        ("POST", ["Patient", "$match"]) => Box::pin(start::<MatchFhir>(gateway, received, message, ())),
        ("GET", ["Patient", id]) if is_id(id) => Box::pin(start::<ReadFhir>(gateway, received, message, ())),
        ("POST", []) => Box::pin(start::<ProvideBundle>(gateway, received, message, ())),
        ("GET", ["DocumentReference"]) | ("POST", ["DocumentReference", "_search"]) => {
            Box::pin(start::<FindReferences>(gateway, received, message, ()))
        }
        ("POST", ["DocumentReference"]) => Box::pin(start::<SimplifiedPublish>(gateway, received, message, ())),
        ("GET", ["List"]) | ("POST", ["List", "_search"]) => {
            Box::pin(start::<FindLists>(gateway, received, message, ()))
        }
        ("GET", ["DocumentReference", id]) if is_id(id) => {
            Box::pin(start::<ReadReference>(gateway, received, message, ()))
        }
        ("GET", ["List", id]) if is_id(id) => Box::pin(start::<ReadList>(gateway, received, message, ())),
        ("GET", ["Binary", _]) => Box::pin(start::<RetrieveDocument>(gateway, received, message, ())),
        (_, []) => return Err(Refusal::Method("POST")),
        (_, ["DocumentReference"]) => return Err(Refusal::Method("GET, POST")),
        (_, ["List"] | ["Binary", _]) => return Err(Refusal::Method("GET")),
        (_, ["DocumentReference" | "List", "_search"]) => return Err(Refusal::Method("POST")),
        (_, ["DocumentReference" | "List", id]) if is_id(id) => return Err(Refusal::Method("GET")),
        (_, ["Patient"]) => return Err(Refusal::Method("GET, POST, PUT, DELETE")),
        (_, ["Patient", "_search" | "$match"]) => return Err(Refusal::Method("POST")),
        (_, ["Patient", "$ihe-pix"]) => return Err(Refusal::Method("GET, POST")),
        (_, ["Patient", id]) if is_id(id) => return Err(Refusal::Method("GET")),
        _ => return Err(Refusal::NotSupported("this path".into())),
    })
}

/// Whether a segment may be the id of a resource: the names of operations are none.
fn is_id(segment: &str) -> bool {
    !segment.starts_with(['$', '_'])
}

/// The transaction that a request below a path is recorded as when it cannot be read.
fn usual(path: &str) -> Iti {
    match path.split('/').find(|segment| !segment.is_empty()) {
        None => Iti::Iti65,
        Some("List") => Iti::Iti66,
        Some("DocumentReference") => Iti::Iti67,
        Some("Binary") => Iti::Iti68,
        Some(_) if path.ends_with("$ihe-pix") => Iti::Iti83,
        Some(_) if path.ends_with("$match") => Iti::Iti119,
        Some(_) => Iti::Iti78,
    }
}

/// How many of the longest bodies are in memory at most: a Bundle is, with its documents, until it is answered.
const LONGEST_AT_ONCE: usize = 8;

/// KiB for the bodies of all requests together.
pub(super) fn room(gateway: &Gateway) -> usize {
    (gateway.limits.fhir >> 10).saturating_mul(LONGEST_AT_ONCE).min(Semaphore::MAX_PERMITS)
}

/// Waits until there is room for a body: as much as is announced, or for the longest there may be.
async fn wait_for_room(
    gateway: &Gateway,
    bodies: Arc<Semaphore>,
    announced: Option<u64>,
) -> Result<OwnedSemaphorePermit, Refusal> {
    let longest = gateway.limits.fhir as u64;
    let length = announced.unwrap_or(longest).min(longest);
    let needed = u32::try_from(length >> 10).unwrap_or(u32::MAX);
    let room = tokio::time::timeout(gateway.limits.idle, bodies.acquire_many_owned(needed)).await;
    room.ok().and_then(Result::ok).ok_or(Refusal::Throttled)
}

pub(super) async fn serve(
    State(Services { gateway, places, bodies }): State<Services>,
    Extension(peer): Extension<Arc<Peer>>,
    request: Request<Body>,
) -> Response<Body> {
    let received = Received {
        address: peer.address(),
        peer: Some(peer),
        endpoint: person::base(&gateway),
        at: gateway.clock.now(),
        trace: TraceId::new(),
    };
    let trace = received.trace;
    let path = request.uri().path().to_owned();
    let Ok(place) = places.try_acquire_owned() else {
        let refused = Refused { refusal: Refusal::Throttled, usual: usual(&path), format: Format::default() };
        return into_response(refused.answer(&gateway, &received).await);
    };
    // The exchange goes on to its end, audit record included, even if the caller hangs up.
    let answered = ToTheEnd::new(async move {
        let _place = place;
        match take(&gateway, &received, request, bodies).await {
            Ok((running, _room)) => running.await,
            Err(refused) => refused.answer(&gateway, &received).await,
        }
    })
    .await;
    let failed = |_| Format::default().reply(Answer::refused(&Refusal::Internal, trace), trace);
    into_response(answered.unwrap_or_else(failed))
}

/// A request that led to no transaction.
struct Refused {
    refusal: Refusal,
    usual: Iti,
    format: Format,
}

/// Everything before the transaction. Who asks is looked at before the body is read: only a client of the configuration
/// has it held in memory. The transaction looks again, because only that makes a `Caller`.
async fn take(
    gateway: &Arc<Gateway>,
    received: &Received,
    request: Request<Body>,
    bodies: Arc<Semaphore>,
) -> Result<(BoxFuture<'static, Reply>, Option<OwnedSemaphorePermit>), Refused> {
    let (head, body) = request.into_parts();
    let raw = head.uri.path().strip_prefix(person::PATH).unwrap_or_default();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let headers = headers(&head.headers);
    let parameter = Parameters::read(&query, None).and_then(|all| all.single("_format"));
    let wanted = match &parameter {
        Ok(parameter) => Format::wanted(parameter.as_deref(), headers.accept.as_deref()),
        Err(_) => None,
    };
    let format = wanted.or_else(|| Format::wanted(None, headers.accept.as_deref())).unwrap_or_default();
    let mut usual = usual(raw);
    let refuse = |usual, refusal| Refused { refusal, usual, format };
    let path = segments(raw).map_err(|refusal| refuse(usual, refusal))?;
    if head.method == "GET" && path == "metadata" {
        return Ok((metadata(gateway, received, format), None));
    }
    if matches!(head.method.as_str(), "PUT" | "DELETE") && path == "Patient" {
        usual = Iti::Iti104;
    }
    if head.method == "POST" && path == "DocumentReference" {
        usual = Iti::Iti105;
    }
    parameter.map_err(|refusal| refuse(usual, refusal))?;
    // PDQm 2:3.78.4.1.3, case 5; a read has another status (ITI TF-2: Appendix Z.6).
    // What a document is in, its transaction compares with what is accepted.
    if wanted.is_none() && !path.starts_with("Binary/") {
        return Err(refuse(usual, Refusal::NotAcceptable));
    }
    let known = authenticate::client(&gateway.clients, received.peer.as_deref(), headers.purpose.as_deref());
    known.map_err(|error| refuse(usual, Refusal::from(Denied::from(error))))?;
    let content_type = text(&head.headers, header::CONTENT_TYPE);
    let room =
        wait_for_room(gateway, bodies, body.size_hint().upper()).await.map_err(|refusal| refuse(usual, refusal))?;
    let bytes = read(gateway, body).await.map_err(|refusal| refuse(usual, refusal))?;
    let limits = crate::xml::Limits { bytes: gateway.limits.fhir, ..gateway.limits.xml };
    let mut body = format::read(content_type.as_deref(), &bytes, &limits).map_err(|refusal| refuse(usual, refusal))?;
    drop(bytes);
    let documents = match &mut body {
        Content::Resource(resource) if matches!(path.as_str(), "" | "DocumentReference") => {
            take_documents(resource).map_err(|refusal| refuse(usual, refusal))?
        }
        Content::Resource(_) | Content::Form(_) | Content::Nothing => Vec::new(),
    };
    let method = head.method.as_str().into();
    let message = Message { method, path, query, body, documents, headers, format };
    let running = dispatch(gateway, received.clone(), &message).map_err(|refusal| refuse(usual, refusal))?;
    Ok((running, Some(room)))
}

async fn read(gateway: &Gateway, body: Body) -> Result<bytes::Bytes, Refusal> {
    let limits = body::Limits {
        bytes: gateway.limits.fhir as u64,
        window: gateway.limits.idle,
        total: LONGEST_BODY.max(gateway.limits.idle),
        ..body::Limits::default()
    };
    Limited::new(body, limits).collect().await.map_err(|error| match error {
        BodyError::TooLarge { .. } => Refusal::TooLarge(gateway.limits.fhir),
        BodyError::TooSlow => Refusal::Slow,
        BodyError::Truncated => Refusal::Unreadable(error.to_string()),
    })
}

/// The path with its percent signs resolved, segment by segment: an escaped slash is no separator, and none of our paths
/// has one in a segment.
fn segments(raw: &str) -> Result<String, Refusal> {
    let mut path = Vec::new();
    for segment in raw.split('/').filter(|segment| !segment.is_empty()) {
        let segment = crate::fhir::search::path_decoded(segment).ok_or(Refusal::Unusable("the path".into()))?;
        if segment.chars().any(|c| c == '/' || c.is_control()) || segment == "." || segment == ".." {
            return Err(Refusal::Unusable("the path".into()));
        }
        path.push(segment);
    }
    Ok(path.join("/"))
}

fn headers(all: &HeaderMap) -> Headers {
    // Several headers of a name are one with commas (RFC 9110, 5.3).
    let joined = |name: HeaderName| {
        let values: Vec<&str> = all.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then(|| values.join(","))
    };
    // One that is no text is still stated, and cannot be read.
    let purpose = all
        .contains_key("x-purpose-of-use")
        .then(|| joined(HeaderName::from_static("x-purpose-of-use")).unwrap_or_default());
    let request_id = text(all, HeaderName::from_static("x-request-id"));
    Headers {
        accept: joined(header::ACCEPT),
        if_none_exist: text(all, HeaderName::from_static("if-none-exist")),
        prefer: joined(HeaderName::from_static("prefer")).unwrap_or_default(),
        purpose,
        request_id: request_id.map(|id| id.chars().take(100).collect()),
    }
}

fn text(all: &HeaderMap, name: HeaderName) -> Option<String> {
    all.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// What is served, for every certificate that is trusted: it is about nobody.
fn metadata(gateway: &Gateway, received: &Received, format: Format) -> BoxFuture<'static, Reply> {
    let served = SERVED.map(Iti::code);
    let statement = capability::statement(&served, &person::base(gateway), received.at);
    let trace = received.trace;
    Box::pin(async move { format.reply(Answer::resource(200, statement), trace) })
}

impl Refused {
    /// The answer to a request that is none, recorded as a failure of what its path is usually asked.
    async fn answer(self, gateway: &Gateway, received: &Received) -> Reply {
        let Self { refusal, usual, format } = self;
        let event = Event::of(usual, exchange(gateway, received, None));
        let event = event.outcome(Outcome::SeriousFailure, format!("{refusal} (trace {})", received.trace));
        if let Err(error) = gateway.audit.record(event).await {
            tracing::error!(%error, "an unreadable request could not be recorded");
        }
        tracing::info!(trace = %received.trace, reason = %refusal, "a FHIR request was refused");
        format.reply(Answer::refused(&refusal, received.trace), received.trace)
    }
}

fn into_response(reply: Reply) -> Response<Body> {
    let body = match reply.body {
        CallBody::Bytes(bytes) => Body::from(bytes),
        CallBody::Stream(pieces) => Body::from_stream(pieces),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in reply.headers {
        // What we write in headers is URLs and media types; one that cannot be written is left out.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
