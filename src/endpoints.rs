//! The table of contents: SOAP action, HL7 trigger event or FHIR route to transaction.

mod fhir;
pub mod wsdl;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::routing::{any, get};
use axum::{Extension, response::IntoResponse};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::atna::{AccessPoint, Event, Exchange, Outcome, Party, Side};
use crate::gateway::Gateway;
use crate::hl7v2::ack::{self, Ack};
use crate::hl7v2::{self, FrameError};
use crate::id::{TraceId, Transaction as Iti};
use crate::net::body::{self, Limited};
use crate::net::mllp::{Handler, MllpPeer};
use crate::net::to_the_end::ToTheEnd;
use crate::pdq::supplier::{self as pdq, CANCEL_ACTION, CONTINUE_ACTION, QUERY_ACTION as PDQ_QUERY_ACTION};
use crate::pipeline::delivery::Verdict;
use crate::pipeline::soap::{Message, Reply, fault_reply};
use crate::pipeline::{Received, start, v2};
use crate::pix::feed_v2::is_management;
use crate::pix::manager::{FEED_ACTIONS, FeedV2, FeedV3, QUERY_ACTION as PIX_QUERY_ACTION, QueryV2, QueryV3};
use crate::pix::notifier;
use crate::routing::exchange::CallBody;
use crate::routing::package::{self, Attachments, BodyError, Package};
use crate::soap::envelope::{Envelope, write_fault};
use crate::soap::fault::{Fault, Subcode};
use crate::storage::deliveries::{Delivery, Kind};
use crate::trust::Peer;
use crate::xca::initiating_gateway::{FederatedQuery, FederatedRetrieve};
use crate::xca::responding_gateway::{CrossGatewayQuery, CrossGatewayRetrieve, QUERY_ACTION, RETRIEVE_ACTION};
use crate::xcpd::responding_gateway::Discovery;
use crate::xcpd::unsupported::{DeferredDiscovery, PatientLocation};
use crate::xcpd::{discovery, location};
use crate::xdr::recipient::{GATEWAY_ACTION, ProvideToRecipient};
use crate::xdr::sender;
use crate::xds::administration::{
    REMOVE_DOCUMENTS_ACTION, REMOVE_METADATA_ACTION, RESTRICTED_UPDATE_ACTION, RemoveDocuments, RemoveMetadata,
    UPDATE_ACTION, UpdateDocumentSet,
};
use crate::xds::registration::{ON_DEMAND_ACTION, REGISTER_ACTION, RegisterDocumentSet, RegisterOnDemand};
use crate::xds::registry::{self, MultiPatientStoredQuery, RegistryStoredQuery};
use crate::xds::repository::{PROVIDE_ACTION, ProvideAndRegister};
use crate::xds::retrieval::{self, RetrieveDocumentSet};
use crate::xml::{decode_text, parse};

/// The services, by the names of their WSDLs, with the transaction that an unreadable message is recorded as.
const SERVICES: [(&str, Iti); 8] = [
    ("RespondingGatewayXCPD", Iti::Iti55),
    ("RespondingGateway", Iti::Iti38),
    ("InitiatingGateway", Iti::Iti18),
    ("DocumentRegistry", Iti::Iti18),
    ("DocumentRepository", Iti::Iti41),
    ("DocumentRecipient", Iti::Iti41),
    ("PIXManager", Iti::Iti45),
    ("PDSupplier", Iti::Iti47),
];

/// The time for all of a message: 2 GiB at 4 MB each second.
const LONGEST_BODY: Duration = Duration::from_secs(600);

/// The names of the services, which are their paths.
pub fn services() -> impl Iterator<Item = &'static str> {
    SERVICES.iter().map(|(name, _)| *name)
}

/// Takes a SOAP message to its transaction. Actions are looked up across all services: partners configure one URL for
/// several transactions. Only what our own systems ask (ITI-18, ITI-43) goes by the service too: the Initiating Gateway
/// looks in other communities, the registry and the repository here alone.
fn dispatch(
    service: &str,
    gateway: &Arc<Gateway>,
    received: Received,
    message: &Message<'_>,
    attachments: Attachments,
) -> Result<BoxFuture<'static, Reply>, Fault> {
    let gateway = gateway.clone();
    let federated = service == "InitiatingGateway";
    Ok(match message.envelope.addressing.action.as_str() {
        discovery::ACTION => Box::pin(start::<Discovery>(gateway, received, message, attachments)),
        QUERY_ACTION => Box::pin(start::<CrossGatewayQuery>(gateway, received, message, attachments)),
        RETRIEVE_ACTION => Box::pin(start::<CrossGatewayRetrieve>(gateway, received, message, attachments)),
        registry::QUERY_ACTION if federated => {
            Box::pin(start::<FederatedQuery>(gateway, received, message, attachments))
        }
        registry::QUERY_ACTION => Box::pin(start::<RegistryStoredQuery>(gateway, received, message, attachments)),
        retrieval::ACTION if federated => Box::pin(start::<FederatedRetrieve>(gateway, received, message, attachments)),
        retrieval::ACTION => Box::pin(start::<RetrieveDocumentSet>(gateway, received, message, attachments)),
        discovery::ACTION_DEFERRED => Box::pin(start::<DeferredDiscovery>(gateway, received, message, attachments)),
        location::ACTION => Box::pin(start::<PatientLocation>(gateway, received, message, attachments)),
        registry::MULTI_PATIENT_ACTION => {
            Box::pin(start::<MultiPatientStoredQuery>(gateway, received, message, attachments))
        }
        PROVIDE_ACTION if federated || service == "DocumentRecipient" => {
            Box::pin(start::<ProvideToRecipient<false>>(gateway, received, message, attachments))
        }
        GATEWAY_ACTION => Box::pin(start::<ProvideToRecipient<true>>(gateway, received, message, attachments)),
        PROVIDE_ACTION => Box::pin(start::<ProvideAndRegister>(gateway, received, message, attachments)),
        UPDATE_ACTION => Box::pin(start::<UpdateDocumentSet<false>>(gateway, received, message, attachments)),
        RESTRICTED_UPDATE_ACTION => Box::pin(start::<UpdateDocumentSet<true>>(gateway, received, message, attachments)),
        REMOVE_METADATA_ACTION => Box::pin(start::<RemoveMetadata>(gateway, received, message, attachments)),
        REMOVE_DOCUMENTS_ACTION => Box::pin(start::<RemoveDocuments>(gateway, received, message, attachments)),
        ON_DEMAND_ACTION => Box::pin(start::<RegisterOnDemand>(gateway, received, message, attachments)),
        REGISTER_ACTION => Box::pin(start::<RegisterDocumentSet>(gateway, received, message, attachments)),
        PIX_QUERY_ACTION => Box::pin(start::<QueryV3>(gateway, received, message, attachments)),
        PDQ_QUERY_ACTION => Box::pin(start::<pdq::QueryV3>(gateway, received, message, attachments)),
        CONTINUE_ACTION | CANCEL_ACTION => Box::pin(start::<pdq::Continue>(gateway, received, message, attachments)),
        action if FEED_ACTIONS.contains(&action) => Box::pin(start::<FeedV3>(gateway, received, message, attachments)),
        _ => return Err(Fault::sender("the action is none of this gateway's").with(Subcode::ActionNotSupported)),
    })
}

/// The table of contents of deliveries: what each kind is carried by.
pub fn carry(gateway: Arc<Gateway>, delivery: Arc<Delivery>, body: Vec<u8>) -> BoxFuture<'static, Verdict> {
    match delivery.kind {
        Kind::Notification => notifier::carry(gateway, delivery, body),
        Kind::Documents => sender::carry(gateway, delivery, body),
    }
}

/// The HTTP routes: each service by its name, its WSDL at `?wsdl`, the schemas beside it; FHIR below `/fhir`.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let places = Arc::new(Semaphore::new(gateway.limits.requests.min(Semaphore::MAX_PERMITS)));
    let bodies = Arc::new(Semaphore::new(fhir::room(&gateway)));
    Router::new()
        .route("/fhir", any(fhir::serve))
        .route("/fhir/", any(fhir::serve))
        .route("/fhir/{*path}", any(fhir::serve))
        .route("/{service}", get(service_description).head(not_allowed).post(soap))
        .route("/schema/{file}", get(schema).head(not_allowed))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is no such service here\n") })
        .with_state(Services { gateway, places, bodies })
}

/// What the routes share.
#[derive(Clone)]
struct Services {
    gateway: Arc<Gateway>,
    /// One for each request that may be under way.
    places: Arc<Semaphore>,
    /// One for each KiB that bodies of FHIR requests may have together.
    bodies: Arc<Semaphore>,
}

async fn service_description(
    State(Services { gateway, .. }): State<Services>,
    Path(service): Path<String>,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    let url = format!("{}/{service}", gateway.community.public_url);
    let wanted = query.is_some_and(|query| query.eq_ignore_ascii_case("wsdl"));
    match wsdl::document(&format!("{service}.wsdl"), &url).filter(|_| wanted) {
        Some((content_type, text)) => ([(header::CONTENT_TYPE, content_type)], text).into_response(),
        None => (StatusCode::NOT_FOUND, "POST a SOAP message here, or GET ?wsdl\n").into_response(),
    }
}

/// HEAD, which GET would answer for otherwise; other methods are refused by the router in the same way.
async fn not_allowed() -> Response<Body> {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET,POST")]).into_response()
}

async fn schema(Path(file): Path<String>) -> Response<Body> {
    match wsdl::document(&format!("schema/{file}"), "") {
        Some((content_type, text)) => ([(header::CONTENT_TYPE, content_type)], text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn soap(
    State(Services { gateway, places, .. }): State<Services>,
    Path(service): Path<String>,
    Extension(peer): Extension<Arc<Peer>>,
    request: Request<Body>,
) -> Response<Body> {
    let Some((service, usual)) = SERVICES.iter().find(|(name, _)| *name == service) else {
        return (StatusCode::NOT_FOUND, "there is no such service here\n").into_response();
    };
    let received = Received {
        address: peer.address(),
        peer: Some(peer),
        endpoint: format!("{}/{service}", gateway.community.public_url),
        at: gateway.clock.now(),
        trace: TraceId::new(),
    };
    let trace = received.trace;
    let Ok(place) = places.try_acquire_owned() else {
        let fault = Fault::receiver("too many requests are under way; try again later");
        return into_response(Reply { status: 503, ..unreadable(&gateway, &received, *usual, fault).await });
    };
    let (service, usual) = (*service, *usual);
    // The exchange goes on to its end, audit record included, even if the caller hangs up.
    let answered = ToTheEnd::new(async move {
        let _place = place;
        serve_soap(gateway, received, (service, usual), request).await
    })
    .await;
    let reply = answered.unwrap_or_else(|_| {
        let fault = Fault::receiver(format!("internal error (trace {trace})"));
        fault_reply(&fault, write_fault(None, "", &fault))
    });
    into_response(reply)
}

async fn serve_soap(
    gateway: Arc<Gateway>,
    received: Received,
    (service, usual): (&str, Iti),
    request: Request<Body>,
) -> Reply {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.map(str::to_owned);
    let limits = body::Limits {
        bytes: gateway.limits.message,
        window: gateway.limits.idle,
        total: LONGEST_BODY.max(gateway.limits.idle),
        ..body::Limits::default()
    };
    let pieces = Limited::new(request.into_body(), limits)
        .map(|piece| piece.map_err(|error| BodyError(error.to_string())))
        .boxed();
    let package = match package::read(content_type.as_deref(), pieces, gateway.limits.xml.bytes).await {
        Ok(package) => package,
        Err(error) => return unreadable(&gateway, &received, usual, Fault::sender(error.to_string())).await,
    };
    let running = take(&gateway, service, &received, package);
    match running {
        Ok(running) => running.await,
        Err(fault) => unreadable(&gateway, &received, usual, fault).await,
    }
}

/// Everything that needs the parsed message.
fn take(
    gateway: &Arc<Gateway>,
    service: &str,
    received: &Received,
    package: Package,
) -> Result<BoxFuture<'static, Reply>, Fault> {
    let Package { root, charset, multipart, attachments } = package;
    let text = decode_text(&root, charset.as_deref())?;
    let tree = parse(&text, &gateway.limits.xml)?;
    let envelope = Envelope::read(&tree)?;
    envelope.check_mandatory_headers()?;
    if envelope.addressing.wants_asynchronous_answer() {
        let text = "answers go back on the connection of the request; send wsa:ReplyTo as anonymous";
        return Err(Fault::sender(text).with(Subcode::OnlyAnonymousAddressSupported));
    }
    dispatch(service, gateway, received.clone(), &Message { envelope, multipart }, attachments)
}

/// The answer to a message that is none: a fault, recorded as a failure of what the service is usually asked.
async fn unreadable(gateway: &Gateway, received: &Received, usual: Iti, mut fault: Fault) -> Reply {
    let exchange = Exchange {
        side: Side::Server,
        client: Party { user_id: "".into(), access_point: Some(received.address.ip().into()) },
        server: Party {
            user_id: received.endpoint.as_str().into(),
            access_point: Some(AccessPoint::of_host(crate::pipeline::soap::host(&received.endpoint))),
        },
        humans: Vec::new(),
        at: received.at,
        trace: received.trace,
        message_id: None,
        tenant: gateway.tenant.clone(),
    };
    let event = Event::of(usual, exchange).outcome(Outcome::SeriousFailure, fault.reason.clone());
    if let Err(error) = gateway.audit.record(event).await {
        tracing::error!(%error, "an unreadable message could not be recorded");
    }
    tracing::info!(trace = %received.trace, reason = %fault.reason, "an unreadable message was refused");
    fault.reason = format!("{} (trace {})", fault.reason, received.trace);
    fault_reply(&fault, write_fault(None, "", &fault))
}

fn into_response(reply: Reply) -> Response<Body> {
    let body = match reply.body {
        CallBody::Bytes(bytes) => Body::from(bytes),
        CallBody::Stream(pieces) => Body::from_stream(pieces),
    };
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(header::CONTENT_TYPE, reply.content_type)], body).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// HL7 v2 over MLLP: feeds and queries, by MSH-9.
pub struct Mllp {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The address of the listener, as audit records tell it.
    pub endpoint: String,
    /// What a message may cost.
    pub limits: hl7v2::Limits,
}

impl Mllp {
    fn received(&self, peer: &MllpPeer) -> Received {
        Received {
            address: peer.address,
            peer: peer.tls.clone(),
            endpoint: self.endpoint.clone(),
            at: self.gateway.clock.now(),
            trace: TraceId::new(),
        }
    }

    /// Takes a message to its transaction, which refuses the trigger events that it does not know. What is none of the
    /// types served here is refused as a feed.
    async fn dispatch(&self, received: Received, message: v2::Message) -> Vec<u8> {
        let gateway = self.gateway.clone();
        match (message.header.message_type.as_str(), message.header.event.as_str()) {
            ("QBP", "Q22") => start::<pdq::QueryV2<false>>(gateway, received, &message, ()).await,
            ("QBP", "ZV1") => start::<pdq::QueryV2<true>>(gateway, received, &message, ()).await,
            ("QBP", _) => start::<QueryV2>(gateway, received, &message, ()).await,
            ("QCN", _) => start::<pdq::Cancel>(gateway, received, &message, ()).await,
            _ if is_management(&message.header) => start::<FeedV2<true>>(gateway, received, &message, ()).await,
            _ => start::<FeedV2<false>>(gateway, received, &message, ()).await,
        }
    }

    /// The answer to bytes that are no message, recorded as a failure of what its header says it would be.
    async fn refuse(&self, received: Received, header: hl7v2::Header, ack: Ack) -> Vec<u8> {
        let reason = ack.faults.first().map(|fault| fault.text.clone()).unwrap_or_default();
        let exchange = Exchange {
            side: Side::Server,
            client: Party { user_id: "".into(), access_point: Some(received.address.ip().into()) },
            server: Party { user_id: self.endpoint.as_str().into(), access_point: None },
            humans: Vec::new(),
            at: received.at,
            trace: received.trace,
            message_id: None,
            tenant: self.gateway.tenant.clone(),
        };
        let event = Event::of(announced(&header), exchange).outcome(Outcome::SeriousFailure, reason);
        if let Err(error) = self.gateway.audit.record(event).await {
            tracing::error!(%error, "an unreadable message could not be recorded");
        }
        ack.encode(&header, &v2::answering(&self.gateway, &received))
    }
}

/// The transaction of a message by its header; a feed if that says nothing.
fn announced(header: &hl7v2::Header) -> Iti {
    match (header.message_type.as_str(), header.event.as_str()) {
        ("QBP", "Q22") => Iti::Iti21,
        ("QBP", "ZV1") => Iti::Iti22,
        ("QBP", _) => Iti::Iti9,
        ("QCN", _) => Iti::Iti21,
        _ if is_management(header) => Iti::Iti30,
        _ => Iti::Iti8,
    }
}

impl Handler for Mllp {
    fn answer(&self, message: Vec<u8>, peer: Arc<MllpPeer>) -> BoxFuture<'_, Vec<u8>> {
        Box::pin(async move {
            let received = self.received(&peer);
            let parsed = hl7v2::Message::parse(&message, &self.limits);
            let header = ack::header_of(&message, parsed.as_ref());
            let content = match parsed {
                Ok(content) => content,
                Err(error) => return self.refuse(received, header, Ack::unreadable(&error)).await,
            };
            if let Some(ack) = Ack::header_incomplete(&header) {
                return self.refuse(received, header, ack).await;
            }
            self.dispatch(received, v2::Message { header, content }).await
        })
    }

    fn unreadable(&self, error: &FrameError, peer: Arc<MllpPeer>) -> BoxFuture<'_, Vec<u8>> {
        let text = error.to_string();
        Box::pin(async move {
            let fault = hl7v2::Fault { condition: hl7v2::Condition::Internal, location: None, text };
            let ack = Ack::refuse(hl7v2::AckCode::Reject, fault);
            self.refuse(self.received(&peer), hl7v2::Header::default(), ack).await
        })
    }
}
