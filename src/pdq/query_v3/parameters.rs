//! `parameterList` as a query by example, both ways. `semanticsText` is never looked at.

use smol_str::SmolStr;

use super::Refusal;
use crate::hl7v3::datatype::{
    Ii, read_address, read_code, read_interval, read_name, read_patient_id, read_telecom, read_time, write_address,
    write_gender, write_name, write_name_parts, write_telecom, write_time,
};
use crate::hl7v3::query::write_parameter;
use crate::hl7v3::registration::write_id;
use crate::hl7v3::{child, children};
use crate::id::{AssigningAuthority, Demographics, Domains, Gender, PatientId, PersonName};
use crate::pdq::answer;
use crate::pdq::criteria::{Interval, PatientQuery};
use crate::pix::query_v3::read_domain;
use crate::xml::{Element, Writer};

/// Reads the criteria. A value that is told and not understood is a refusal: without it, everybody else would be found.
pub(super) fn read(list: Element<'_>, domains: &Domains) -> Result<PatientQuery, Refusal> {
    let values = |name: &'static str| -> Vec<Element<'_>> {
        let all = children(list, name).flat_map(|parameter| children(parameter, "value"));
        all.filter(|value| is_told(*value)).collect()
    };
    let code = |value: &Element<'_>| read_code(*value).and_then(|code| Gender::from_wire(&code));
    let gender = each("livingSubjectAdministrativeGender", &values("livingSubjectAdministrativeGender"), code)?;
    let (birth, birth_between) = read_birth(&values("livingSubjectBirthTime"))?;
    let ids = each("livingSubjectId", &values("livingSubjectId"), |id| read_patient_id(*id, domains).ok())?;
    let mother = each("mothersMaidenName", &values("mothersMaidenName"), |one| name(*one))?;
    let address = |one: &Element<'_>| Some(read_address(*one)).filter(|address| !address.is_empty());
    let place = |one: &Element<'_>| Some(SmolStr::from(one.trimmed().as_ref())).filter(|text| !text.is_empty());
    let person = Demographics {
        names: read_names(list)?,
        gender: gender.into_iter().next(),
        birth,
        addresses: each("patientAddress", &values("patientAddress"), address)?,
        telecoms: each("patientTelecom", &values("patientTelecom"), |one| read_telecom(*one))?,
        mothers_maiden_name: mother.into_iter().next(),
        birth_place: values("livingSubjectBirthPlaceName").iter().find_map(place),
        ..Demographics::default()
    };
    Ok(PatientQuery {
        person,
        birth_between,
        ids,
        similar_names: values("livingSubjectName").into_iter().any(wants_similar),
        ..PatientQuery::default()
    })
}

/// Whether there is something in a value, so that it asks for something.
fn is_told(value: Element<'_>) -> bool {
    let attribute = |name| value.attribute(name).is_some_and(|text| !text.trim().is_empty());
    ["value", "code", "root", "extension"].into_iter().any(attribute)
        || value.children().any(is_told)
        || !value.trimmed().is_empty()
}

fn each<T>(
    parameter: &'static str,
    values: &[Element<'_>],
    read: impl Fn(&Element<'_>) -> Option<T>,
) -> Result<Vec<T>, Refusal> {
    values.iter().map(|value| read(value).ok_or(Refusal::Parameter(parameter))).collect()
}

/// A date of birth as precise as it was told, or the interval in which it lies.
fn read_birth(values: &[Element<'_>]) -> Result<(Option<crate::id::Dtm>, Option<Interval>), Refusal> {
    let Some(value) = values.first() else { return Ok((None, None)) };
    if let Some(birth) = read_interval(*value) {
        return Ok((Some(birth), None));
    }
    let bound = |name| child(*value, name).and_then(read_time);
    let interval = Interval { from: bound("low"), to: bound("high") };
    if interval == Interval::default() {
        return Err(Refusal::Parameter("livingSubjectBirthTime"));
    }
    Ok((None, Some(interval)))
}

/// Names. Values of one parameter are alternatives. Parameters that have a part of the name each belong together; those
/// that have the same part cannot both be meant, so they are alternatives too.
fn read_names(list: Element<'_>) -> Result<Vec<PersonName>, Refusal> {
    let mut names: Vec<PersonName> = Vec::new();
    for parameter in children(list, "livingSubjectName") {
        let values: Vec<Element<'_>> = children(parameter, "value").filter(|value| is_told(*value)).collect();
        let told = each("livingSubjectName", &values, |value| name(*value))?;
        match (names.as_mut_slice(), told.as_slice()) {
            ([one], [other]) if one.family.is_empty() && other.given.is_empty() => {
                *one = PersonName { given: std::mem::take(&mut one.given), ..other.clone() };
            }
            ([one], [other]) if one.given.is_empty() && other.family.is_empty() => one.given.clone_from(&other.given),
            _ => names.extend(told),
        }
    }
    Ok(names)
}

/// A name with a family name of today beside the one at birth is asked for by that of today.
fn name(element: Element<'_>) -> Option<PersonName> {
    let mut name = read_name(element);
    let at_birth = |family: &Element<'_>| {
        family.attribute("qualifier").is_some_and(|qualifiers| qualifiers.split_whitespace().any(|one| one == "BR"))
    };
    let today = children(element, "family").find(|family| !family.trimmed().is_empty() && !at_birth(family));
    if let Some(today) = today {
        name.family = today.trimmed().as_ref().into();
        if name.kind == "M" {
            name.kind = "".into();
        }
    }
    (!name.is_empty()).then_some(name)
}

fn wants_similar(value: Element<'_>) -> bool {
    let usage = value.attribute("use").unwrap_or_default();
    usage.split_whitespace().any(|code| matches!(code, "SRCH" | "PHON" | "SNDX"))
}

/// `otherIDsScopingOrganization`.
pub(super) fn read_wanted(list: Element<'_>, domains: &Domains) -> Result<Vec<AssigningAuthority>, Refusal> {
    let (mut wanted, mut unknown) = (Vec::new(), Vec::new());
    for (index, parameter) in children(list, "otherIDsScopingOrganization").enumerate() {
        for value in children(parameter, "value").filter(|value| is_told(*value)) {
            match read_domain(value, domains) {
                Some(authority) => wanted.push(authority),
                None => unknown.push(index + 1),
            }
        }
    }
    if unknown.is_empty() { Ok(wanted) } else { Err(answer::Refusal::UnknownDomains(unknown).into()) }
}

/// Writes the list, in the order of the schema.
pub(super) fn write(writer: &mut Writer, query: &PatientQuery, wanted: &[AssigningAuthority], domains: &Domains) {
    let person = &query.person;
    writer.start("parameterList");
    if person.gender.is_some_and(|gender| gender.v3().is_some()) {
        write_parameter(writer, "livingSubjectAdministrativeGender", "LivingSubject.administrativeGender", |writer| {
            write_gender(writer, "value", person.gender);
        });
    }
    if let Some(place) = &person.birth_place {
        write_parameter(writer, "livingSubjectBirthPlaceName", "LivingSubject.BirthPlace.Place.Name", |writer| {
            writer.leaf("value", place);
        });
    }
    write_birth(writer, query);
    let ids = query.ids.iter().chain(&person.account);
    for id in ids.filter(|id: &&PatientId| id.authority().oid().is_some()) {
        write_parameter(writer, "livingSubjectId", "LivingSubject.id", |writer| write_id(writer, "value", id, domains));
    }
    if !person.names.is_empty() {
        write_parameter(writer, "livingSubjectName", "LivingSubject.name", |writer| {
            person.names.iter().for_each(|name| write_criterion(writer, name, query.similar_names));
        });
    }
    if let Some(name) = &person.mothers_maiden_name {
        write_parameter(writer, "mothersMaidenName", "Person.MothersMaidenName", |writer| {
            write_name(writer, "value", name);
        });
    }
    for oid in wanted.iter().filter_map(AssigningAuthority::oid) {
        write_parameter(writer, "otherIDsScopingOrganization", "OtherIDs.scopingOrganization.id", |writer| {
            Ii::root(oid.as_str()).write(writer, "value");
        });
    }
    if !person.addresses.is_empty() {
        write_parameter(writer, "patientAddress", "Patient.addr", |writer| {
            person.addresses.iter().for_each(|address| write_address(writer, "value", address));
        });
    }
    if !person.telecoms.is_empty() {
        write_parameter(writer, "patientTelecom", "Patient.telecom", |writer| {
            person.telecoms.iter().for_each(|telecom| write_telecom(writer, "value", telecom));
        });
    }
    writer.end();
}

fn write_birth(writer: &mut Writer, query: &PatientQuery) {
    if query.person.birth.is_none() && query.birth_between.is_none() {
        return;
    }
    write_parameter(writer, "livingSubjectBirthTime", "LivingSubject.birthTime", |writer| {
        match (&query.person.birth, &query.birth_between) {
            (Some(birth), _) => write_time(writer, "value", birth),
            (None, interval) => {
                let interval = interval.clone().unwrap_or_default();
                writer.start("value");
                interval.from.iter().for_each(|from| write_time(writer, "low", from));
                interval.to.iter().for_each(|to| write_time(writer, "high", to));
                writer.end();
            }
        }
    });
}

/// A name with `SRCH` in its use, if similar ones are welcome.
fn write_criterion(writer: &mut Writer, name: &PersonName, similar: bool) {
    if !similar {
        return write_name(writer, "value", name);
    }
    let usage = match name.kind.as_str() {
        "L" => "L SRCH",
        "A" => "A SRCH",
        "S" => "P SRCH",
        _ => "SRCH",
    };
    writer.start("value").attribute("use", usage);
    write_name_parts(writer, name);
    writer.end();
}
