//! What a Responding Gateway says that offers neither deferred answers nor patient location: the answers that the
//! profile has for that (ITI TF-2: 3.55.6.2, 3.56.4.2.2), in place of an unknown action.

use std::convert::Infallible;
use std::sync::Arc;

use super::discovery::Refusal;
use super::location;
use crate::authenticate::Caller;
use crate::gateway::Gateway;
use crate::hl7v3::ack::{AckType, Acknowledgement, AcknowledgementMessage, Detail};
use crate::hl7v3::datatype::Ii;
use crate::hl7v3::wrapper::{Device, Wrapper};
use crate::id::{TraceId, Transaction as Iti};
use crate::pipeline::soap::{self, Soap};
use crate::pipeline::{Call, Denied, Failure, Part, Received, Transaction};
use crate::routing::package::Attachments;

/// `wsa:Action` of an acknowledgement on its own.
const ACKNOWLEDGEMENT: &str = "urn:hl7-org:v3:MCCI_IN000002UV01";

/// ITI-55 whose answer shall come later. It is acknowledged as an unsupported processing mode.
pub struct DeferredDiscovery;

impl Transaction for DeferredDiscovery {
    type Wire = Soap;
    const ID: Iti = Iti::Iti55;
    type Request = Infallible;
    type Response = Infallible;
    type Refusal = Refusal;
    type Echo = AcknowledgementMessage;

    fn echo(gateway: &Gateway, received: &Received, message: &soap::Message<'_>) -> AcknowledgementMessage {
        let us = Device::gateway(&gateway.community.home);
        let id = Ii::new(gateway.community.home.oid().as_str(), &received.trace.to_string());
        let now = gateway.clock.now();
        let asked = Wrapper::read(message.envelope.body).ok();
        let target = asked.as_ref().map(|wrapper| wrapper.id.clone()).unwrap_or_default();
        let wrapper = match asked {
            Some(asked) => asked.answer(id, now, us),
            None => Wrapper::new(id, now, us, Device::default()),
        };
        AcknowledgementMessage { wrapper, acknowledgement: Acknowledgement::new(AckType::Error, target) }
    }

    fn decode(_: &Gateway, _: &Caller, _: &soap::Message<'_>) -> Result<Infallible, Failure<Refusal>> {
        Err(Failure::Refused(Refusal::DeferredUnsupported))
    }

    async fn handle(_: Arc<Gateway>, call: Arc<Call<Infallible>>, _: Attachments) -> Result<Infallible, Refusal> {
        match *call.permitted.request() {}
    }

    fn audit(request: &Infallible, _: &Result<Infallible, Refusal>) -> Vec<Part> {
        match *request {}
    }

    fn encode(mut echo: AcknowledgementMessage, outcome: Result<Infallible, Refusal>, trace: TraceId) -> soap::Answer {
        let Err(refusal) = outcome;
        echo.acknowledgement.details.push(Detail {
            code: refusal.detail_code().into(),
            text: format!("Unsupported processing mode: {refusal} (trace {trace})"),
            ..Detail::default()
        });
        soap::Answer {
            action: ACKNOWLEDGEMENT,
            headers: String::new(),
            body: echo.encode(),
            mtom: false,
            documents: Vec::new(),
        }
    }
}

/// ITI-56. Nobody is located here, which is a SOAP fault.
pub struct PatientLocation;

impl Transaction for PatientLocation {
    type Wire = Soap;
    const ID: Iti = Iti::Iti56;
    type Request = Infallible;
    type Response = Infallible;
    type Refusal = location::Refusal;
    type Echo = ();

    fn echo(_: &Gateway, _: &Received, _: &soap::Message<'_>) {}

    fn decode(_: &Gateway, _: &Caller, message: &soap::Message<'_>) -> Result<Infallible, Failure<location::Refusal>> {
        let refusal = match location::Request::decode(message.envelope.body) {
            Ok(_) => location::Refusal::NotALocator,
            Err(error) => location::Refusal::Unreadable(error),
        };
        // A denial, because it leaves as a fault of the sender and not as an answer of the transaction.
        Err(Denied::Malformed(refusal.to_string()).into())
    }

    async fn handle(
        _: Arc<Gateway>,
        call: Arc<Call<Infallible>>,
        _: Attachments,
    ) -> Result<Infallible, location::Refusal> {
        match *call.permitted.request() {}
    }

    fn audit(request: &Infallible, _: &Result<Infallible, location::Refusal>) -> Vec<Part> {
        match *request {}
    }

    fn encode((): (), outcome: Result<Infallible, location::Refusal>, _: TraceId) -> soap::Answer {
        let body = outcome.map_or_else(|refusal| refusal.to_string(), |never| match never {});
        soap::Answer {
            action: location::ACTION_RESPONSE,
            headers: String::new(),
            body,
            mtom: false,
            documents: Vec::new(),
        }
    }
}
