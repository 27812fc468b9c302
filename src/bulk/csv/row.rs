//! A row of a table as what a feed would say, both ways.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::columns::{Column, Field};
use crate::bulk::{Rules, Told};
use crate::id::patient::{MultipleBirth, TelecomSystem};
use crate::id::{
    Address, AssigningAuthority, Demographics, DomainError, Domains, Dtm, Gender, IdError, PatientId, PersonName,
    Telecom, Timestamp,
};
use crate::mpi::normalize::SSN_OID;
use crate::pix::feed_v2::{FeedRequest, Pair};

/// The values of a row that are not empty.
pub type Values = BTreeMap<Column, String>;

/// How dates are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Dates {
    /// `1987-03-12`, `19870312`.
    #[default]
    Iso,
    /// `03/12/1987`.
    Mdy,
    /// `12.03.1987`.
    Dmy,
}

/// Why a row was not read. Names columns, never values.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RowError {
    /// A delimiter too many, or too few.
    #[error("{found} fields where the table has {expected} columns")]
    Fields {
        /// Columns.
        expected: usize,
        /// Fields.
        found: usize,
    },
    /// `id` is empty, or another identifier that the action needs.
    #[error("{0} is empty")]
    Empty(String),
    /// Not an identifier.
    #[error("{column}: {cause}")]
    Identifier {
        /// Where.
        column: String,
        /// What is wrong.
        cause: IdError,
    },
    /// Not a domain known here.
    #[error("{column}: {cause}")]
    Domain {
        /// Where.
        column: String,
        /// What is wrong.
        cause: DomainError,
    },
    /// Not a date in the form that was told.
    #[error("{0} is no date of the form that --dates tells")]
    Date(String),
    /// A code that is none.
    #[error("{0} has a value that is not known")]
    Code(String),
    /// `record` is not what we wrote.
    #[error("record is no record of ours")]
    Record,
    /// `record` says something else than the other columns.
    #[error("record contradicts the other columns; empty it where those are right")]
    Contradiction,
}

/// Reads a row.
pub fn decode(values: &Values, rules: &Rules) -> Result<Told, RowError> {
    let reader = Reader { values, rules };
    let at = match reader.text(Field::Updated) {
        Some(text) => Some(Timestamp::from_rfc3339(text).ok_or_else(|| RowError::Date(name(Field::Updated)))?),
        None => None,
    };
    let change = match reader.text(Field::Action).map(str::to_lowercase).as_deref() {
        None | Some("add") => FeedRequest::Add { ids: reader.ids()?, demographics: Box::new(reader.demographics()?) },
        Some("merge") => FeedRequest::Merge(vec![reader.pair()?]),
        Some("change-id") => FeedRequest::ChangeId(vec![reader.pair()?]),
        Some(action @ ("link" | "unlink")) => {
            let Pair { survivor, subsumed } = reader.pair()?;
            match action {
                "link" => FeedRequest::Link(survivor, subsumed),
                _ => FeedRequest::Unlink(survivor, subsumed),
            }
        }
        Some(_) => return Err(RowError::Code(name(Field::Action))),
    };
    Ok(Told { at, ..Told::new(change) })
}

fn name(field: Field) -> String {
    Column::first(field).name()
}

struct Reader<'r> {
    values: &'r Values,
    rules: &'r Rules,
}

impl<'r> Reader<'r> {
    fn nth(&self, field: Field, number: u8) -> Option<&'r str> {
        self.values.get(&Column { field, number }).map(String::as_str)
    }

    fn text(&self, field: Field) -> Option<&'r str> {
        self.nth(field, 1)
    }

    /// The numbers under which any of some fields are there.
    fn numbers(&self, fields: &[Field]) -> impl Iterator<Item = u8> + use<> {
        let last = self.values.keys().filter(|column| fields.contains(&column.field)).map(|column| column.number).max();
        1..=last.unwrap_or(0)
    }

    fn ids(&self) -> Result<Vec<PatientId>, RowError> {
        let found = self.numbers(&[Field::Id]).filter_map(|number| self.id(Field::Id, Field::Domain, number));
        let ids = found.collect::<Result<Vec<_>, _>>()?;
        if ids.is_empty() { Err(RowError::Empty(name(Field::Id))) } else { Ok(ids) }
    }

    fn pair(&self) -> Result<Pair, RowError> {
        let needed = |field, domain| self.id(field, domain, 1).unwrap_or_else(|| Err(RowError::Empty(name(field))));
        Ok(Pair { survivor: needed(Field::Id, Field::Domain)?, subsumed: needed(Field::OtherId, Field::OtherDomain)? })
    }

    fn id(&self, field: Field, domain: Field, number: u8) -> Option<Result<PatientId, RowError>> {
        let text = self.nth(field, number)?;
        let column = || Column { field, number }.name();
        let authority = match self.nth(domain, number) {
            Some(domain) => authority(domain, &self.rules.domains),
            None => self.rules.default_authority.clone().ok_or(DomainError::Missing),
        };
        let authority = authority.map_err(|cause| RowError::Domain { column: column(), cause });
        Some(authority.and_then(|authority| {
            PatientId::new(text, authority).map_err(|cause| RowError::Identifier { column: column(), cause })
        }))
    }

    fn demographics(&self) -> Result<Demographics, RowError> {
        let flat = self.flat()?;
        let Some(record) = self.text(Field::Record) else { return Ok(flat) };
        let record: Demographics = serde_json::from_str(record).map_err(|_| RowError::Record)?;
        // The other columns may say less than the record, and nothing else: compared in the form that we write them.
        let ours = written(&record);
        let agrees = |(column, value): (&Column, &String)| {
            !is_flat(column.field) || ours.get(column).is_some_and(|own| own == value)
        };
        if self.values.iter().all(agrees) { Ok(record) } else { Err(RowError::Contradiction) }
    }

    /// Demographics of the columns by themselves.
    fn flat(&self) -> Result<Demographics, RowError> {
        let owned = |field: Field| self.text(field).map(Into::into);
        let other_ids = match self.text(Field::Ssn) {
            Some(ssn) => {
                let cause = |cause| RowError::Identifier { column: name(Field::Ssn), cause };
                vec![AssigningAuthority::new(SSN_OID, "ISO").and_then(|us| PatientId::new(ssn, us)).map_err(cause)?]
            }
            None => Vec::new(),
        };
        let gender = self.text(Field::Gender);
        let gender = gender.map(|code| Gender::from_wire(code).ok_or_else(|| RowError::Code(name(Field::Gender))));
        Ok(Demographics {
            names: self.names(),
            gender: gender.transpose()?,
            birth: self.date(Field::Birth)?,
            addresses: self.addresses(),
            telecoms: self.telecoms(),
            mothers_maiden_name: self.text(Field::MothersMaidenName).map(|family| PersonName::new(family, &[])),
            other_ids,
            birth_place: owned(Field::BirthPlace),
            multiple_birth: self.multiple_birth()?,
            death: self.date(Field::Death)?,
            deceased: self.yes_no(Field::Deceased)?,
            marital_status: owned(Field::Marital),
            language: owned(Field::Language),
            race: owned(Field::Race),
            ethnicity: owned(Field::Ethnicity),
            identity_unknown: self.yes_no(Field::IdentityUnknown)? == Some(true),
            ..Demographics::default()
        })
    }

    fn names(&self) -> Vec<PersonName> {
        let fields = [Field::Family, Field::Given, Field::Middle];
        let name = |number| {
            let part = |field| self.nth(field, number).unwrap_or_default();
            let middle = part(Field::Middle).split_whitespace();
            let given: Vec<&str> = std::iter::once(part(Field::Given)).chain(middle).collect();
            PersonName {
                suffix: part(Field::Suffix).into(),
                prefix: part(Field::Prefix).into(),
                kind: part(Field::NameType).into(),
                ..PersonName::new(part(Field::Family), &given)
            }
        };
        self.numbers(&fields).map(name).filter(|name| !name.is_empty()).collect()
    }

    fn addresses(&self) -> Vec<Address> {
        let fields = [Field::Street, Field::Unit, Field::City, Field::State, Field::PostalCode, Field::Country];
        let address = |number| {
            let part = |field| self.nth(field, number).unwrap_or_default();
            let lines = [Field::Street, Field::Unit].into_iter().filter_map(|field| self.nth(field, number));
            Address {
                lines: lines.map(Into::into).collect(),
                city: part(Field::City).into(),
                state: part(Field::State).into(),
                postal_code: part(Field::PostalCode).into(),
                country: part(Field::Country).into(),
                county: part(Field::County).into(),
                kind: part(Field::AddressType).into(),
            }
        };
        self.numbers(&fields).map(address).filter(|address| !address.is_empty()).collect()
    }

    fn telecoms(&self) -> Vec<Telecom> {
        let phone = |value: &str, usage: &str| Telecom {
            system: TelecomSystem::Phone,
            value: value.into(),
            usage: usage.into(),
        };
        let mut telecoms: Vec<Telecom> = self
            .numbers(&[Field::Phone])
            .filter_map(|number| {
                Some(phone(self.nth(Field::Phone, number)?, self.nth(Field::PhoneType, number).unwrap_or_default()))
            })
            .collect();
        for (field, usage) in [(Field::WorkPhone, "WPN"), (Field::Mobile, "PRS")] {
            telecoms.extend(self.text(field).map(|value| phone(value, usage)));
        }
        telecoms.extend(self.text(Field::Email).map(|value| Telecom {
            system: TelecomSystem::Email,
            value: value.into(),
            usage: "".into(),
        }));
        telecoms
    }

    fn multiple_birth(&self) -> Result<Option<MultipleBirth>, RowError> {
        let order = self.text(Field::BirthOrder).map(str::parse::<u8>).transpose();
        let order = order.map_err(|_| RowError::Code(name(Field::BirthOrder)))?;
        Ok(match (self.yes_no(Field::Multiple)?, order) {
            (None, None) => None,
            (multiple, order) => Some(MultipleBirth { multiple: multiple.unwrap_or(true), order }),
        })
    }

    fn yes_no(&self, field: Field) -> Result<Option<bool>, RowError> {
        match self.text(field).map(str::to_lowercase).as_deref() {
            None => Ok(None),
            Some("y" | "yes" | "true" | "1") => Ok(Some(true)),
            Some("n" | "no" | "false" | "0") => Ok(Some(false)),
            Some(_) => Err(RowError::Code(name(field))),
        }
    }

    fn date(&self, field: Field) -> Result<Option<Dtm>, RowError> {
        let Some(text) = self.text(field) else { return Ok(None) };
        let date = match self.rules.table.dates {
            Dates::Iso => Dtm::lenient(text).ok(),
            Dates::Mdy => in_order(text, [2, 0, 1]),
            Dates::Dmy => in_order(text, [2, 1, 0]),
        };
        // What a spreadsheet left as it should be is read whatever was told.
        date.or_else(|| Dtm::lenient(text).ok()).map(Some).ok_or_else(|| RowError::Date(name(field)))
    }
}

/// A date of three numbers, with the places of year, month and day. Two digits of a year could be of either century.
fn in_order(text: &str, places: [usize; 3]) -> Option<Dtm> {
    let date = text.split([' ', 'T']).next().unwrap_or_default();
    let parts: Vec<&str> = date.split(['/', '.', '-']).collect();
    let [year, month, day] = places.map(|place| parts.get(place).copied().unwrap_or_default());
    let fits = parts.len() == 3 && year.len() == 4 && (1..=2).contains(&month.len()) && (1..=2).contains(&day.len());
    fits.then(|| format!("{year}{month:0>2}{day:0>2}").parse().ok()).flatten()
}

/// A domain by its namespace, its OID or another universal id.
fn authority(text: &str, domains: &Domains) -> Result<AssigningAuthority, DomainError> {
    let universal = text.strip_prefix("urn:oid:").unwrap_or(text);
    let is = |domain: &&crate::id::Domain| domain.namespace == text || domain.authority.universal_id() == universal;
    domains.iter().find(is).map(|domain| domain.authority.clone()).ok_or(DomainError::Unknown)
}

/// Whether a column is of the demographics, told one value at a time.
fn is_flat(field: Field) -> bool {
    use Field::{Action, Domain, Id, Ignored, OtherDomain, OtherId, Record, Updated};
    !matches!(field, Action | Id | Domain | OtherId | OtherDomain | Updated | Record | Ignored)
}

/// The rows of a change. The last identifiers of a record with many are on rows of their own.
pub fn encode(change: &FeedRequest, at: Timestamp, rules: &Rules) -> Vec<Values> {
    let mut row = Values::new();
    put(&mut row, Field::Updated, 1, &at.to_rfc3339());
    let both = |row: &mut Values, action: &str, one: &PatientId, other: &PatientId| {
        put(row, Field::Action, 1, action);
        put_id(row, (Field::Id, Field::Domain), 1, one, rules);
        put_id(row, (Field::OtherId, Field::OtherDomain), 1, other, rules);
    };
    match change {
        FeedRequest::Add { ids, demographics } => {
            let mut values = written(demographics);
            let read = Reader { values: &values, rules: &Rules::default() }.flat();
            if read.as_ref() != Ok(demographics) {
                let record = serde_json::to_string(demographics).unwrap_or_default();
                put(&mut values, Field::Record, 1, &record);
            }
            row.append(&mut values);
            return spread(&row, ids, rules);
        }
        FeedRequest::Merge(pairs) => pairs.iter().for_each(|p| both(&mut row, "merge", &p.survivor, &p.subsumed)),
        FeedRequest::ChangeId(pairs) => {
            pairs.iter().for_each(|p| both(&mut row, "change-id", &p.survivor, &p.subsumed));
        }
        FeedRequest::Link(a, b) => both(&mut row, "link", a, b),
        FeedRequest::Unlink(a, b) => both(&mut row, "unlink", a, b),
        FeedRequest::Revise { ids, revision, .. } => {
            let whole = FeedRequest::Add { ids: ids.clone(), demographics: Box::new(revision.demographics.clone()) };
            return encode(&whole, at, rules);
        }
    }
    vec![row]
}

/// Each row names the first identifier, so that all are of one record.
fn spread(row: &Values, ids: &[PatientId], rules: &Rules) -> Vec<Values> {
    let Some((first, others)) = ids.split_first() else { return Vec::new() };
    let mut groups: Vec<&[PatientId]> = others.chunks(2).collect();
    if groups.is_empty() {
        groups.push(&[]);
    }
    let one = |group: &&[PatientId]| {
        let mut row = row.clone();
        for (number, id) in (1..).zip(std::iter::once(first).chain(group.iter())) {
            put_id(&mut row, (Field::Id, Field::Domain), number, id, rules);
        }
        row
    };
    groups.iter().map(one).collect()
}

/// White space around a value is lost in a table, so it is not written; what it matters to has `record`.
fn put(row: &mut Values, field: Field, number: u8, value: &str) {
    let value = value.trim();
    if !value.is_empty() {
        row.insert(Column { field, number }, value.to_owned());
    }
}

fn put_id(row: &mut Values, (field, domain): (Field, Field), number: u8, id: &PatientId, rules: &Rules) {
    put(row, field, number, id.id());
    let known = rules.domains.of(id.authority()).map(|domain| domain.namespace.as_str());
    let name = known.filter(|name| !name.is_empty()).unwrap_or(id.authority().universal_id());
    put(row, domain, number, name);
}

/// Demographics in columns, as far as there are columns.
fn written(person: &Demographics) -> Values {
    let mut row = Values::new();
    for (number, name) in (1..=2).zip(&person.names) {
        put(&mut row, Field::Family, number, &name.family);
        put(&mut row, Field::Given, number, name.given.first().map(|given| given.as_str()).unwrap_or_default());
        put(&mut row, Field::Middle, number, &name.given.get(1..).unwrap_or_default().join(" "));
        put(&mut row, Field::Suffix, number, &name.suffix);
        put(&mut row, Field::Prefix, number, &name.prefix);
        put(&mut row, Field::NameType, number, &name.kind);
    }
    for (number, address) in (1..=2).zip(&person.addresses) {
        for (field, line) in [Field::Street, Field::Unit].into_iter().zip(&address.lines) {
            put(&mut row, field, number, line);
        }
        let parts = [
            (Field::City, &address.city),
            (Field::State, &address.state),
            (Field::PostalCode, &address.postal_code),
            (Field::Country, &address.country),
            (Field::County, &address.county),
            (Field::AddressType, &address.kind),
        ];
        parts.into_iter().for_each(|(field, value)| put(&mut row, field, number, value));
    }
    let of = |system| person.telecoms.iter().filter(move |telecom| telecom.system == system);
    for (number, telecom) in (1..=3).zip(of(TelecomSystem::Phone)) {
        put(&mut row, Field::Phone, number, &telecom.value);
        put(&mut row, Field::PhoneType, number, &telecom.usage);
    }
    let yes_no = |value: Option<bool>| value.map_or("", |yes| if yes { "Y" } else { "N" });
    let text = |value: &Option<smol_str::SmolStr>| value.as_deref().unwrap_or_default().to_owned();
    let date = |value: &Option<Dtm>| value.as_ref().map(|dtm| dtm.as_str().to_owned()).unwrap_or_default();
    let ssn = person.other_ids.iter().find(|id| id.authority().universal_id() == SSN_OID);
    let order = person.multiple_birth.and_then(|birth| birth.order).map(|order| order.to_string());
    for (field, value) in [
        (Field::Email, of(TelecomSystem::Email).next().map(|telecom| telecom.value.to_string()).unwrap_or_default()),
        (Field::Birth, date(&person.birth)),
        (Field::Gender, person.gender.map(|gender| gender.v2().to_owned()).unwrap_or_default()),
        (Field::Ssn, ssn.map(|id| id.id().to_owned()).unwrap_or_default()),
        (Field::MothersMaidenName, person.mothers_maiden_name.iter().map(|name| name.family.to_string()).collect()),
        (Field::Multiple, yes_no(person.multiple_birth.map(|birth| birth.multiple)).to_owned()),
        (Field::BirthOrder, order.unwrap_or_default()),
        (Field::BirthPlace, text(&person.birth_place)),
        (Field::Death, date(&person.death)),
        (Field::Deceased, yes_no(person.deceased).to_owned()),
        (Field::Marital, text(&person.marital_status)),
        (Field::Language, text(&person.language)),
        (Field::Race, text(&person.race)),
        (Field::Ethnicity, text(&person.ethnicity)),
        (Field::IdentityUnknown, if person.identity_unknown { "Y" } else { "" }.to_owned()),
    ] {
        put(&mut row, field, 1, &value);
    }
    row
}
