//! ITI-41 Provide and Register Document Set-b, to an XDS repository or an XDR recipient (ITI TF-2: 3.41). The answer
//! is `ebxml::RegistryResponse`.

use crate::ebxml::{DecodeError, ErrorCode, RegistryError};
use crate::id::HomeCommunityId;
use crate::metadata::{ObjectId, Rules};
pub use crate::xds::content::{Content, Encoded, Part};
use crate::xds::register;
pub use crate::xds::register::Refusal;
use crate::xml::{Element, Writer, ns};

/// A submission with its documents. Every new entry has one, every document an entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The metadata.
    pub registration: register::Request,
    /// In the order of the message.
    pub documents: Vec<ProvidedDocument>,
}

/// A document of a submission.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProvidedDocument {
    /// The id of its entry in this message.
    pub id: ObjectId,
    /// The bytes.
    pub content: Content,
}

impl Request {
    /// Reads `xds:ProvideAndRegisterDocumentSetRequest` and holds it to rules.
    pub fn decode(element: Element<'_>, rules: Rules) -> Result<Self, Refusal> {
        let malformed = |cause: DecodeError| Refusal::malformed(rules, cause);
        let element =
            element.expect(ns::XDS, "ProvideAndRegisterDocumentSetRequest").map_err(|cause| malformed(cause.into()))?;
        let submit = element.only_child(ns::LCM, "SubmitObjectsRequest").map_err(|cause| malformed(cause.into()))?;
        let registration = register::Request::decode(submit, rules)?;
        let documents = element
            .children_named(ns::XDS, "Document")
            .map(|document| {
                let id = document.require_attribute("id")?.into();
                Ok(ProvidedDocument { id, content: Content::decode(document)? })
            })
            .collect::<Result<Vec<_>, DecodeError>>()
            .map_err(malformed)?;
        let request = Self { registration, documents };
        let problems = request.unmatched();
        if problems.is_empty() { Ok(request) } else { Err(Refusal::Metadata(problems)) }
    }

    /// The element, with its namespaces, and the attachments that have to follow it.
    pub fn encode(&self) -> Encoded {
        let mut w = Writer::new();
        let mut parts = Vec::new();
        w.start("xds:ProvideAndRegisterDocumentSetRequest").attribute("xmlns:xds", ns::XDS);
        self.registration.write(&mut w);
        for (index, document) in self.documents.iter().enumerate() {
            w.start("xds:Document").attribute("id", &document.id.to_string());
            document.content.write(&mut w, index, &mut parts);
            w.end();
        }
        Encoded { xml: w.finish(), parts }
    }

    /// The content of an entry.
    pub fn content(&self, id: &ObjectId) -> Option<&Content> {
        self.documents.iter().find(|document| document.id == *id).map(|document| &document.content)
    }

    /// One document for each entry and no other (3.41.4.1.2).
    fn unmatched(&self) -> Vec<RegistryError> {
        let entries = &self.registration.submission.entries;
        let count = |id: &ObjectId| self.documents.iter().filter(|document| document.id == *id).count();
        let mut problems = Vec::new();
        for entry in entries.iter().filter(|entry| count(&entry.id) == 0) {
            let error = RegistryError::new(ErrorCode::XdsMissingDocument, "the entry has no document");
            problems.push(error.at(entry.id.to_string()));
        }
        for document in &self.documents {
            if !entries.iter().any(|entry| entry.id == document.id) || count(&document.id) > 1 {
                let text = "the document has no entry of its own";
                let error = RegistryError::new(ErrorCode::XdsMissingDocumentMetadata, text);
                problems.push(error.at(document.id.to_string()));
            }
        }
        problems
    }
}

/// The community that a SOAP header addresses (`xdr:homeCommunityBlock`; XDR option, required in ITI-80).
pub fn home_of_header(header: Element<'_>) -> Option<HomeCommunityId> {
    let id = header.find(ns::XDR, &["homeCommunityBlock", "homeCommunityId"])?;
    HomeCommunityId::lenient(&id.text()).ok()
}

/// Writes that header block.
pub fn write_home_header(w: &mut Writer, home: &HomeCommunityId) {
    w.start("xdr:homeCommunityBlock")
        .attribute("xmlns:xdr", ns::XDR)
        .leaf("xdr:homeCommunityId", &home.to_string())
        .end();
}

/// The rules for a submission to an XDR recipient: Direct's header `metadata-level` with `minimal` lifts most of
/// them, and so does the mark of limited metadata.
pub fn xdr_rules(header: Option<Element<'_>>, takes_limited_metadata: bool) -> Rules {
    let level = header.and_then(|header| header.child(ns::DIRECT, "metadata-level"));
    match level {
        Some(level) if level.trimmed().eq_ignore_ascii_case("minimal") => Rules::DirectMinimal,
        _ if takes_limited_metadata => Rules::XdrLimited,
        _ => Rules::Xdr,
    }
}

#[cfg(test)]
mod tests;
