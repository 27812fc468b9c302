//! ITI-43 Retrieve Document Set (ITI TF-2: 3.43). What XCA adds is in `xca::retrieve`.

use crate::ebxml::response::{decode_outcome, write_errors};
use crate::ebxml::{DecodeError, ErrorCode, RegistryError, Status};
use crate::id::{DocumentUniqueId, HomeCommunityId, IdError, RepositoryId};
pub use crate::xds::content::{Content, Encoded, Part};
use crate::xml::{Element, Writer, ns};

/// One document that is asked for, or answered with.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DocumentId {
    /// Whose document it is.
    pub home: Option<HomeCommunityId>,
    /// Where it is.
    pub repository: RepositoryId,
    /// Which it is, byte for byte as in its metadata.
    pub document: DocumentUniqueId,
}

impl DocumentId {
    fn write(&self, w: &mut Writer) {
        if let Some(home) = &self.home {
            w.leaf("xds:HomeCommunityId", &home.to_string());
        }
        w.leaf("xds:RepositoryUniqueId", self.repository.as_str());
        w.leaf("xds:DocumentUniqueId", self.document.as_str());
    }
}

/// The documents that are asked for; at least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// In the order of the message.
    pub documents: Vec<DocumentId>,
}

impl Request {
    /// Reads `xds:RetrieveDocumentSetRequest`.
    pub fn decode(element: Element<'_>) -> Result<Self, DecodeError> {
        let element = element.expect(ns::XDS, "RetrieveDocumentSetRequest")?;
        let documents = element
            .children_named(ns::XDS, "DocumentRequest")
            .map(read_document)
            .collect::<Result<Vec<_>, DecodeError>>()?;
        if documents.is_empty() {
            element.only_child(ns::XDS, "DocumentRequest")?;
        }
        Ok(Self { documents })
    }

    /// The element, with its namespaces.
    pub fn encode(&self) -> String {
        let mut w = Writer::new();
        w.start("xds:RetrieveDocumentSetRequest").attribute("xmlns:xds", ns::XDS);
        for document in &self.documents {
            write_document(&mut w, document);
        }
        w.finish()
    }
}

/// Reads `xds:DocumentRequest`, which ITI-86 has too.
pub(super) fn read_document(request: Element<'_>) -> Result<DocumentId, DecodeError> {
    Ok(DocumentId {
        home: home(request)?,
        repository: identifier(request, "RepositoryUniqueId", RepositoryId::new)?,
        document: identifier(request, "DocumentUniqueId", DocumentUniqueId::new)?,
    })
}

/// Writes `xds:DocumentRequest`.
pub(super) fn write_document(w: &mut Writer, document: &DocumentId) {
    w.start("xds:DocumentRequest");
    document.write(w);
    w.end();
}

/// A document that was retrieved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RetrievedDocument {
    /// As it was asked for: of an on-demand entry this is the entry's id.
    pub id: DocumentId,
    /// Where the document made on demand was kept, if it was.
    pub new_repository: Option<RepositoryId>,
    /// The id of the document made on demand.
    pub new_document: Option<DocumentUniqueId>,
    /// As the metadata says. Live partners declare wrong types.
    pub mime_type: String,
    /// The bytes.
    pub content: Content,
}

/// The answer: a document or an error for each that was asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Response {
    /// What was retrieved.
    pub documents: Vec<RetrievedDocument>,
    /// Errors (location: the document's unique id) and warnings.
    pub errors: Vec<RegistryError>,
}

impl Response {
    /// An answer with one error and nothing else.
    pub fn failure(error: RegistryError) -> Self {
        Self { documents: Vec::new(), errors: vec![error] }
    }

    /// Follows from what is returned.
    pub fn status(&self) -> Status {
        Status::of(&self.errors, !self.documents.is_empty())
    }

    /// Reads `xds:RetrieveDocumentSetResponse`. Live partners leave ids out of their answers; they are then taken
    /// from the request: from the only document asked for, or from the one with the same unique id.
    pub fn decode(element: Element<'_>, asked: &Request) -> Result<Self, DecodeError> {
        let element = element.expect(ns::XDS, "RetrieveDocumentSetResponse")?;
        let outcome = element.only_child(ns::RS, "RegistryResponse")?;
        let errors = decode_outcome(outcome, ErrorCode::XdsRepositoryError)?;
        let documents = element
            .children_named(ns::XDS, "DocumentResponse")
            .map(|response| RetrievedDocument::decode(response, asked))
            .collect::<Result<_, _>>()?;
        Ok(Self { documents, errors })
    }

    /// The element, with its namespaces, and the attachments that have to follow it.
    pub fn encode(&self) -> Encoded {
        let mut w = Writer::new();
        let mut parts = Vec::new();
        w.start("xds:RetrieveDocumentSetResponse").attribute("xmlns:xds", ns::XDS).attribute("xmlns:rs", ns::RS);
        w.start("rs:RegistryResponse").attribute("status", self.status().as_str());
        write_errors(&mut w, &self.errors);
        w.end();
        for (index, document) in self.documents.iter().enumerate() {
            w.start("xds:DocumentResponse");
            document.id.write(&mut w);
            if let Some(repository) = &document.new_repository {
                w.leaf("xds:NewRepositoryUniqueId", repository.as_str());
            }
            if let Some(id) = &document.new_document {
                w.leaf("xds:NewDocumentUniqueId", id.as_str());
            }
            w.leaf("xds:mimeType", &document.mime_type).start("xds:Document");
            document.content.write(&mut w, index, &mut parts);
            w.end().end();
        }
        Encoded { xml: w.finish(), parts }
    }
}

impl RetrievedDocument {
    fn decode(response: Element<'_>, asked: &Request) -> Result<Self, DecodeError> {
        let document = optional(response, "DocumentUniqueId", DocumentUniqueId::new)?;
        let matching = match (&document, asked.documents.as_slice()) {
            (_, [only]) => Some(only),
            (Some(document), all) => all.iter().find(|id| id.document.bare() == document.bare()),
            (None, _) => None,
        };
        let repository = optional(response, "RepositoryUniqueId", RepositoryId::new)?;
        let id = DocumentId {
            home: home(response)?.or_else(|| matching.and_then(|id| id.home.clone())),
            repository: match repository.or_else(|| matching.map(|id| id.repository.clone())) {
                Some(repository) => repository,
                None => identifier(response, "RepositoryUniqueId", RepositoryId::new)?,
            },
            document: match document.or_else(|| matching.map(|id| id.document.clone())) {
                Some(document) => document,
                None => identifier(response, "DocumentUniqueId", DocumentUniqueId::new)?,
            },
        };
        let mime_type = response.child(ns::XDS, "mimeType").map(|element| element.trimmed().into_owned());
        Ok(Self {
            id,
            new_repository: optional(response, "NewRepositoryUniqueId", RepositoryId::new)?,
            new_document: optional(response, "NewDocumentUniqueId", DocumentUniqueId::new)?,
            mime_type: mime_type.filter(|text| !text.is_empty()).unwrap_or("application/octet-stream".into()),
            content: Content::decode(response.only_child(ns::XDS, "Document")?)?,
        })
    }
}

/// A community with or without `urn:oid:`; a community that cannot be one is refused.
fn home(parent: Element<'_>) -> Result<Option<HomeCommunityId>, DecodeError> {
    optional(parent, "HomeCommunityId", HomeCommunityId::lenient)
}

fn optional<T>(
    parent: Element<'_>,
    name: &'static str,
    read: fn(&str) -> Result<T, IdError>,
) -> Result<Option<T>, DecodeError> {
    let Some(child) = parent.optional_child(ns::XDS, name)? else { return Ok(None) };
    let text = child.trimmed();
    if text.is_empty() {
        return Ok(None);
    }
    read(&text).map(Some).map_err(|cause| DecodeError::Identifier { element: name, cause })
}

fn identifier<T>(
    parent: Element<'_>,
    name: &'static str,
    read: fn(&str) -> Result<T, IdError>,
) -> Result<T, DecodeError> {
    let child = parent.only_child(ns::XDS, name)?;
    read(&child.text()).map_err(|cause| DecodeError::Identifier { element: name, cause })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;
    use crate::xml::{Limits, parse};

    fn id(home: Option<&str>, repository: &str, document: &str) -> DocumentId {
        DocumentId {
            home: home.map(|home| home.parse().unwrap()),
            repository: RepositoryId::new(repository).unwrap(),
            document: DocumentUniqueId::new(document).unwrap(),
        }
    }

    fn read(xml: &str, asked: &Request) -> Response {
        let tree = parse(xml, &Limits::default()).unwrap();
        Response::decode(tree.root().unwrap(), asked).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            documents in prop::collection::vec(("[0-9.^a-z&<]{1,20}", "[!-~]{1,20}", any::<bool>()), 1..4),
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let ids: Vec<_> = documents
                .iter()
                .map(|(repository, document, foreign)| id(foreign.then_some("urn:oid:2.999.1"), repository, document))
                .collect();
            let request = Request { documents: ids.clone() };
            let text = request.encode();
            let tree = parse(&text, &Limits::default()).unwrap();
            prop_assert_eq!(&Request::decode(tree.root().unwrap()).unwrap(), &request);

            let retrieved = |(at, id): (usize, DocumentId)| RetrievedDocument {
                id,
                new_repository: None,
                new_document: (at == 1).then(|| DocumentUniqueId::new("2.999.7").unwrap()),
                mime_type: "text/xml".into(),
                content: if at == 0 { Content::Inline(bytes.clone()) } else { Content::Attached(format!("{at}@x")) },
            };
            let response = Response { documents: ids.into_iter().enumerate().map(retrieved).collect(), errors: vec![] };
            let encoded = response.encode();
            prop_assert_eq!(encoded.parts.len(), response.documents.len() - 1);
            let nobody = Request { documents: vec![] };
            prop_assert_eq!(read(&encoded.xml, &nobody), response);
        }
    }

    #[test]
    fn messages_are_valid_and_status_follows_from_what_is_returned() {
        const SCHEMA: &str = "xds/XDS.b_DocumentRepository.xsd";
        let document = RetrievedDocument {
            id: id(Some("urn:oid:2.999.1"), "2.999.4", "2.999.9.1"),
            new_repository: Some(RepositoryId::new("2.999.5").unwrap()),
            new_document: Some(DocumentUniqueId::new("2.999.9.2").unwrap()),
            mime_type: "text/xml".into(),
            content: Content::Inline(b"<a/>".to_vec()),
        };
        let error = RegistryError::new(ErrorCode::XdsDocumentUniqueIdError, "no such document").at("2.999.9.404");
        for (documents, errors, status) in [
            (vec![document.clone()], vec![], Status::Success),
            (vec![document.clone()], vec![error.clone()], Status::PartialSuccess),
            (vec![], vec![error], Status::Failure),
        ] {
            let response = Response { documents, errors };
            assert_eq!(response.status(), status);
            testing::validates(&response.encode().xml, SCHEMA);
        }
        testing::validates(&Request { documents: vec![document.id] }.encode(), SCHEMA);
    }

    #[test]
    fn ids_that_partners_leave_out_are_those_of_the_request() {
        let asked = Request { documents: vec![id(Some("urn:oid:2.999.1"), "2.999.4", "2.999.9.1")] };
        let xml = "<RetrieveDocumentSetResponse xmlns='urn:ihe:iti:xds-b:2007'>\
            <rs:RegistryResponse xmlns:rs='urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0' status='x:Success'/>\
            <DocumentResponse><DocumentUniqueId>2.999.9.1</DocumentUniqueId><Document>YQ==</Document><more/>\
            </DocumentResponse></RetrieveDocumentSetResponse>";
        let response = read(xml, &asked);
        assert_eq!(response.documents[0].id, asked.documents[0]);
        assert_eq!(response.documents[0].content, Content::Inline(b"a".to_vec()));
    }

    #[test]
    fn messages_of_the_corpus_are_read() {
        for row in testing::manifest("xca-retrieve/").iter().filter(|row| row[0].ends_with(".xml")) {
            let text = testing::filled_in(&row[0]);
            let tree = parse(&text, &Limits::default()).unwrap();
            let root = tree.root().unwrap();
            let names = ["RetrieveDocumentSetRequest", "RetrieveDocumentSetResponse"];
            let body = [root].into_iter().chain(root.descendants()).find(|e| names.contains(&e.local_name())).unwrap();
            if row[3].starts_with("response") {
                let response = Response::decode(body, &Request { documents: vec![] }).unwrap();
                assert!(!response.documents.is_empty(), "{}", row[0]);
            } else if row[7].contains("empty-id") || row[7].contains("invalid-id") {
                // Refused or answered with an error: either way nothing is found.
                let _ = Request::decode(body);
            } else {
                let request = Request::decode(body).unwrap_or_else(|error| panic!("{}: {error}", row[0]));
                assert!(!request.documents.is_empty(), "{}", row[0]);
            }
        }
    }
}
