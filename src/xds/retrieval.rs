//! Documents on their way out: what ITI-43 here and ITI-39 in `xca` answer with, and who answers ITI-43 from the
//! repository here (ITI TF-2: 3.43.4.2).

use std::sync::Arc;

use futures_util::StreamExt;

use super::retrieve::{Content, DocumentId, Request, Response, RetrievedDocument};
use super::{external, registry};
use crate::atna::Object;
use crate::authenticate::Caller;
use crate::ebxml::{ErrorCode, RegistryError, codes};
use crate::gateway::Gateway;
use crate::id::{HomeCommunityId, TraceId, Transaction as Iti};
use crate::pipeline::soap::{self, Soap};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::routing::package::{Attachments, Document};
use crate::soap::mtom::ContentId;
use crate::storage::files::Stored;

/// `wsa:Action` of ITI-43.
pub const ACTION: &str = "urn:ihe:iti:2007:RetrieveDocumentSet";
/// `wsa:Action` of its answer.
pub const ACTION_RESPONSE: &str = "urn:ihe:iti:2007:RetrieveDocumentSetResponse";

/// An answer and the documents that it refers to, to be streamed.
#[derive(Default)]
pub struct Retrieved {
    /// The answer.
    pub response: Response,
    /// Its documents.
    pub documents: Vec<Document>,
}

/// A body that is no request to retrieve documents.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// Reads the request of a message.
pub fn decode(message: &soap::Message<'_>) -> Result<Request, Failure<Unreadable>> {
    Request::decode(message.envelope.body).map_err(|error| Failure::Refused(Unreadable(error.to_string())))
}

impl Retrieved {
    /// Adds a document that is kept here.
    pub async fn open(
        &mut self,
        gateway: &Gateway,
        wanted: &DocumentId,
        home: Option<&HomeCommunityId>,
    ) -> Result<(), (ErrorCode, &'static str)> {
        let opened = registry::open(gateway, wanted, home).await?;
        self.add(wanted, opened.media_type, opened.content);
        if let (Some((id, repository)), Some(added)) = (opened.made, self.response.documents.last_mut()) {
            (added.new_document, added.new_repository) = (Some(id), repository);
        }
        Ok(())
    }

    /// Adds a document of another community, of which the last copy goes when it is sent.
    pub async fn pass_on(
        &mut self,
        document: RetrievedDocument,
        stored: Stored,
    ) -> Result<(), (ErrorCode, &'static str)> {
        let content = stored.read().await.map_err(|error| {
            tracing::error!(%error, "a document that was fetched could not be read");
            (ErrorCode::XdsRepositoryError, "the document was fetched, and could not be passed on")
        })?;
        let content = content.map(|piece| piece.map_err(std::io::Error::other)).boxed();
        self.add(&document.id, document.mime_type, content);
        if let Some(added) = self.response.documents.last_mut() {
            added.new_repository = document.new_repository;
            added.new_document = document.new_document;
        }
        Ok(())
    }

    fn add(
        &mut self,
        wanted: &DocumentId,
        media_type: String,
        content: futures_util::stream::BoxStream<'static, std::io::Result<bytes::Bytes>>,
    ) {
        let id = ContentId::random();
        self.response.documents.push(RetrievedDocument {
            id: wanted.clone(),
            new_repository: None,
            new_document: None,
            mime_type: media_type.clone(),
            content: Content::Attached(id.to_string()),
        });
        self.documents.push(Document { id, media_type, content });
    }

    /// The SOAP answer, under the response action of its transaction.
    pub fn answer(mut self, action: &'static str, trace: TraceId) -> soap::Answer {
        registry::name_trace(&mut self.response.errors, trace);
        soap::Answer {
            action,
            headers: String::new(),
            body: self.response.encode().xml,
            mtom: true,
            documents: self.documents,
        }
    }
}

impl From<Unreadable> for Retrieved {
    fn from(Unreadable(text): Unreadable) -> Self {
        let error = RegistryError::new(ErrorCode::XdsRepositoryError, text);
        Self { response: Response::failure(error), documents: Vec::new() }
    }
}

/// The parts of the audit record of a retrieve: what was sent, and what was not (ITI TF-2: 3.39.5, 3.43.5).
pub fn parts(request: &Request, outcome: Result<&Response, impl ToString>) -> Vec<Part> {
    let object = |document: &DocumentId| {
        Object::document(&document.document, Some(&document.repository), document.home.as_ref())
    };
    let response = match outcome {
        Ok(response) => response,
        Err(error) => return vec![Part::failure(request.documents.iter().map(object).collect(), error)],
    };
    let sent: Vec<Object> = response.documents.iter().map(|document| object(&document.id)).collect();
    let is_sent = |wanted: &&DocumentId| {
        response.documents.iter().any(|document| document.id.document.bare() == wanted.document.bare())
    };
    let missing: Vec<Object> = request.documents.iter().filter(|wanted| !is_sent(wanted)).map(object).collect();
    let mut parts = Vec::new();
    if !sent.is_empty() {
        parts.push(Part::success(sent));
    }
    if !missing.is_empty() || parts.is_empty() {
        parts.push(Part::failure(missing, codes(&response.errors)));
    }
    parts
}

/// ITI-43, as a Document Repository answers it: from what is kept here.
pub struct RetrieveDocumentSet;

impl Transaction for RetrieveDocumentSet {
    type Wire = Soap;
    const ID: Iti = Iti::Iti43;
    type Request = Request;
    type Response = Retrieved;
    type Refusal = Unreadable;
    type Echo = ();

    fn echo(_: &Gateway, _: &Received, _: &soap::Message<'_>) {}

    fn decode(_: &Gateway, _: &Caller, message: &soap::Message<'_>) -> Result<Request, Failure<Unreadable>> {
        decode(message)
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Request>>,
        _extras: Attachments,
    ) -> Result<Retrieved, Unreadable> {
        let mut retrieved = Retrieved::default();
        let mut elsewhere = Vec::new();
        for wanted in &call.permitted.request().documents {
            if let Some(partner) = external::repository(&gateway, wanted) {
                elsewhere.push((wanted.clone(), partner));
                continue;
            }
            if let Err((code, text)) = retrieved.open(&gateway, wanted, None).await {
                tracing::info!(code = code.as_str(), trace = %call.trace, "a document could not be given out");
                let error = RegistryError::new(code, text).at(wanted.document.to_string());
                retrieved.response.errors.push(error);
            }
        }
        external::bring(&gateway, &call, elsewhere, &mut retrieved).await;
        Ok(retrieved)
    }

    fn audit(request: &Request, outcome: &Result<Retrieved, Unreadable>) -> Vec<Part> {
        parts(request, outcome.as_ref().map(|retrieved| &retrieved.response))
    }

    fn encode((): (), outcome: Result<Retrieved, Unreadable>, trace: TraceId) -> soap::Answer {
        outcome.unwrap_or_else(Retrieved::from).answer(ACTION_RESPONSE, trace)
    }
}
