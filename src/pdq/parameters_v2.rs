//! QPD-3 of ITI-21 and ITI-22, `@PID.5.1.1^OKAFOR~@PID.8^F`, as a query by example and back (ITI TF-2: 3.21.4.1.2.2).
//!
//! The parameters are the PID and PV1 segments of the person looked for, told cell by cell. So they are put back into
//! such segments and read as those of any other message are. A second value for a cell begins another repetition of
//! its field.

use smol_str::SmolStr;

use super::criteria::PatientQuery;
use super::visit::{self, Visit};
use crate::hl7v2::{Builder, Composite, Cx, Field, Hd, Limits, Message, Repetition};
use crate::id::{Demographics, Domains, PatientId};
use crate::pix::demographics_v2::{self as pid_segment, Revision};

/// US social security numbers.
const SSN: &str = "2.16.840.1.113883.4.1";

/// What is wrong with a parameter.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Not the name of a field that can be searched by.
    #[error("the parameter is not a field that can be searched by")]
    Unsupported,
    /// Not a value of that field.
    #[error("the value is not one of that field")]
    Value,
    /// An identifier without its authority, or the reverse.
    #[error("an identifier needs its value and its assigning authority")]
    Incomplete,
}

/// A parameter that was not understood, by its repetition of QPD-3 from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadParameter {
    /// Which one.
    pub repetition: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// The segments that can be asked about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Of {
    Pid,
    Pv1,
}

impl Of {
    fn name(self) -> &'static str {
        match self {
            Self::Pid => "PID",
            Self::Pv1 => "PV1",
        }
    }
}

/// Subcomponents that each component of a data type has.
type Shape = &'static [usize];
const CX: Shape = &[1, 1, 1, 3, 1, 3, 1, 1, 9, 9];
const XPN: Shape = &[5, 1, 1, 1, 1, 1, 1, 1, 6, 2, 1, 1, 1, 1];
const XAD: Shape = &[3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1];
const XTN: Shape = &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
const XCN: Shape = &[1, 5, 1, 1, 1, 1, 1, 1, 3];
const PL: Shape = &[1, 1, 1, 3, 1, 1, 1, 1, 1];
const CE: Shape = &[1, 1, 1, 1, 1, 1];
const DLN: Shape = &[1, 1, 1];
const TS: Shape = &[1, 1];
const ST: Shape = &[1];

/// What can be searched by.
const FIELDS: [(Of, usize, Shape); 31] = [
    (Of::Pid, 3, CX),
    (Of::Pid, 5, XPN),
    (Of::Pid, 6, XPN),
    (Of::Pid, 7, TS),
    (Of::Pid, 8, ST),
    (Of::Pid, 10, CE),
    (Of::Pid, 11, XAD),
    (Of::Pid, 13, XTN),
    (Of::Pid, 14, XTN),
    (Of::Pid, 15, CE),
    (Of::Pid, 16, CE),
    (Of::Pid, 18, CX),
    (Of::Pid, 19, ST),
    (Of::Pid, 20, DLN),
    (Of::Pid, 21, CX),
    (Of::Pid, 22, CE),
    (Of::Pid, 23, ST),
    (Of::Pid, 24, ST),
    (Of::Pid, 25, ST),
    (Of::Pid, 29, TS),
    (Of::Pid, 30, ST),
    (Of::Pv1, 2, ST),
    (Of::Pv1, 3, PL),
    (Of::Pv1, 7, XCN),
    (Of::Pv1, 8, XCN),
    (Of::Pv1, 9, XCN),
    (Of::Pv1, 10, ST),
    (Of::Pv1, 17, XCN),
    (Of::Pv1, 19, CX),
    (Of::Pv1, 44, TS),
    (Of::Pv1, 45, TS),
];

/// Where a value belongs: a field, or a component or subcomponent of it.
struct Path {
    field: (Of, usize),
    shape: Shape,
    component: Option<usize>,
    subcomponent: Option<usize>,
}

impl Path {
    /// `@PID.3.4.1`. The case of the name and the `@` are forgiven.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut parts = text.strip_prefix('@').unwrap_or(text).split('.');
        let segment = parts.next()?.to_ascii_uppercase();
        let mut number = || parts.next().map(|part| part.parse::<usize>().ok().filter(|number| *number > 0));
        let field = number()??;
        let (component, subcomponent) = (number(), number());
        let known = FIELDS.iter().find(|(of, known, _)| of.name() == segment && *known == field);
        let &(of, _, shape) = known.filter(|_| parts.next().is_none())?;
        let (component, subcomponent) = match (component, subcomponent) {
            (None, _) => (None, None),
            (Some(component), None) => (Some(component?), None),
            (Some(component), Some(subcomponent)) => (Some(component?), Some(subcomponent?)),
        };
        let widest = component.map_or(Some(1), |component| shape.get(component - 1).copied())?;
        (subcomponent.unwrap_or(1) <= widest).then_some(Self { field: (of, field), shape, component, subcomponent })
    }

    /// The value, as a repetition of the field in which everything else is empty.
    fn place(&self, parameter: Repetition<'_>) -> Composite {
        let mut told = parameter.composite().0;
        told.remove(0);
        // Delimiters in the value belong escaped; many senders do not.
        let (Some(component), single) = (self.component, told.len() == 1 && told[0].len() == 1) else {
            return if told.len() == 1 && told[0].len() == 1 && self.shape.len() > 1 {
                let components = told[0][0].split('^');
                Composite(components.map(|part| part.split('&').map(str::to_owned).collect()).collect())
            } else {
                Composite(told)
            };
        };
        let mut parts = told.into_iter().next().unwrap_or_default();
        let is_authority = self.shape == CX && component == 4;
        if single && is_authority && self.subcomponent.is_none() {
            parts = parts[0].split('&').map(str::to_owned).collect();
        }
        if let Some(subcomponent) = self.subcomponent {
            parts.truncate(1);
            parts.splice(0..0, std::iter::repeat_n(String::new(), subcomponent - 1));
        }
        let mut repetition = vec![Vec::new(); component - 1];
        repetition.push(parts);
        Composite(repetition)
    }
}

/// A repetition of a field as far as it has been told, and the parameter that began it.
struct Cell {
    field: (Of, usize),
    value: Composite,
    first: usize,
}

/// Reads QPD-3. `visits`: whether PV1 may be asked about (ITI-22).
pub fn read(field: Field<'_>, visits: bool, domains: &Domains, facility: &Hd) -> Result<PatientQuery, BadParameter> {
    let mut cells: Vec<Cell> = Vec::new();
    for (index, parameter) in field.repetitions().enumerate().filter(|(_, parameter)| !parameter.is_empty()) {
        let repetition = index + 1;
        let path = Path::parse(&parameter.component(1).text()).filter(|path| visits || path.field.0 == Of::Pid);
        let path = path.ok_or(BadParameter { repetition, problem: Problem::Unsupported })?;
        if parameter.composite().0.len() < 2 {
            // A parameter without a value asks for nothing.
            continue;
        }
        let value = path.place(parameter);
        if value.0.iter().flatten().all(|part| part.trim().is_empty()) {
            continue;
        }
        match cells.iter_mut().rev().find(|cell| cell.field == path.field) {
            Some(cell) if disjoint(&cell.value, &value) => merge(&mut cell.value, value),
            _ => cells.push(Cell { field: path.field, value, first: repetition }),
        }
    }
    let query = query_of(&cells, domains, facility)?;
    // What was told and not understood must not be left out: the answer would be everybody else.
    let lost = cells.iter().find(|cell| !is_told(&query, cell.field));
    match lost {
        Some(cell) => Err(BadParameter { repetition: cell.first, problem: Problem::Value }),
        None => Ok(query),
    }
}

fn disjoint(one: &Composite, other: &Composite) -> bool {
    let filled = |of: &Composite, component: usize, part: usize| {
        of.0.get(component).and_then(|parts| parts.get(part)).is_some_and(|text| !text.is_empty())
    };
    other.0.iter().enumerate().all(|(component, parts)| {
        parts.iter().enumerate().all(|(part, text)| text.is_empty() || !filled(one, component, part))
    })
}

fn merge(into: &mut Composite, from: Composite) {
    for (component, parts) in from.0.into_iter().enumerate() {
        for (part, text) in parts.into_iter().enumerate().filter(|(_, text)| !text.is_empty()) {
            if into.0.len() <= component {
                into.0.resize(component + 1, Vec::new());
            }
            if into.0[component].len() <= part {
                into.0[component].resize(part + 1, String::new());
            }
            into.0[component][part] = text;
        }
    }
}

/// The segments that the parameters describe.
fn example(cells: &[Cell]) -> Option<Message> {
    let mut builder = Builder::new();
    builder.segment("MSH").text(9, "QBP").end();
    for of in [Of::Pid, Of::Pv1] {
        let mut segment = builder.segment(of.name());
        for (_, number, _) in FIELDS.iter().filter(|(field, number, _)| *field == of && (of, *number) != (Of::Pid, 3)) {
            let told = cells.iter().filter(|cell| cell.field == (of, *number));
            segment.repetitions(*number, &told.map(|cell| cell.value.clone()).collect::<Vec<_>>());
        }
        segment.end();
    }
    // Escapes make it longer than the message that it is from, which was within limits.
    let limits = Limits { bytes: usize::MAX, segments: usize::MAX, fields: usize::MAX, repetitions: usize::MAX };
    Message::parse(&builder.finish(), &limits).ok()
}

fn query_of(cells: &[Cell], domains: &Domains, facility: &Hd) -> Result<PatientQuery, BadParameter> {
    let of_field = |number: usize| cells.iter().filter(move |cell| cell.field == (Of::Pid, number));
    let mut ids = Vec::new();
    for cell in of_field(3) {
        let problem = |problem| BadParameter { repetition: cell.first, problem };
        let text = |component: usize, part: usize| {
            let parts = cell.value.0.get(component - 1);
            SmolStr::from(parts.and_then(|parts| parts.get(part - 1)).map(|text| text.trim()).unwrap_or_default())
        };
        let cx = Cx {
            id: text(1, 1),
            namespace: text(4, 1),
            universal_id: text(4, 2),
            universal_id_type: text(4, 3),
            type_code: text(5, 1),
        };
        // 3.21.4.1.2.2: PID.3.1 comes with PID.3.4. An authority that is none of ours is no error: nobody matches.
        ids.push(cx.foreign(domains, "").map_err(|_| problem(Problem::Incomplete))?);
    }
    let bad_date = |number: usize| {
        let cell = of_field(number).next();
        BadParameter { repetition: cell.map_or(1, |cell| cell.first), problem: Problem::Value }
    };
    let message = example(cells).ok_or(BadParameter { repetition: 1, problem: Problem::Value })?;
    let person = message.segment("PID").map(|pid| pid_segment::read(pid, domains, facility)).transpose();
    let person = person.map_err(|place| bad_date(place.numbers().get(1).copied().unwrap_or_default()))?;
    let mut person = person.map(|revision| revision.demographics).unwrap_or_default();
    ids.append(&mut person.other_ids);
    let visit = message.segment("PV1").map(|pv1| visit::read(pv1, domains, facility)).unwrap_or_default();
    Ok(PatientQuery { person, ids, visit, ..PatientQuery::default() })
}

/// Whether something of a field has come into the query.
fn is_told(query: &PatientQuery, (of, number): (Of, usize)) -> bool {
    let (person, visit) = (&query.person, &query.visit);
    match (of, number) {
        (Of::Pid, 3 | 19 | 20) => !query.ids.is_empty(),
        (Of::Pid, 5) => !person.names.is_empty(),
        (Of::Pid, 6) => person.mothers_maiden_name.as_ref().is_some_and(|name| !name.is_empty()),
        (Of::Pid, 7) => person.birth.is_some(),
        (Of::Pid, 8) => person.gender.is_some(),
        (Of::Pid, 10) => person.race.is_some(),
        (Of::Pid, 11) => !person.addresses.is_empty(),
        (Of::Pid, 13 | 14) => !person.telecoms.is_empty(),
        (Of::Pid, 15) => person.language.is_some(),
        (Of::Pid, 16) => person.marital_status.is_some(),
        (Of::Pid, 18) => person.account.is_some(),
        (Of::Pid, 21) => !person.mothers_ids.is_empty(),
        (Of::Pid, 22) => person.ethnicity.is_some(),
        (Of::Pid, 23) => person.birth_place.is_some(),
        (Of::Pid, 24) => person.multiple_birth.is_some(),
        (Of::Pid, 25) => person.multiple_birth.is_some_and(|birth| birth.order.is_some()),
        (Of::Pid, 29) => person.death.is_some(),
        (Of::Pid, 30) => person.deceased.is_some(),
        (Of::Pid, _) => false,
        (Of::Pv1, 2) => visit.class.is_some(),
        (Of::Pv1, 3) => visit.location.is_some(),
        (Of::Pv1, 7) => visit.attending.is_some(),
        (Of::Pv1, 8) => visit.referring.is_some(),
        (Of::Pv1, 9) => visit.consulting.is_some(),
        (Of::Pv1, 10) => visit.service.is_some(),
        (Of::Pv1, 17) => visit.admitting.is_some(),
        (Of::Pv1, 19) => visit.number.is_some(),
        (Of::Pv1, 44) => visit.admitted.is_some(),
        (Of::Pv1, 45) => visit.discharged.is_some(),
        (Of::Pv1, _) => false,
    }
}

/// QPD-3 of a query. HL7 v2 cannot say that similar names are welcome, nor which parts of several addresses or numbers
/// belong together, so there should be one of each.
pub fn write(query: &PatientQuery, domains: &Domains) -> Vec<Composite> {
    let is_ssn = |id: &&PatientId| id.authority().universal_id() == SSN;
    let ssn = query.ids.iter().find(is_ssn);
    let ids: Vec<PatientId> = query.ids.iter().filter(|id| Some(*id) != ssn).cloned().collect();
    let demographics = Demographics { other_ids: ssn.into_iter().cloned().collect(), ..query.person.clone() };
    let revision = Revision { demographics, ..Revision::default() };
    let mut builder = Builder::new();
    builder.segment("MSH").text(9, "QBP").end();
    let mut pid = builder.segment("PID");
    pid_segment::write(&mut pid, &ids, &revision, domains);
    pid.end();
    if query.visit != Visit::default() {
        let mut pv1 = builder.segment("PV1");
        visit::write(&mut pv1, &query.visit, domains);
        pv1.end();
    }
    let limits = Limits { bytes: usize::MAX, segments: usize::MAX, fields: usize::MAX, repetitions: usize::MAX };
    let Ok(message) = Message::parse(&builder.finish(), &limits) else { return Vec::new() };
    let mut parameters = Vec::new();
    for (of, number, shape) in FIELDS {
        for repetition in message.field(of.name(), number).repetitions() {
            for (component, parts) in repetition.composite().0.into_iter().enumerate() {
                for (part, text) in parts.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
                    let mut path = format!("@{}.{number}", of.name());
                    if shape.len() > 1 && shape != TS {
                        path.push_str(&format!(".{}", component + 1));
                    }
                    if shape.get(component).is_some_and(|parts| *parts > 1) {
                        path.push_str(&format!(".{}", part + 1));
                    }
                    parameters.push(Composite::new(&[&path, text]));
                }
            }
        }
    }
    parameters
}

#[cfg(test)]
mod tests;
