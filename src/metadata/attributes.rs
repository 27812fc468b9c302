//! Reads attributes of a registry object one by one and notes what cannot be read.

use smol_str::SmolStr;

use super::coding::{Author, Xcn, Xon, Xtn};
use super::rules::Problems;
use crate::ebxml::{Classification, ExternalIdentifier, RegistryObject, Slot, rim};
use crate::id::{Code, DocumentUniqueId, Dtm, HomeCommunityId, PatientId};

/// An object while it is read: what was taken is gone from it, problems are noted with the object's id.
pub(super) struct Attributes<'p> {
    pub(super) object: RegistryObject,
    pub(super) problems: &'p mut Problems,
}

impl Attributes<'_> {
    /// Notes that an attribute cannot be used.
    pub(super) fn problem(&mut self, text: String) {
        self.problems.metadata(&self.object.id, text);
    }

    /// The value of a slot that has at most one. The same value twice counts as one: some senders repeat a slot.
    pub(super) fn single(&mut self, slot: &str) -> Option<SmolStr> {
        let mut values = self.object.take_slot(slot)?.into_iter().filter(|value| !value.is_empty());
        let first = values.next();
        if values.any(|other| Some(&other) != first.as_ref()) {
            self.problem(format!("{slot} has more than one value"));
        }
        first
    }

    /// All values of a slot.
    pub(super) fn multiple(&mut self, slot: &str) -> Vec<SmolStr> {
        let mut values = self.object.take_slot(slot).unwrap_or_default();
        values.retain(|value| !value.is_empty());
        values
    }

    /// A date of a slot. Live partners send ISO 8601 where digits are required, so both are read.
    pub(super) fn dtm(&mut self, slot: &str) -> Option<Dtm> {
        let text = self.single(slot)?;
        self.parsed(slot, Dtm::lenient(&text).ok())
    }

    /// Passes a parsed value on, or notes that the attribute could not be read.
    pub(super) fn parsed<T>(&mut self, attribute: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.problem(format!("{attribute} cannot be read"));
        }
        value
    }

    /// A patient id among the external identifiers.
    pub(super) fn patient(&mut self, scheme: &str) -> Option<PatientId> {
        let parsed = PatientId::from_cx(self.object.identifier(scheme)?).ok();
        self.parsed("patientId", parsed)
    }

    /// A unique id among the external identifiers.
    pub(super) fn unique(&mut self, scheme: &str) -> Option<DocumentUniqueId> {
        let parsed = self.object.identifier(scheme).and_then(|text| DocumentUniqueId::new(text).ok());
        self.parsed("uniqueId", parsed)
    }

    /// `@home`. Live partners leave out `urn:oid:`.
    pub(super) fn home(&mut self) -> Option<HomeCommunityId> {
        let parsed = HomeCommunityId::lenient(self.object.home.as_deref()?).ok();
        self.parsed("homeCommunityId", parsed)
    }

    /// The codes of a scheme.
    pub(super) fn codes(&mut self, scheme: &'static str, attribute: &str) -> Vec<Code> {
        let codes: Vec<_> = self.object.classified(scheme).filter_map(Classification::code).collect();
        if codes.len() < self.object.classified(scheme).count() {
            self.problem(format!("{attribute} has no code"));
        }
        if codes.iter().any(|code| code.scheme.is_empty()) {
            self.problem(format!("{attribute} has no coding scheme"));
        }
        codes
    }

    /// The code of a scheme that has one at most.
    pub(super) fn code(&mut self, scheme: &'static str, attribute: &str) -> Option<Code> {
        let mut codes = self.codes(scheme, attribute).into_iter();
        let first = codes.next();
        if codes.next().is_some() {
            self.problem(format!("{attribute} occurs more than once"));
        }
        first
    }

    /// The authors.
    pub(super) fn authors(&self, scheme: &'static str) -> Vec<Author> {
        self.object.classified(scheme).map(|classification| author(&classification.slots)).collect()
    }
}

fn author(slots: &[Slot]) -> Author {
    let values = |names: &'static [&'static str]| {
        slots.iter().filter(|slot| names.contains(&slot.name.as_str())).flat_map(|slot| &slot.values)
    };
    let texts = |names| values(names).filter(|text| !text.is_empty()).cloned().collect();
    Author {
        person: values(&["authorPerson"]).find_map(|text| Xcn::from_wire(text)),
        institutions: values(&["authorInstitution"]).filter_map(|text| Xon::from_wire(text)).collect(),
        roles: texts(&["authorRole"]),
        // The second spelling is that of some live senders.
        specialties: texts(&["authorSpecialty", "authorSpeciality"]),
        telecoms: values(&["authorTelecommunication"]).filter_map(|text| Xtn::from_wire(text)).collect(),
    }
}

/// The classification of an author. Its code is empty by rule (ITI TF-3: 4.2.3.1.4).
pub(super) fn write_author(scheme: &'static str, author: &Author) -> Classification {
    let mut holder = RegistryObject::default();
    holder.slot_if("authorPerson", author.person.as_ref().map(Xcn::as_str));
    holder.slot_list("authorInstitution", author.institutions.iter().map(|xon| xon.as_str().into()).collect());
    holder.slot_list("authorRole", author.roles.clone());
    holder.slot_list("authorSpecialty", author.specialties.clone());
    holder.slot_list("authorTelecommunication", author.telecoms.iter().map(|xtn| xtn.as_str().into()).collect());
    Classification {
        scheme: Some(scheme.into()),
        representation: Some(SmolStr::default()),
        slots: holder.slots,
        ..Classification::default()
    }
}

/// An external identifier, if there is a value.
pub(super) fn write_identifier(
    object: &mut RegistryObject,
    scheme: &'static str,
    name: &'static str,
    value: Option<String>,
) {
    if let Some(value) = value {
        object.external_identifiers.push(ExternalIdentifier {
            scheme: scheme.into(),
            value: value.into(),
            name: name.into(),
        });
    }
}

/// A slot's first value, for attributes of associations.
pub(super) fn slot(slots: &[Slot], name: &str) -> Option<SmolStr> {
    rim::first_value(slots, name)
}
