//! The PID segment as `Demographics`, both ways, and what an update changes (HL7 2.5 chapter 3.4.2, ITI TF-2: 3.8.4.1).
//!
//! PID-2 and PID-4 are superseded by PID-3 and not read; PID-19 and PID-20 are superseded as well, but still the only
//! place where most senders put social security and licence numbers.

use smol_str::SmolStr;

use crate::hl7v2::ack::Location;
use crate::hl7v2::datatypes::{
    read_address, read_code, read_name, read_telecom, read_time, write_address, write_name, write_telecom,
};
use crate::hl7v2::segment::SegmentBuilder;
use crate::hl7v2::{Component, Composite, Content, Cx, Hd, Segment};
use crate::id::patient::MultipleBirth;
use crate::id::{AssigningAuthority, Demographics, Domains, Gender, Oid, PatientId};

/// US social security numbers.
const SSN: &str = "2.16.840.1.113883.4.1";
/// US drivers' licences: below this, the FIPS number of the state.
const LICENCE: &str = "2.16.840.1.113883.4.3";

/// A field of PID that a sender can delete with `""`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// PID-5.
    Names,
    /// PID-6.
    MothersMaidenName,
    /// PID-7.
    Birth,
    /// PID-8.
    Gender,
    /// PID-10.
    Race,
    /// PID-11.
    Addresses,
    /// PID-13.
    HomeTelecoms,
    /// PID-14.
    WorkTelecoms,
    /// PID-15.
    Language,
    /// PID-16.
    MaritalStatus,
    /// PID-18.
    Account,
    /// PID-19.
    SocialSecurity,
    /// PID-20.
    Licence,
    /// PID-21.
    MothersIds,
    /// PID-22.
    Ethnicity,
    /// PID-23.
    BirthPlace,
    /// PID-24 and PID-25.
    MultipleBirth,
    /// PID-29.
    Death,
    /// PID-30.
    Deceased,
    /// PID-31.
    IdentityUnknown,
}

impl Part {
    /// Each with its field number.
    const ALL: [(usize, Self); 20] = [
        (5, Self::Names),
        (6, Self::MothersMaidenName),
        (7, Self::Birth),
        (8, Self::Gender),
        (10, Self::Race),
        (11, Self::Addresses),
        (13, Self::HomeTelecoms),
        (14, Self::WorkTelecoms),
        (15, Self::Language),
        (16, Self::MaritalStatus),
        (18, Self::Account),
        (19, Self::SocialSecurity),
        (20, Self::Licence),
        (21, Self::MothersIds),
        (22, Self::Ethnicity),
        (23, Self::BirthPlace),
        (24, Self::MultipleBirth),
        (29, Self::Death),
        (30, Self::Deceased),
        (31, Self::IdentityUnknown),
    ];

    /// The field of PID.
    pub fn field(self) -> usize {
        Self::ALL.iter().find(|(_, part)| *part == self).map_or(0, |(number, _)| *number)
    }
}

/// What an update says: values to be stored, and parts to be deleted. Whatever it does not mention stays as it is
/// (ITI TF-2: Appendix C).
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Revision {
    /// New values. Absent means unchanged.
    pub demographics: Demographics,
    /// Parts that are to be empty.
    pub deleted: Vec<Part>,
    /// PID-31 was there, so `demographics.identity_unknown` is told and not a default.
    pub tells_identity: bool,
}

impl std::fmt::Debug for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Revision(…, deletes {:?})", self.deleted)
    }
}

impl Revision {
    /// What is stored after the update, given what was stored before.
    pub fn apply_to(&self, before: &Demographics) -> Demographics {
        let new = &self.demographics;
        let mut after = before.clone();
        let deletes = |part| self.deleted.contains(&part);
        list(&mut after.names, &new.names, deletes(Part::Names));
        value(&mut after.mothers_maiden_name, &new.mothers_maiden_name, deletes(Part::MothersMaidenName));
        value(&mut after.birth, &new.birth, deletes(Part::Birth));
        value(&mut after.gender, &new.gender, deletes(Part::Gender));
        value(&mut after.race, &new.race, deletes(Part::Race));
        list(&mut after.addresses, &new.addresses, deletes(Part::Addresses));
        for (work, part) in [(false, Part::HomeTelecoms), (true, Part::WorkTelecoms)] {
            let told: Vec<_> = new.telecoms.iter().filter(|telecom| (telecom.usage == "WPN") == work).collect();
            if deletes(part) || !told.is_empty() {
                after.telecoms.retain(|telecom| (telecom.usage == "WPN") != work);
                after.telecoms.extend(told.into_iter().cloned());
            }
        }
        value(&mut after.language, &new.language, deletes(Part::Language));
        value(&mut after.marital_status, &new.marital_status, deletes(Part::MaritalStatus));
        value(&mut after.account, &new.account, deletes(Part::Account));
        for (of_kind, part) in [(is_ssn as fn(&PatientId) -> bool, Part::SocialSecurity), (is_licence, Part::Licence)] {
            if deletes(part) {
                after.other_ids.retain(|id| !of_kind(id));
            }
        }
        for id in &new.other_ids {
            after.other_ids.retain(|old| old.authority() != id.authority());
        }
        after.other_ids.extend(new.other_ids.iter().cloned());
        list(&mut after.mothers_ids, &new.mothers_ids, deletes(Part::MothersIds));
        value(&mut after.ethnicity, &new.ethnicity, deletes(Part::Ethnicity));
        value(&mut after.birth_place, &new.birth_place, deletes(Part::BirthPlace));
        value(&mut after.multiple_birth, &new.multiple_birth, deletes(Part::MultipleBirth));
        value(&mut after.death, &new.death, deletes(Part::Death));
        value(&mut after.deceased, &new.deceased, deletes(Part::Deceased));
        if self.tells_identity || deletes(Part::IdentityUnknown) {
            after.identity_unknown = new.identity_unknown;
        }
        after
    }
}

fn value<T: Clone>(stored: &mut Option<T>, told: &Option<T>, deleted: bool) {
    if deleted || told.is_some() {
        stored.clone_from(told);
    }
}

fn list<T: Clone>(stored: &mut Vec<T>, told: &[T], deleted: bool) {
    if deleted || !told.is_empty() {
        *stored = told.to_vec();
    }
}

/// Reads PID. An error is the place of a date that is none; everything else that makes no sense is left out, as a
/// registration is worth more than its marital status.
pub fn read(pid: Segment<'_>, domains: &Domains, facility: &Hd) -> Result<Revision, Location> {
    let date = |number| read_time(pid.field(number)).map_err(|_| Location::of("PID").field(number));
    let deleted: Vec<Part> = Part::ALL
        .into_iter()
        .filter(|(number, _)| pid.field(*number).content() == Content::Delete)
        .map(|(_, part)| part)
        .collect();
    let values = |number: usize| pid.field(number).repetitions().filter(|r| !r.is_empty() && r.raw() != "\"\"");
    let names = |number| values(number).map(read_name).filter(|name| !name.is_empty());
    let home = values(13).filter_map(|one| read_telecom(one, "PRN"));
    let work = values(14).filter_map(|one| read_telecom(one, "WPN"));
    let account = values(18).next().map(Cx::read).and_then(|cx| cx.foreign(domains, &facility.namespace).ok());
    let ssn = values(19).next().and_then(|one| social_security(&one.component(1).text()));
    let licence = values(20).next().and_then(|one| licence(one.component(1), one.component(2)));
    // Some senders list the social security number among the ids of PID-3, told only by its type.
    let listed = values(3)
        .map(Cx::read)
        .filter(|cx| is_listed_ssn(cx) && cx.authority(domains).is_err())
        .filter_map(|cx| social_security(&cx.id));
    let mut other_ids: Vec<PatientId> = Vec::new();
    for id in ssn.into_iter().chain(listed).chain(licence) {
        if !other_ids.contains(&id) {
            other_ids.push(id);
        }
    }
    let demographics = Demographics {
        names: names(5).collect(),
        gender: read_code(pid.field(8)).and_then(|code| Gender::from_wire(&code)),
        birth: date(7)?,
        addresses: values(11).map(read_address).filter(|address| !address.is_empty()).collect(),
        telecoms: home.chain(work).collect(),
        mothers_maiden_name: names(6).next(),
        mothers_ids: values(21).filter_map(|one| Cx::read(one).foreign(domains, &facility.namespace).ok()).collect(),
        other_ids,
        account,
        birth_place: read_code(pid.field(23)),
        multiple_birth: multiple_birth(pid),
        death: date(29)?,
        deceased: yes_no(pid, 30),
        marital_status: read_code(pid.field(16)),
        language: read_code(pid.field(15)),
        race: read_code(pid.field(10)),
        ethnicity: read_code(pid.field(22)),
        identity_unknown: yes_no(pid, 31) == Some(true),
    };
    Ok(Revision { demographics, deleted, tells_identity: yes_no(pid, 31).is_some() })
}

/// An identifier of PID-3 that is a social security number by its type or its authority, whatever domains we know.
pub fn is_listed_ssn(cx: &Cx) -> bool {
    cx.universal_id == SSN || (cx.type_code == "SS" && cx.universal_id.is_empty())
}

/// Writes PID from field 3 on. `deleted` parts become `""`.
pub fn write(pid: &mut SegmentBuilder<'_>, ids: &[PatientId], revision: &Revision, domains: &Domains) {
    let person = &revision.demographics;
    let field = |pid: &mut SegmentBuilder<'_>, number: usize, values: Vec<Composite>| {
        let deleted = revision.deleted.iter().any(|part| part.field() == number);
        if deleted && values.is_empty() {
            pid.text(number, "\"\"");
        } else {
            pid.repetitions(number, &values);
        }
    };
    let text = |value: &Option<SmolStr>| value.iter().map(|text| Composite::new(&[text])).collect::<Vec<_>>();
    let cx = |id: &PatientId| Cx::write(id, domains, "");
    let work = |wanted: bool| {
        person.telecoms.iter().filter(move |t| (t.usage == "WPN") == wanted).map(write_telecom).collect::<Vec<_>>()
    };
    let yes_no = |value: Option<bool>| value.map(|yes| Composite::new(&[if yes { "Y" } else { "N" }]));
    let date = |value: &Option<crate::id::Dtm>| value.iter().map(|dtm| Composite::new(&[dtm.as_str()])).collect();
    let other = |of_kind: fn(&PatientId) -> bool| person.other_ids.iter().find(|id| of_kind(id));
    field(pid, 3, ids.iter().map(cx).collect());
    field(pid, 5, person.names.iter().map(write_name).collect());
    field(pid, 6, person.mothers_maiden_name.iter().map(write_name).collect());
    field(pid, 7, date(&person.birth));
    field(pid, 8, person.gender.iter().map(|gender| Composite::new(&[gender.v2()])).collect());
    field(pid, 10, text(&person.race));
    field(pid, 11, person.addresses.iter().map(write_address).collect());
    field(pid, 13, work(false));
    field(pid, 14, work(true));
    field(pid, 15, text(&person.language));
    field(pid, 16, text(&person.marital_status));
    field(pid, 18, person.account.iter().map(cx).collect());
    field(pid, 19, other(is_ssn).map(|id| Composite::new(&[id.id()])).into_iter().collect());
    field(pid, 20, other(is_licence).and_then(written_licence).into_iter().collect());
    field(pid, 21, person.mothers_ids.iter().map(cx).collect());
    field(pid, 22, text(&person.ethnicity));
    field(pid, 23, text(&person.birth_place));
    field(pid, 24, yes_no(person.multiple_birth.map(|birth| birth.multiple)).into_iter().collect());
    let order = person.multiple_birth.and_then(|birth| birth.order).map(|order| order.to_string());
    field(pid, 25, order.iter().map(|order| Composite::new(&[order])).collect());
    field(pid, 29, date(&person.death));
    field(pid, 30, yes_no(person.deceased).into_iter().collect());
    let identity = (person.identity_unknown || revision.tells_identity).then_some(person.identity_unknown);
    field(pid, 31, yes_no(identity).into_iter().collect());
}

fn multiple_birth(pid: Segment<'_>) -> Option<MultipleBirth> {
    let order = pid.field(25).text().trim().parse::<u8>().ok();
    match (yes_no(pid, 24), order) {
        (None, None) => None,
        (multiple, order) => Some(MultipleBirth { multiple: multiple.unwrap_or(true), order }),
    }
}

fn yes_no(pid: Segment<'_>, number: usize) -> Option<bool> {
    match pid.field(number).text().trim().to_ascii_uppercase().as_str() {
        "Y" => Some(true),
        "N" => Some(false),
        _ => None,
    }
}

fn social_security(text: &str) -> Option<PatientId> {
    PatientId::new(text, AssigningAuthority::iso(&SSN.parse::<Oid>().ok()?)).ok()
}

fn is_ssn(id: &PatientId) -> bool {
    id.authority().universal_id() == SSN
}

fn is_licence(id: &PatientId) -> bool {
    let authority = id.authority();
    authority.universal_id().strip_prefix(LICENCE).is_some_and(|state| state.starts_with('.'))
        || authority.kind() == "DL"
}

/// DLN: number and issuing state. The licences of a US state have an OID of their own; others are kept under the
/// issuer's name.
fn licence(number: Component<'_>, issuer: Component<'_>) -> Option<PatientId> {
    let issuer = issuer.text().trim().to_ascii_uppercase();
    let authority = match STATES.iter().find(|(state, _)| *state == issuer) {
        Some((_, fips)) => AssigningAuthority::new(&format!("{LICENCE}.{fips}"), "ISO"),
        None => AssigningAuthority::new(&issuer, "DL"),
    };
    PatientId::new(&number.text(), authority.ok()?).ok()
}

fn written_licence(id: &PatientId) -> Option<Composite> {
    let authority = id.authority().universal_id();
    let fips = authority.strip_prefix(LICENCE).map(|rest| rest.trim_start_matches('.'));
    let state = match fips {
        Some(fips) => STATES.iter().find(|(_, known)| known.to_string() == fips)?.0,
        None => authority,
    };
    Some(Composite::new(&[id.id(), state]))
}

/// US states with their FIPS 5-2 numbers.
const STATES: [(&str, u8); 51] = [
    ("AL", 1),
    ("AK", 2),
    ("AZ", 4),
    ("AR", 5),
    ("CA", 6),
    ("CO", 8),
    ("CT", 9),
    ("DE", 10),
    ("DC", 11),
    ("FL", 12),
    ("GA", 13),
    ("HI", 15),
    ("ID", 16),
    ("IL", 17),
    ("IN", 18),
    ("IA", 19),
    ("KS", 20),
    ("KY", 21),
    ("LA", 22),
    ("ME", 23),
    ("MD", 24),
    ("MA", 25),
    ("MI", 26),
    ("MN", 27),
    ("MS", 28),
    ("MO", 29),
    ("MT", 30),
    ("NE", 31),
    ("NV", 32),
    ("NH", 33),
    ("NJ", 34),
    ("NM", 35),
    ("NY", 36),
    ("NC", 37),
    ("ND", 38),
    ("OH", 39),
    ("OK", 40),
    ("OR", 41),
    ("PA", 42),
    ("RI", 44),
    ("SC", 45),
    ("SD", 46),
    ("TN", 47),
    ("TX", 48),
    ("UT", 49),
    ("VT", 50),
    ("VA", 51),
    ("WA", 53),
    ("WV", 54),
    ("WI", 55),
    ("WY", 56),
];
