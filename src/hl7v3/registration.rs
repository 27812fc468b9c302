//! `subject/registrationEvent`: a patient as feeds tell of one and as query answers do (MFMI_MT700701UV01,
//! MFMI_MT700711UV01).

use super::datatype::Ii;
use super::{child, children, person};
use crate::id::{AssigningAuthority, Demographics, Domains, PatientId};
use crate::xml::{Element, Writer};

/// What is told of the person.
#[derive(Clone, Copy)]
pub enum Told<'r> {
    /// Nothing but the identifiers: the name has the null flavour NA.
    Nothing,
    /// Everything, and that these authorities have no identifier for the person.
    Everything(&'r Demographics, &'r [AssigningAuthority]),
}

/// A registration to be written.
#[derive(Clone, Copy)]
pub struct Registration<'r> {
    /// `patient/id`. Identifiers of authorities without an OID cannot be said in v3 and are left out.
    pub ids: &'r [PatientId],
    /// `patientPerson`.
    pub told: Told<'r>,
    /// `custodian/assignedEntity/id`: whose registration it is.
    pub custodian: &'r Ii,
}

impl Registration<'_> {
    /// Writes it. `of_patient` is what stands last in `patient`, `last` what stands last in the event.
    pub fn write(
        &self,
        writer: &mut Writer,
        domains: &Domains,
        of_patient: impl FnOnce(&mut Writer),
        last: impl FnOnce(&mut Writer),
    ) {
        writer.start("subject").attribute("typeCode", "SUBJ").attribute("contextConductionInd", "false");
        writer.start("registrationEvent").attribute("classCode", "REG").attribute("moodCode", "EVN");
        Ii::default().write(writer, "id");
        writer.start("statusCode").attribute("code", "active").end();
        writer.start("subject1").attribute("typeCode", "SBJ");
        writer.start("patient").attribute("classCode", "PAT");
        let oids: Vec<_> = self.ids.iter().filter_map(|id| id.authority().oid()).collect();
        if oids.is_empty() {
            Ii::default().write(writer, "id");
        }
        self.ids.iter().for_each(|id| write_id(writer, "id", id, domains));
        writer.start("statusCode").attribute("code", "active").end();
        match self.told {
            Told::Nothing => person::write(writer, &Demographics::default()),
            Told::Everything(demographics, lacking) => person::write_lacking(writer, demographics, lacking),
        }
        if let Some(oid) = oids.first() {
            // Its root has to be that of one of the identifiers (ITI TF-2: 3.44.4.1.2).
            writer.start("providerOrganization").attribute("classCode", "ORG").attribute("determinerCode", "INSTANCE");
            Ii::root(oid.as_str()).write(writer, "id");
            writer.start("contactParty").attribute("classCode", "CON").end().end();
        }
        of_patient(writer);
        writer.end().end();
        writer.start("custodian").attribute("typeCode", "CST");
        writer.start("assignedEntity").attribute("classCode", "ASSIGNED");
        self.custodian.write(writer, "id");
        writer.end().end();
        last(writer);
        writer.end().end();
    }
}

/// Writes a patient identifier with the name of its authority; nothing if that has no OID, because II cannot say it.
pub fn write_id(writer: &mut Writer, name: &'static str, id: &PatientId, domains: &Domains) {
    let Some(oid) = id.authority().oid() else { return };
    let namespace = domains.of(id.authority()).map(|domain| domain.namespace.as_str()).filter(|name| !name.is_empty());
    writer.start(name).attribute("root", oid.as_str()).attribute("extension", id.id());
    writer.attribute_if("assigningAuthorityName", namespace).end();
}

/// Each registration of a message.
pub fn events<'d>(act: Element<'d>) -> impl Iterator<Item = Element<'d>> + use<'d> {
    children(act, "subject").filter_map(|subject| child(subject, "registrationEvent"))
}
