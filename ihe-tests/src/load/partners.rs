//! Simulated partners: one listener, a path for each (`/7/xcpd`). Most answer discovery and queries at once, some never.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use causeway::hl7v3::datatype::Ii;
use causeway::id::{AssigningAuthority, Clock, Domains, HomeCommunityId, PatientId};
use causeway::soap::envelope::{self, Envelope};
use causeway::trust::Tls;
use causeway::wssecurity::response_header;
use causeway::xcpd::discovery::{self, Match, Outcome};
use causeway::xds::stored_query;
use causeway::xml::{Limits, parse};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};

use super::{Failure, servers};

/// The community of a partner.
pub fn home(number: u32) -> Result<HomeCommunityId, Failure> {
    Ok(format!("urn:oid:2.999.50.{number}").parse()?)
}

/// The file of the directory for a partner at a base URL, with its answering time in seconds.
pub fn directory_file(number: u32, base: &str, seconds: u32) -> String {
    format!(
        "name = \"Partner {number}\"\nnetwork = \"bench\"\nkind = \"other\"\nhome_community_id = \"urn:oid:2.999.50.{number}\"\n\
         assigning_authorities = [\"2.999.50.{number}.1\"]\n\n[urls]\niti-55 = \"{base}/{number}/xcpd\"\n\
         iti-38 = \"{base}/{number}/query\"\niti-39 = \"{base}/{number}/retrieve\"\n\n[timeouts]\niti-55 = {seconds}\n\
         iti-38 = {seconds}\niti-39 = {seconds}\n"
    )
}

/// Serves partners with numbers from 1 on; those up to `hanging` take requests and never answer.
pub async fn serve(address: SocketAddr, tls: Arc<Tls>, hanging: u32) -> Result<Infallible, Failure> {
    servers::serve(address, tls, move |request| async move {
        let number = request.uri().path().trim_start_matches('/').split('/').next().and_then(|part| part.parse().ok());
        match number {
            Some(number) if number > hanging => answer(number, request).await.unwrap_or_else(|_| failed()),
            Some(_) => std::future::pending().await,
            None => failed(),
        }
    })
    .await
}

async fn answer(number: u32, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failure> {
    let body = request.into_body().collect().await?.to_bytes();
    let tree = parse(std::str::from_utf8(&body)?, &Limits::default())?;
    let envelope = Envelope::read(&tree).map_err(|fault| fault.reason)?;
    let now = Clock::system().now();
    let (action, content) = if envelope.addressing.action == discovery::ACTION {
        let query = discovery::Request::decode(envelope.body, envelope.header, &Domains::default())?;
        let found = Match {
            patient_id: PatientId::new("1", AssigningAuthority::new(&format!("2.999.50.{number}.1"), "ISO")?)?,
            home: Some(home(number)?),
            demographics: query.parameters.demographics.clone(),
            score: None,
            locator: false,
        };
        let (id, us) = (Ii::new("2.999.50", &format!("{}", now.as_millis())), home(number)?);
        let outcome = Outcome::Matches(vec![found]);
        (discovery::ACTION_RESPONSE, discovery::Response::new(&query, id, now, &us, outcome).encode())
    } else {
        ("urn:ihe:iti:2007:CrossGatewayQueryResponse", stored_query::Response::default().encode())
    };
    let security = response_header(now, std::time::Duration::from_secs(300), None);
    let text = envelope::write(&envelope.addressing.response(action), &security, &content);
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/soap+xml; charset=UTF-8"));
    Ok(response)
}

fn failed() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}
