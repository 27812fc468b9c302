//! Composite data types as the types of `id`, both ways: CX, HD, XPN, XAD, XTN and TS (HL7 2.5 chapter 2A).

use smol_str::{SmolStr, format_smolstr};

use super::segment::{Composite, Content, Field, Repetition};
use crate::id::patient::TelecomSystem;
use crate::id::{Address, AssigningAuthority, DomainError, Domains, Dtm, IdError, PatientId, PersonName, Telecom};

/// HD: the name of an application or a facility.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hd {
    /// HD.1.
    pub namespace: SmolStr,
    /// HD.2.
    pub universal_id: SmolStr,
    /// HD.3.
    pub kind: SmolStr,
}

impl Hd {
    /// A local name.
    pub fn named(namespace: &str) -> Self {
        Self { namespace: namespace.into(), ..Self::default() }
    }

    /// Reads a field of this type.
    pub fn read(field: Field<'_>) -> Self {
        let part = |number| SmolStr::from(field.component(number).text().trim());
        Self { namespace: part(1), universal_id: part(2), kind: part(3) }
    }

    /// To be written.
    pub fn composite(&self) -> Composite {
        Composite::new(&[&self.namespace, &self.universal_id, &self.kind])
    }

    /// Names nothing.
    pub fn is_empty(&self) -> bool {
        self.namespace.is_empty() && self.universal_id.is_empty()
    }
}

/// CX: an identifier with its assigning authority as it was written (ITI TF-2: Appendix E.1).
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Cx {
    /// CX.1.
    pub id: SmolStr,
    /// CX.4.1.
    pub namespace: SmolStr,
    /// CX.4.2.
    pub universal_id: SmolStr,
    /// CX.4.3.
    pub universal_id_type: SmolStr,
    /// CX.5, HL7 table 0203: `MR`, `PI`, `SS`.
    pub type_code: SmolStr,
}

impl std::fmt::Debug for Cx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cx(…^^^{}&{}&{})", self.namespace, self.universal_id, self.universal_id_type)
    }
}

impl Cx {
    /// Reads one repetition.
    pub fn read(repetition: Repetition<'_>) -> Self {
        let authority = repetition.component(4);
        let trimmed = |text: std::borrow::Cow<'_, str>| SmolStr::from(text.trim());
        Self {
            id: trimmed(repetition.component(1).text()),
            namespace: trimmed(authority.subcomponent(1)),
            universal_id: trimmed(authority.subcomponent(2)),
            universal_id_type: trimmed(authority.subcomponent(3)),
            type_code: trimmed(repetition.component(5).text()),
        }
    }

    /// Component 4 is empty, `^^^&&` included.
    pub fn names_no_authority(&self) -> bool {
        self.namespace.is_empty() && self.universal_id.is_empty() && self.universal_id_type.is_empty()
    }

    /// The authority, if it is one known here.
    pub fn authority(&self, domains: &Domains) -> Result<AssigningAuthority, DomainError> {
        let domain = domains.resolve(&self.namespace, &self.universal_id, &self.universal_id_type)?;
        Ok(domain.authority.clone())
    }

    /// The identifier, for fields whose authority need not be one of ours: its own OID if it has one, else a domain
    /// known here by that name, else an authority that is local (`L`) to that name, else to `otherwise`.
    pub fn foreign(&self, domains: &Domains, otherwise: &str) -> Result<PatientId, IdError> {
        let authority = match self.authority(domains) {
            Ok(authority) => authority,
            Err(_) if !self.universal_id.is_empty() => {
                AssigningAuthority::new(&self.universal_id, &self.universal_id_type)?
            }
            Err(_) if !self.namespace.is_empty() => AssigningAuthority::new(&self.namespace, "L")?,
            Err(_) => AssigningAuthority::new(otherwise, "L")?,
        };
        PatientId::new(&self.id, authority)
    }

    /// An identifier with all three parts of its authority, as ITI TF-2: Appendix E.1.2 wants from a manager.
    pub fn write(id: &PatientId, domains: &Domains, type_code: &str) -> Composite {
        let (namespace, universal_id, kind) = domains.cx4(id.authority());
        // A local authority is a name, which belongs into the first part as well (Appendix E: `WARD3&WARD3&L`).
        let namespace = if namespace.is_empty() && kind == "L" { universal_id.clone() } else { namespace };
        Composite::new(&[id.id(), "", "", "", type_code]).with(4, &[&namespace, &universal_id, &kind])
    }
}

/// XPN: family, given, further given, suffix, prefix, degree, type.
pub fn read_name(repetition: Repetition<'_>) -> PersonName {
    let part = |number| value(repetition.component(number).text().trim());
    let further = part(3);
    let given = std::iter::once(part(2)).chain(further.split_whitespace().map(SmolStr::from));
    PersonName {
        family: part(1),
        given: given.filter(|name| !name.is_empty()).collect(),
        suffix: part(4),
        prefix: part(5),
        kind: part(7),
    }
}

/// XPN of a name.
pub fn write_name(name: &PersonName) -> Composite {
    let mut given = name.given.iter();
    let first = given.next().cloned().unwrap_or_default();
    let further = given.map(SmolStr::as_str).collect::<Vec<_>>().join(" ");
    Composite::new(&[&name.family, &first, &further, &name.suffix, &name.prefix, "", &name.kind])
}

/// XAD: street, other designation, city, state, postal code, country, type, other geographic designation, county.
pub fn read_address(repetition: Repetition<'_>) -> Address {
    let part = |number| value(repetition.component(number).text().trim());
    let lines = [value(&street(repetition)), part(2)];
    Address {
        lines: lines.into_iter().filter(|line| !line.is_empty()).collect(),
        city: part(3),
        state: part(4),
        postal_code: part(5),
        country: part(6),
        kind: part(7),
        county: part(9),
    }
}

/// XAD.1 is a SAD since 2.5: the whole line, then street name and house number again. Some senders put the house
/// number into the first part and the name into the second, and mean both.
fn street(repetition: Repetition<'_>) -> String {
    let component = repetition.component(1);
    let [line, name, number] = [1, 2, 3].map(|part| component.subcomponent(part).trim().to_owned());
    if name.is_empty() || line.contains(&name) {
        return if line.is_empty() { number } else { line };
    }
    let parts = if line.is_empty() { [number, name] } else { [line, name] };
    parts.join(" ").trim().to_owned()
}

/// XAD of an address. A third and further line join the second: the type has only two.
pub fn write_address(address: &Address) -> Composite {
    let mut lines = address.lines.iter();
    let first = lines.next().cloned().unwrap_or_default();
    let further = lines.map(SmolStr::as_str).collect::<Vec<_>>().join(", ");
    Composite::new(&[
        &first,
        &further,
        &address.city,
        &address.state,
        &address.postal_code,
        &address.country,
        &address.kind,
        "",
        &address.county,
    ])
}

/// XTN: formatted number, use, equipment, e-mail, country, area, number, extension; from 2.7 on also 12, the number
/// unformatted. None: nothing in it. `usage` is what the field says of itself (`PRN` in PID-13, `WPN` in PID-14).
pub fn read_telecom(repetition: Repetition<'_>, usage: &str) -> Option<Telecom> {
    let part = |number: usize| value(repetition.component(number).text().trim());
    let (told, equipment, email) = (part(2), part(3), part(4));
    let mail_use = told.eq_ignore_ascii_case("NET") || equipment.eq_ignore_ascii_case("INTERNET");
    let mut usage = if told.is_empty() { usage.into() } else { told };
    if !email.is_empty() || (mail_use && !part(1).is_empty()) {
        let address = if email.is_empty() { part(1) } else { email };
        let system = if address.contains('@') { TelecomSystem::Email } else { TelecomSystem::Other };
        return Some(Telecom { system, value: address, usage });
    }
    let system = match equipment.to_ascii_uppercase().as_str() {
        "FX" => TelecomSystem::Fax,
        "MD" | "X.400" => TelecomSystem::Other,
        "CP" => {
            // Table 0201 has no code for a mobile number, `PRS` (personal, from 2.7 on) is the nearest.
            if matches!(usage.as_str(), "" | "PRN") {
                usage = "PRS".into();
            }
            TelecomSystem::Phone
        }
        _ => TelecomSystem::Phone,
    };
    let (country, area, local, extension) = (part(5), part(6), part(7), part(8));
    let number = if !part(1).is_empty() {
        part(1)
    } else if !local.is_empty() {
        let plus = if country.is_empty() { "" } else { "+" };
        let numbers = [format_smolstr!("{plus}{}", country.trim_start_matches('+')), area, local];
        let joined: Vec<&str> = numbers.iter().map(SmolStr::as_str).filter(|part| !part.is_empty()).collect();
        let extension = if extension.is_empty() { extension } else { format_smolstr!(";ext={extension}") };
        format_smolstr!("{}{extension}", joined.join("-"))
    } else {
        part(12)
    };
    (!number.is_empty()).then_some(Telecom { system, value: number, usage })
}

/// XTN of a number or address.
pub fn write_telecom(telecom: &Telecom) -> Composite {
    let mobile = telecom.usage == "PRS";
    match telecom.system {
        TelecomSystem::Phone => Composite::new(&[&telecom.value, &telecom.usage, if mobile { "CP" } else { "PH" }]),
        TelecomSystem::Fax => Composite::new(&[&telecom.value, &telecom.usage, "FX"]),
        TelecomSystem::Email | TelecomSystem::Other => {
            Composite::new(&["", &telecom.usage, "Internet", &telecom.value])
        }
    }
}

/// TS: none of an empty field, an error if it is no date.
pub fn read_time(field: Field<'_>) -> Result<Option<Dtm>, crate::id::time::NotADate> {
    match field.content() {
        Content::Missing | Content::Empty | Content::Delete => Ok(None),
        Content::Value => Dtm::lenient(&field.text()).map(Some),
    }
}

/// A simple coded field: its first component, none if empty.
pub fn read_code(field: Field<'_>) -> Option<SmolStr> {
    let code = value(field.text().trim());
    (!code.is_empty()).then_some(code)
}

/// A `""` inside a larger value deletes that part, so it is no text.
fn value(text: &str) -> SmolStr {
    if text == "\"\"" { SmolStr::default() } else { text.into() }
}
