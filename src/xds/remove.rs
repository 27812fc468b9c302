//! ITI-62 Remove Metadata and ITI-86 Remove Documents (Remove Metadata and Documents supplement 3.62, 3.86): what a
//! Document Administrator takes away. The answer is `ebxml::RegistryResponse`.

use crate::ebxml::response::write_errors;
use crate::ebxml::{DecodeError, ErrorCode, RegistryError, Status};
use crate::metadata::ObjectId;
pub use crate::xds::retrieve::DocumentId;
use crate::xds::retrieve::{read_document, write_document};
use crate::xml::{Element, Writer, ns};

/// The metadata to be removed; at least one object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MetadataRequest {
    /// Entries, folders, submission sets and associations, by entryUUID.
    pub objects: Vec<ObjectId>,
}

/// Why a removal was refused before anything was looked up.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Not the message it should be.
    #[error("the removal cannot be read: {0}")]
    Malformed(#[from] DecodeError),
    /// A query in place of ids, or a scope of ebXML, which the transaction does not have (3.62.4.1.2).
    #[error("objects are removed by their ids, without query and deletion scope")]
    NotById,
}

impl Refusal {
    /// `errorCode`.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::XdsRegistryError,
            Self::NotById => ErrorCode::XdsInvalidRequestException,
        }
    }
}

impl MetadataRequest {
    /// Reads `lcm:RemoveObjectsRequest`.
    pub fn decode(element: Element<'_>) -> Result<Self, Refusal> {
        let element = element.expect(ns::LCM, "RemoveObjectsRequest").map_err(DecodeError::from)?;
        if element.attribute("deletionScope").is_some() || element.child(ns::RIM, "AdhocQuery").is_some() {
            return Err(Refusal::NotById);
        }
        let list = element.only_child(ns::RIM, "ObjectRefList").map_err(DecodeError::from)?;
        let objects = list
            .children_named(ns::RIM, "ObjectRef")
            .map(|reference| Ok(reference.require_attribute("id").map_err(DecodeError::from)?.into()))
            .collect::<Result<Vec<ObjectId>, Refusal>>()?;
        if objects.is_empty() {
            list.only_child(ns::RIM, "ObjectRef").map_err(DecodeError::from)?;
        }
        Ok(Self { objects })
    }

    /// The element, with its namespaces.
    pub fn encode(&self) -> String {
        let mut w = Writer::new();
        w.start("lcm:RemoveObjectsRequest").attribute("xmlns:lcm", ns::LCM).attribute("xmlns:rim", ns::RIM);
        w.start("rim:ObjectRefList");
        for id in &self.objects {
            w.start("rim:ObjectRef").attribute("id", &id.to_string()).end();
        }
        w.finish()
    }
}

/// The documents to be removed; at least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DocumentsRequest {
    /// In the order of the message.
    pub documents: Vec<DocumentId>,
}

impl DocumentsRequest {
    /// Reads `rmd:RemoveDocumentsRequest`.
    pub fn decode(element: Element<'_>) -> Result<Self, DecodeError> {
        let element = element.expect(ns::RMD, "RemoveDocumentsRequest")?;
        let requests = element.children_named(ns::XDS, "DocumentRequest");
        let documents = requests.map(read_document).collect::<Result<Vec<_>, _>>()?;
        if documents.is_empty() {
            element.only_child(ns::XDS, "DocumentRequest")?;
        }
        Ok(Self { documents })
    }

    /// The element, with its namespaces.
    pub fn encode(&self) -> String {
        let mut w = Writer::new();
        w.start("rmd:RemoveDocumentsRequest").attribute("xmlns:rmd", ns::RMD).attribute("xmlns:xds", ns::XDS);
        for document in &self.documents {
            write_document(&mut w, document);
        }
        w.finish()
    }
}

/// The answer to ITI-86, which unlike the other submissions may succeed in part (3.86.4.2).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DocumentsResponse {
    /// The documents that are gone.
    pub removed: Vec<DocumentId>,
    /// Errors (location: the document's unique id).
    pub errors: Vec<RegistryError>,
}

impl DocumentsResponse {
    /// Follows from what was removed.
    pub fn status(&self) -> Status {
        Status::of(&self.errors, !self.removed.is_empty())
    }

    /// `rs:RegistryResponse`, with its namespaces.
    pub fn encode(&self) -> String {
        let mut w = Writer::new();
        w.start("rs:RegistryResponse").attribute("xmlns:rs", ns::RS).attribute("status", self.status().as_str());
        write_errors(&mut w, &self.errors);
        w.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DocumentUniqueId, RepositoryId};
    use crate::testing;
    use crate::xml::{Limits, parse};

    fn metadata(xml: &str) -> Result<MetadataRequest, Refusal> {
        MetadataRequest::decode(parse(xml, &Limits::default()).unwrap().root().unwrap())
    }

    fn documents(xml: &str) -> Result<DocumentsRequest, DecodeError> {
        DocumentsRequest::decode(parse(xml, &Limits::default()).unwrap().root().unwrap())
    }

    #[test]
    fn messages_are_valid_and_read_back() {
        let request = MetadataRequest {
            objects: vec![
                "urn:uuid:00000000-0000-4000-8000-000000000001".into(),
                "urn:uuid:00000000-0000-4000-8000-000000000002".into(),
            ],
        };
        testing::validates(&request.encode(), "xds/lcm.xsd");
        assert_eq!(metadata(&request.encode()).unwrap(), request);
        let document = DocumentId {
            home: None,
            repository: RepositoryId::new("2.999.4").unwrap(),
            document: DocumentUniqueId::new("2.999.9.1").unwrap(),
        };
        let request = DocumentsRequest { documents: vec![document.clone()] };
        testing::validates(&request.encode(), "xds-rmd/rmd.xsd");
        assert_eq!(documents(&request.encode()).unwrap(), request);
        let error = RegistryError::new(ErrorCode::XdsDocumentUniqueIdError, "no such document").at("2.999.9.2");
        for (removed, errors, status) in [
            (vec![document.clone()], vec![], Status::Success),
            (vec![document], vec![error.clone()], Status::PartialSuccess),
            (vec![], vec![error], Status::Failure),
        ] {
            let response = DocumentsResponse { removed, errors };
            assert_eq!(response.status(), status);
            testing::validates(&response.encode(), "xds/rs.xsd");
        }
    }

    /// 3.62.4.1.2: neither query nor scope.
    #[test]
    fn removals_by_anything_but_ids_are_refused() {
        let lcm = "xmlns='urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0'";
        let rim = "xmlns='urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0'";
        let list = format!(
            "<ObjectRefList {rim}><ObjectRef id='urn:uuid:00000000-0000-4000-8000-000000000001'/></ObjectRefList>"
        );
        for (attribute, content, refused_as) in [
            ("", list.clone(), None),
            ("deletionScope='urn:x'", list.clone(), Some(ErrorCode::XdsInvalidRequestException)),
            ("", format!("<AdhocQuery {rim} id='x'/>{list}"), Some(ErrorCode::XdsInvalidRequestException)),
            ("", format!("<ObjectRefList {rim}/>"), Some(ErrorCode::XdsRegistryError)),
            ("", String::new(), Some(ErrorCode::XdsRegistryError)),
        ] {
            let xml = format!("<RemoveObjectsRequest {lcm} {attribute}>{content}</RemoveObjectsRequest>");
            assert_eq!(metadata(&xml).err().map(|refusal| refusal.code()), refused_as, "{xml}");
        }
    }

    #[test]
    fn removals_of_the_corpus_are_read() {
        for row in testing::manifest("metadata-update/").iter().filter(|row| row[0].ends_with(".xml")) {
            let text = testing::filled_in(&row[0]);
            match row[2].as_str() {
                "ITI-62" => assert!(!metadata(text.trim_start()).unwrap().objects.is_empty(), "{}", row[0]),
                "ITI-86" => assert!(!documents(text.trim_start()).unwrap().documents.is_empty(), "{}", row[0]),
                _ => {}
            }
        }
    }
}
