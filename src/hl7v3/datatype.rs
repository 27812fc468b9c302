//! Data types: II, TS, IVL_TS, CD, PN, AD and TEL, read leniently and written exactly.

use smol_str::{SmolStr, format_smolstr};

use super::{child, children};
use crate::id::patient::TelecomSystem;
use crate::id::{Address, AssigningAuthority, Domains, Dtm, Gender, IdError, Oid, PatientId, PersonName, Telecom};
use crate::xml::{Element, Writer};

/// AdministrativeGender.
const GENDER: &str = "2.16.840.1.113883.5.1";

/// II: an instance identifier. The root alone, an OID or a UUID, can be all of it.
#[derive(Clone, Default, Eq, Hash, PartialEq)]
pub struct Ii {
    /// `@root`.
    pub root: SmolStr,
    /// `@extension`; empty when there is none.
    pub extension: SmolStr,
}

impl std::fmt::Debug for Ii {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ii({}, …)", self.root)
    }
}

impl Ii {
    /// A root alone.
    pub fn root(root: &str) -> Self {
        Self { root: root.into(), extension: SmolStr::default() }
    }

    /// A root with an extension.
    pub fn new(root: &str, extension: &str) -> Self {
        Self { root: root.into(), extension: extension.into() }
    }

    /// Reads an element of this type. None: it has neither root nor extension.
    pub fn read(element: Element<'_>) -> Option<Self> {
        let attribute = |name| SmolStr::from(element.attribute(name).unwrap_or_default().trim());
        let (root, extension) = (attribute("root"), attribute("extension"));
        // Some partners write the URN form where a bare OID or UUID belongs.
        let bare = root.strip_prefix("urn:oid:").or_else(|| root.strip_prefix("urn:uuid:")).map(SmolStr::from);
        let root = bare.unwrap_or(root);
        (!root.is_empty() || !extension.is_empty()).then_some(Self { root, extension })
    }

    /// As a patient identifier: root and extension, or, where a sender has only the authority's name, that of a domain
    /// known here.
    pub fn patient_id(&self) -> Result<PatientId, IdError> {
        PatientId::new(&self.extension, AssigningAuthority::iso(&Oid::lenient(&self.root)?))
    }

    /// Writes it as an element of that name; an empty one becomes the null flavour NA. One that came without a root
    /// keeps its extension: an answer must name the message as its sender did.
    pub fn write(&self, writer: &mut Writer, name: &'static str) {
        writer.start(name);
        if *self == Self::default() {
            writer.attribute("nullFlavor", "NA");
        }
        for (attribute, value) in [("root", &self.root), ("extension", &self.extension)] {
            writer.attribute_if(attribute, Some(value.as_str()).filter(|value| !value.is_empty()));
        }
        writer.end();
    }
}

/// Reads a patient identifier, by `@root` or, if that is missing, by `@assigningAuthorityName`.
pub fn read_patient_id(element: Element<'_>, domains: &Domains) -> Result<PatientId, IdError> {
    let name = element.attribute("assigningAuthorityName").unwrap_or_default();
    let ii = Ii::read(element).ok_or(IdError::Empty)?;
    if ii.root.is_empty() {
        let domain = domains.resolve(name, "", "").map_err(|_| IdError::NoAuthority)?;
        return PatientId::new(&ii.extension, domain.authority.clone());
    }
    ii.patient_id()
}

/// Writes a patient identifier; nothing if its authority has no OID, because II cannot say it.
pub fn write_patient_id(writer: &mut Writer, name: &'static str, id: &PatientId) {
    if let Some(oid) = id.authority().oid() {
        Ii::new(oid.as_str(), id.id()).write(writer, name);
    }
}

/// TS: `@value`, or, as one live partner does it, the text. Digits or ISO 8601.
pub fn read_time(element: Element<'_>) -> Option<Dtm> {
    match element.attribute("value") {
        Some(value) => Dtm::lenient(value).ok(),
        None => Dtm::lenient(&element.trimmed()).ok(),
    }
}

/// IVL_TS as one value of as much precision as the interval allows: from 19620101 to 19621231 is 1962.
pub fn read_interval(element: Element<'_>) -> Option<Dtm> {
    if let Some(value) = read_time(element).or_else(|| child(element, "center").and_then(read_time)) {
        return Some(value);
    }
    let bound = |name| child(element, name).and_then(read_time);
    match (bound("low"), bound("high")) {
        (Some(low), Some(high)) if low == high => Some(low),
        (Some(low), Some(high)) => [8, 6, 4].into_iter().find_map(|digits| {
            let same = low.as_str().get(..digits)? == high.as_str().get(..digits)?;
            same.then(|| low.as_str()[..digits].parse().ok()).flatten()
        }),
        _ => None,
    }
}

/// Writes a TS.
pub fn write_time(writer: &mut Writer, name: &'static str, time: &Dtm) {
    writer.start(name).attribute("value", time.as_str()).end();
}

/// A coded value's code: `@code`, or the text where a partner writes it there.
pub fn read_code(element: Element<'_>) -> Option<SmolStr> {
    let code = match element.attribute("code") {
        Some(code) => SmolStr::from(code.trim()),
        None => SmolStr::from(element.trimmed().as_ref()),
    };
    (!code.is_empty()).then_some(code)
}

/// Writes a coded value, with its system unless that is empty. A code cannot contain white space (schema type `cs`),
/// so one that does is left out.
pub fn write_code(writer: &mut Writer, name: &'static str, code: &str, system: &str) {
    if code.is_empty() || code.contains(char::is_whitespace) {
        return;
    }
    writer.start(name).attribute("code", code);
    writer.attribute_if("codeSystem", (!system.is_empty()).then_some(system)).end();
}

/// Writes AdministrativeGender; nothing when it is unknown.
pub fn write_gender(writer: &mut Writer, name: &'static str, gender: Option<Gender>) {
    if let Some(code) = gender.and_then(Gender::v3) {
        write_code(writer, name, code, GENDER);
    }
}

/// BL: `@value` or text.
pub fn read_bool(element: Element<'_>) -> Option<bool> {
    let text = element.attribute("value").map_or_else(|| element.trimmed().into_owned(), str::to_owned);
    match text.trim() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// PN. Text outside the parts is ignored, as one sender leaves markup there; a name that is nothing but text is taken
/// for a family name.
pub fn read_name(element: Element<'_>) -> PersonName {
    let part = |one: Element<'_>| SmolStr::from(one.trimmed().as_ref());
    let first = |local| child(element, local).map(part).unwrap_or_default();
    let maiden = children(element, "family").any(|family| family.attribute("qualifier").is_some_and(has_birth));
    let usage = element.attribute("use").unwrap_or_default();
    let mut kind = usage.split_whitespace().find_map(|code| match code {
        "L" | "OR" => Some("L"),
        "A" => Some("A"),
        "P" => Some("S"),
        _ => None,
    });
    if maiden {
        kind = Some("M");
    }
    let family = if element.children().next().is_none() { part(element) } else { first("family") };
    PersonName {
        family,
        given: children(element, "given").map(part).filter(|given| !given.is_empty()).collect(),
        suffix: first("suffix"),
        prefix: first("prefix"),
        kind: kind.unwrap_or_default().into(),
    }
}

fn has_birth(qualifiers: &str) -> bool {
    qualifiers.split_whitespace().any(|qualifier| qualifier == "BR")
}

/// Writes a PN as an element of that name.
pub fn write_name(writer: &mut Writer, element: &'static str, name: &PersonName) {
    writer.start(element);
    match name.kind.as_str() {
        "L" => drop(writer.attribute("use", "L")),
        "A" => drop(writer.attribute("use", "A")),
        "S" => drop(writer.attribute("use", "P")),
        _ => {}
    }
    write_name_parts(writer, name);
    writer.end();
}

/// Writes what is in a PN, for whoever writes its attributes.
pub fn write_name_parts(writer: &mut Writer, name: &PersonName) {
    let part = |writer: &mut Writer, element, text: &SmolStr| {
        if !text.is_empty() {
            writer.leaf(element, text);
        }
    };
    part(writer, "prefix", &name.prefix);
    for given in &name.given {
        part(writer, "given", given);
    }
    if !name.family.is_empty() {
        writer.start("family");
        // Table 0200: M maiden name, B name at birth.
        if matches!(name.kind.as_str(), "M" | "B") {
            writer.attribute("qualifier", "BR");
        }
        writer.text(&name.family).end();
    }
    part(writer, "suffix", &name.suffix);
}

/// AD. A street may come as lines or as name and number.
pub fn read_address(element: Element<'_>) -> Address {
    let first = |local| child(element, local).map(|one| SmolStr::from(one.trimmed().as_ref())).unwrap_or_default();
    let mut lines: Vec<SmolStr> = Vec::new();
    for line in element.children().filter(|one| matches!(one.local_name(), "streetAddressLine" | "deliveryAddressLine"))
    {
        let text = SmolStr::from(line.trimmed().as_ref());
        // Lines repeated by a sender say nothing twice.
        if !text.is_empty() && !lines.contains(&text) {
            lines.push(text);
        }
    }
    if lines.is_empty() {
        let street = format_smolstr!("{} {}", first("houseNumber"), first("streetName"));
        lines.extend(Some(SmolStr::from(street.trim())).filter(|street| !street.is_empty()));
        lines.extend(Some(first("additionalLocator")).filter(|line| !line.is_empty()));
    } else if let number = first("houseNumber")
        && !number.is_empty()
    {
        lines[0] = format_smolstr!("{number} {}", lines[0]);
    }
    let usage = element.attribute("use").unwrap_or_default();
    let kind = usage.split_whitespace().find_map(|code| match code {
        "H" | "HP" | "HV" => Some("H"),
        "WP" | "DIR" | "PUB" => Some("B"),
        "BAD" => Some("BA"),
        "TMP" => Some("C"),
        "PST" => Some("M"),
        _ => None,
    });
    Address {
        lines,
        city: first("city"),
        state: first("state"),
        postal_code: first("postalCode"),
        country: first("country"),
        county: first("county"),
        kind: kind.unwrap_or_default().into(),
    }
}

/// Writes an AD as an element of that name.
pub fn write_address(writer: &mut Writer, element: &'static str, address: &Address) {
    writer.start(element);
    let usage = match address.kind.as_str() {
        "H" => Some("H"),
        "B" | "O" => Some("WP"),
        "BA" => Some("BAD"),
        "C" => Some("TMP"),
        "M" => Some("PST"),
        _ => None,
    };
    writer.attribute_if("use", usage);
    for line in &address.lines {
        writer.leaf("streetAddressLine", line);
    }
    for (name, text) in [
        ("city", &address.city),
        ("state", &address.state),
        ("postalCode", &address.postal_code),
        ("country", &address.country),
        ("county", &address.county),
    ] {
        if !text.is_empty() {
            writer.leaf(name, text);
        }
    }
    writer.end();
}

/// TEL: a URI, or the bare number that some partners send. None: there is no value.
pub fn read_telecom(element: Element<'_>) -> Option<Telecom> {
    let value = element.attribute("value").unwrap_or_default().trim();
    let (scheme, rest) = match value.split_once(':') {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => (scheme, rest),
        _ => ("", value),
    };
    let (system, text) = match scheme.to_ascii_lowercase().as_str() {
        "tel" => (TelecomSystem::Phone, rest),
        "fax" | "x-text-fax" => (TelecomSystem::Fax, rest),
        "mailto" => (TelecomSystem::Email, rest),
        "" if value.contains('@') => (TelecomSystem::Email, value),
        "" => (TelecomSystem::Phone, value),
        _ => (TelecomSystem::Other, value),
    };
    let usage = element.attribute("use").unwrap_or_default();
    let usage = usage.split_whitespace().find_map(|code| match code {
        "H" | "HP" => Some("PRN"),
        "HV" => Some("VHN"),
        "WP" | "DIR" | "PUB" => Some("WPN"),
        "MC" => Some("PRS"),
        "PG" => Some("BPN"),
        "EC" => Some("EMR"),
        "AS" => Some("ASN"),
        _ => None,
    });
    let text = text.trim();
    let usage = usage.unwrap_or(if system == TelecomSystem::Email { "NET" } else { "" });
    (!text.is_empty()).then(|| Telecom { system, value: text.into(), usage: usage.into() })
}

/// Writes a TEL as an element of that name. White space cannot be in a URI and separates nothing in a number.
pub fn write_telecom(writer: &mut Writer, element: &'static str, telecom: &Telecom) {
    let bare: String = telecom.value.split_whitespace().collect();
    let uri = match telecom.system {
        TelecomSystem::Phone => format!("tel:{bare}"),
        TelecomSystem::Fax => format!("fax:{bare}"),
        TelecomSystem::Email => format!("mailto:{bare}"),
        TelecomSystem::Other => bare,
    };
    let usage = match telecom.usage.as_str() {
        "PRN" | "ORN" => Some("HP"),
        "VHN" => Some("HV"),
        "WPN" => Some("WP"),
        "PRS" => Some("MC"),
        "BPN" => Some("PG"),
        "EMR" => Some("EC"),
        "ASN" => Some("AS"),
        _ => None,
    };
    writer.start(element).attribute("value", &uri).attribute_if("use", usage).end();
}
