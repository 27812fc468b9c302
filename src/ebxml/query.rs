//! The frame of a stored query and of its answer (ITI TF-2: 3.18.4).

use smol_str::SmolStr;

use super::response::{Status, decode_outcome, write_errors};
use super::rim::{Item, Slot, decode_slots, write_slots};
use super::{DecodeError, ErrorCode, RegistryError};
use crate::xml::{Element, Writer, ns};

/// What a query returns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReturnType {
    /// References, of any number of patients.
    ObjectRef,
    /// Whole objects, of one patient.
    LeafClass,
}

impl ReturnType {
    /// The literal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ObjectRef => "ObjectRef",
            Self::LeafClass => "LeafClass",
        }
    }
}

/// `query:AdhocQueryRequest`. Federation, paging and the query's other attributes mean nothing in XDS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdhocQueryRequest {
    /// `ResponseOption/@returnType`, as text.
    pub return_type: SmolStr,
    /// `AdhocQuery/@id`
    pub id: SmolStr,
    /// `AdhocQuery/@home`
    pub home: Option<SmolStr>,
    /// The parameters.
    pub slots: Vec<Slot>,
}

impl AdhocQueryRequest {
    /// Reads the element.
    pub fn decode(element: Element<'_>) -> Result<Self, DecodeError> {
        let element = element.expect(ns::QUERY, "AdhocQueryRequest")?;
        let query = element.only_child(ns::RIM, "AdhocQuery")?;
        let option = element.optional_child(ns::QUERY, "ResponseOption")?;
        Ok(Self {
            return_type: option.and_then(|option| option.attribute("returnType")).unwrap_or("LeafClass").into(),
            id: query.require_attribute("id")?.trim().into(),
            home: query.attribute("home").map(str::trim).filter(|home| !home.is_empty()).map(SmolStr::from),
            slots: decode_slots(query),
        })
    }

    /// The element, with its namespaces.
    pub fn encode(&self) -> String {
        let mut w = Writer::new();
        w.start("query:AdhocQueryRequest").attribute("xmlns:query", ns::QUERY).attribute("xmlns:rim", ns::RIM);
        w.start("query:ResponseOption")
            .attribute("returnComposedObjects", "true")
            .attribute("returnType", &self.return_type)
            .end();
        w.start("rim:AdhocQuery").attribute("id", &self.id).attribute_if("home", self.home.as_deref());
        write_slots(&mut w, &self.slots);
        w.finish()
    }
}

/// `query:AdhocQueryResponse`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AdhocQueryResponse {
    /// What was found.
    pub objects: Vec<Item>,
    /// Errors and warnings.
    pub errors: Vec<RegistryError>,
}

impl AdhocQueryResponse {
    /// Reads the element. Live partners leave the object list out of failures and put it before or after the errors.
    pub fn decode(element: Element<'_>) -> Result<Self, DecodeError> {
        let element = element.expect(ns::QUERY, "AdhocQueryResponse")?;
        let mut objects = Vec::new();
        for list in element.children_named(ns::RIM, "RegistryObjectList") {
            objects.extend(Item::decode_list(list)?);
        }
        Ok(Self { objects, errors: decode_outcome(element, ErrorCode::XdsRegistryError)? })
    }

    /// The element, with its namespaces.
    pub fn encode(&self) -> String {
        let mut w = Writer::new();
        let status = Status::of(&self.errors, !self.objects.is_empty());
        w.start("query:AdhocQueryResponse")
            .attribute("xmlns:query", ns::QUERY)
            .attribute("xmlns:rim", ns::RIM)
            .attribute("xmlns:rs", ns::RS)
            .attribute("status", status.as_str());
        write_errors(&mut w, &self.errors);
        w.start("rim:RegistryObjectList");
        for object in &self.objects {
            object.write(&mut w);
        }
        w.finish()
    }
}
