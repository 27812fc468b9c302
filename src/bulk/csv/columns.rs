//! The columns of a table of patients, under our names and those that others use.
//!
//! A column that can be there more than once is numbered from the second on: `family_2`. Names are compared without
//! capitals; spaces, hyphens and underscores are the same.

use std::collections::BTreeMap;

use super::HeaderError;

/// The most that a column is numbered.
const MOST: u8 = 9;

macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident = $name:literal, written $times:literal, also $also:expr;)*) => {
        /// What a column tells.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub enum Field {
            $($(#[$doc])* $field,)*
            /// Nothing that is taken in.
            Ignored,
        }

        impl Field {
            /// Each with its name, how often we write it, and other names for it.
            const ALL: &[(Self, &'static str, u8, &'static [&'static str])] = &[$((Self::$field, $name, $times, &$also),)*];
        }
    };
}

fields! {
    /// What the row says: `add` (the default), `merge`, `change-id`, `link`, `unlink`.
    Action = "action", written 1, also [];
    /// The patient's identifier at the source. More identifiers of the same record are numbered.
    Id = "id", written 3, also ["patient_id", "mrn", "medical_record_number", "patient_identifier", "local_id", "rec_id"];
    /// Its domain: the namespace, the OID or another universal id. May be left out where the source has one domain.
    Domain = "domain", written 3, also ["assigning_authority", "id_domain"];
    /// The identifier that is replaced (`merge`, `change-id`), or the second of two (`link`, `unlink`).
    OtherId = "other_id", written 1, also [];
    /// Its domain.
    OtherDomain = "other_domain", written 1, also [];
    /// Family name.
    Family = "family", written 2, also ["last", "last_name", "family_name", "surname", "lastname"];
    /// First given name.
    Given = "given", written 2, also ["first", "first_name", "given_name", "firstname", "forename"];
    /// The other given names, separated by spaces.
    Middle = "middle", written 2, also ["middle_name", "middle_names", "middlename", "middle_initial"];
    /// `Jr`, `III`.
    Suffix = "suffix", written 2, also ["name_suffix"];
    /// `Dr`.
    Prefix = "prefix", written 2, also ["name_prefix"];
    /// HL7 table 0200: `L` legal, `M` maiden, `A` alias.
    NameType = "name_type", written 2, also [];
    /// Date of birth.
    Birth = "birth_date", written 1, also ["dob", "birthdate", "date_of_birth", "birth"];
    /// `F`, `M`, `O`, `U`, or the words.
    Gender = "gender", written 1, also ["sex", "administrative_gender"];
    /// US social security number.
    Ssn = "ssn", written 1, also ["social_security_number", "soc_sec_id", "social_security"];
    /// First line of the address.
    Street = "street", written 2, also ["address", "address_1", "address1", "address_line_1", "address_line1", "street_address"];
    /// Second line of the address.
    Unit = "unit", written 2, also ["address_2", "address2", "address_line_2", "address_line2"];
    /// City.
    City = "city", written 2, also ["town"];
    /// State or province.
    State = "state", written 2, also ["province"];
    /// Postal code, as text: leading zeros count.
    PostalCode = "postal_code", written 2, also ["zip", "zip_code", "zipcode", "postcode"];
    /// Country.
    Country = "country", written 2, also [];
    /// County or parish.
    County = "county", written 2, also ["parish"];
    /// HL7 table 0190: `H` home, `B` business.
    AddressType = "address_type", written 2, also [];
    /// Telephone number.
    Phone = "phone", written 3, also ["phone_number", "telephone", "home_phone"];
    /// HL7 table 0201: `PRN` home, `WPN` work.
    PhoneType = "phone_type", written 3, also [];
    /// Telephone number at work.
    WorkPhone = "work_phone", written 0, also ["business_phone"];
    /// Mobile telephone number.
    Mobile = "mobile", written 0, also ["cell", "cell_phone", "mobile_phone"];
    /// E-mail address.
    Email = "email", written 1, also ["e_mail", "email_address"];
    /// Mother's maiden name.
    MothersMaidenName = "mothers_maiden_name", written 1, also ["mother_maiden_name"];
    /// `Y` or `N`: born with siblings.
    Multiple = "multiple_birth", written 1, also [];
    /// Place in the order of birth.
    BirthOrder = "birth_order", written 1, also [];
    /// Place of birth.
    BirthPlace = "birth_place", written 1, also [];
    /// Date of death.
    Death = "death_date", written 1, also ["date_of_death", "deceased_date", "dod"];
    /// `Y` or `N`.
    Deceased = "deceased", written 1, also ["is_deceased"];
    /// HL7 table 0002.
    Marital = "marital_status", written 1, also ["marital"];
    /// Preferred language.
    Language = "language", written 1, also ["preferred_language"];
    /// Race code.
    Race = "race", written 1, also [];
    /// Ethnic group code.
    Ethnicity = "ethnicity", written 1, also [];
    /// `Y`: the identity is not reliable yet.
    IdentityUnknown = "identity_unknown", written 1, also [];
    /// When this was so, in RFC 3339.
    Updated = "updated", written 1, also ["last_updated"];
    /// The whole record in our own JSON, where the other columns cannot carry it. They must not contradict it.
    Record = "record", written 1, also [];
}

/// A column.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Column {
    /// What it tells.
    pub field: Field,
    /// The how-manieth of its kind, from 1.
    pub number: u8,
}

impl Column {
    /// A column of which there is one, or the first of several.
    pub fn first(field: Field) -> Self {
        Self { field, number: 1 }
    }

    /// Its name in tables that we write.
    pub fn name(self) -> String {
        let name = Field::ALL.iter().find(|(field, ..)| *field == self.field).map_or("", |(_, name, ..)| *name);
        if self.number == 1 { name.to_owned() } else { format!("{name}_{}", self.number) }
    }

    /// The column of a name; none if there is no such field.
    fn named(name: &str) -> Option<Self> {
        let name = simplified(name);
        let whole = |name: &str| {
            let is = |(_, ours, _, also): &&(Field, &str, u8, &[&str])| *ours == name || also.contains(&name);
            Field::ALL.iter().find(is).map(|(field, ..)| *field)
        };
        if let Some(field) = whole(&name) {
            return Some(Self::first(field));
        }
        let (base, number) = name.rsplit_once('_')?;
        let number: u8 = number.parse().ok().filter(|number| (1..=MOST).contains(number))?;
        let field = whole(base)?;
        let times = Field::ALL.iter().find(|(one, ..)| *one == field).map_or(1, |(_, _, times, _)| *times);
        (times != 1 || number == 1).then_some(Self { field, number })
    }
}

/// Small letters and digits with single underscores between.
fn simplified(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

/// The columns of tables that we write, in their order.
pub fn written() -> impl Iterator<Item = Column> {
    let times = Field::ALL.iter().map(|(field, _, times, _)| (*field, *times));
    times.flat_map(|(field, times)| (1..=times).map(move |number| Column { field, number }))
}

/// What the columns of a file are, by their names and by what the operator said.
pub fn named(names: &[String], said: &BTreeMap<String, String>) -> Result<Vec<Column>, HeaderError> {
    if let Some(absent) = said.keys().find(|name| !names.contains(name)) {
        return Err(HeaderError::Absent(absent.clone()));
    }
    let (mut columns, mut unknown) = (Vec::with_capacity(names.len()), Vec::new());
    for name in names {
        let column = match said.get(name).map(|field| field.trim()) {
            Some("") => Some(Column::first(Field::Ignored)),
            Some(field) => Some(Column::named(field).ok_or_else(|| HeaderError::NoField(field.to_owned()))?),
            None => Column::named(name),
        };
        match column {
            Some(column) if column.field != Field::Ignored && columns.contains(&column) => {
                return Err(HeaderError::Twice(column.name()));
            }
            Some(column) => columns.push(column),
            None => unknown.push(name.clone()),
        }
    }
    if !unknown.is_empty() {
        return Err(HeaderError::Unknown(unknown));
    }
    if !columns.contains(&Column::first(Field::Id)) {
        return Err(HeaderError::NoId);
    }
    Ok(columns)
}
