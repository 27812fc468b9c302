//! What the US Realm Header requires (C-CDA R2.1, template `2.16.840.1.113883.10.20.22.1.1:2015-08-01`), and what of
//! that a document lacks. An element with a null flavour is there: the guide lets a sender say that it does not know.

use super::Header;
use super::template::US_REALM_HEADER;
use crate::hl7v3::{child, children, find};
use crate::xml::Element;

/// One requirement that a document does not meet.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Missing {
    /// Where it belongs, from the document element on.
    pub path: &'static str,
    /// The guide's number for the requirement.
    pub conformance: &'static str,
}

/// What the US Realm Header requires and this document lacks, in the order of the header. Below an element that is
/// missing, nothing else is named.
pub fn check_required(header: &Header) -> &[Missing] {
    &header.missing
}

/// Children that are required once or more, with the number that requires them.
type Rules = &'static [(&'static str, &'static str, &'static str)];

const TOP: Rules = &[
    ("id", "id", "1198-5363"),
    ("code", "code", "1198-5253"),
    ("title", "title", "1198-5254"),
    ("effectiveTime", "effectiveTime", "1198-5256"),
    ("confidentialityCode", "confidentialityCode", "1198-5259"),
    ("languageCode", "languageCode", "1198-5372"),
];
const ROLE: Rules = &[
    ("id", "recordTarget/patientRole/id", "1198-5268"),
    ("addr", "recordTarget/patientRole/addr", "1198-5271"),
    ("telecom", "recordTarget/patientRole/telecom", "1198-5280"),
    ("patient", "recordTarget/patientRole/patient", "1198-5283"),
];
const PATIENT: Rules = &[
    ("name", "recordTarget/patientRole/patient/name", "1198-5284"),
    ("administrativeGenderCode", "recordTarget/patientRole/patient/administrativeGenderCode", "1198-6394"),
    ("birthTime", "recordTarget/patientRole/patient/birthTime", "1198-5298"),
    ("raceCode", "recordTarget/patientRole/patient/raceCode", "1198-5322"),
    ("ethnicGroupCode", "recordTarget/patientRole/patient/ethnicGroupCode", "1198-5323"),
];
const AUTHOR: Rules = &[("time", "author/time", "1198-5445"), ("assignedAuthor", "author/assignedAuthor", "1198-5448")];
const ASSIGNED_AUTHOR: Rules = &[
    ("id", "author/assignedAuthor/id", "1198-5449"),
    ("addr", "author/assignedAuthor/addr", "1198-5452"),
    ("telecom", "author/assignedAuthor/telecom", "1198-5428"),
];
const CUSTODIAN: Rules = &[
    ("id", "custodian/assignedCustodian/representedCustodianOrganization/id", "1198-5522"),
    ("name", "custodian/assignedCustodian/representedCustodianOrganization/name", "1198-5524"),
    ("telecom", "custodian/assignedCustodian/representedCustodianOrganization/telecom", "1198-5525"),
    ("addr", "custodian/assignedCustodian/representedCustodianOrganization/addr", "1198-5559"),
];

/// Compares a header with the rules.
pub(super) fn missing(root: Element<'_>) -> Vec<Missing> {
    let mut found = Vec::new();
    let mut lack = |path, conformance| {
        let one = Missing { path, conformance };
        // Two authors without an address are one thing to repair.
        if !found.contains(&one) {
            found.push(one);
        }
    };
    if !children(root, "realmCode").any(|realm| realm.attribute("code") == Some("US")) {
        lack("realmCode", "1198-16791");
    }
    type_id(root, &mut lack);
    if !children(root, "templateId").any(|template| template.attribute("root").map(str::trim) == Some(US_REALM_HEADER))
    {
        lack("templateId", "1198-5252");
    }
    each(root, TOP, &mut lack);
    if child(root, "code").is_some_and(|code| !specifies(code)) {
        lack("code/@code", "1198-9992");
    }
    if child(root, "recordTarget").is_none() {
        lack("recordTarget", "1198-5266");
    }
    for target in children(root, "recordTarget") {
        let Some(role) = child(target, "patientRole") else {
            lack("recordTarget/patientRole", "1198-5267");
            continue;
        };
        each(role, ROLE, &mut lack);
        if let Some(patient) = child(role, "patient") {
            each(patient, PATIENT, &mut lack);
        }
    }
    if child(root, "author").is_none() {
        lack("author", "1198-5444");
    }
    for author in children(root, "author") {
        each(author, AUTHOR, &mut lack);
        let Some(assigned) = child(author, "assignedAuthor") else { continue };
        each(assigned, ASSIGNED_AUTHOR, &mut lack);
        if child(assigned, "assignedPerson").is_none() && child(assigned, "assignedAuthoringDevice").is_none() {
            lack("author/assignedAuthor/assignedPerson", "1198-16790");
        }
    }
    custodian(root, &mut lack);
    found
}

fn each(parent: Element<'_>, rules: Rules, lack: &mut impl FnMut(&'static str, &'static str)) {
    for (local, path, conformance) in rules {
        if child(parent, local).is_none() {
            lack(path, conformance);
        }
    }
}

fn type_id(root: Element<'_>, lack: &mut impl FnMut(&'static str, &'static str)) {
    let Some(type_id) = child(root, "typeId") else { return lack("typeId", "1198-5361") };
    if type_id.attribute("root") != Some("2.16.840.1.113883.1.3") {
        lack("typeId/@root", "1198-5250");
    }
    if type_id.attribute("extension") != Some("POCD_HD000040") {
        lack("typeId/@extension", "1198-5251");
    }
}

fn custodian(root: Element<'_>, lack: &mut impl FnMut(&'static str, &'static str)) {
    let Some(custodian) = child(root, "custodian") else { return lack("custodian", "1198-5519") };
    let Some(assigned) = child(custodian, "assignedCustodian") else {
        return lack("custodian/assignedCustodian", "1198-5520");
    };
    match find(assigned, &["representedCustodianOrganization"]) {
        Some(organization) => each(organization, CUSTODIAN, lack),
        None => lack("custodian/assignedCustodian/representedCustodianOrganization", "1198-5521"),
    }
}

/// Whether a document code says which kind of document this is: a LOINC code is digits, a hyphen and a check digit, and
/// another text under LOINC's name says nothing.
fn specifies(code: Element<'_>) -> bool {
    const LOINC: &str = "2.16.840.1.113883.6.1";
    if code.attribute("nullFlavor").is_some() {
        return true;
    }
    let value = code.attribute("code").unwrap_or_default();
    let loinc = matches!(code.attribute("codeSystem"), None | Some("" | LOINC));
    match value.split_once('-') {
        _ if !loinc => !value.is_empty(),
        Some((number, check)) => {
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits(number) && number.len() <= 7 && digits(check) && check.len() == 1
        }
        None => false,
    }
}
