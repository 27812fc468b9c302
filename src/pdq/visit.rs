//! A visit as demographics queries ask for it and tell of it: some fields of PV1, both ways (ITI TF-2: 3.22.4).

use smol_str::SmolStr;

use crate::hl7v2::datatypes::{read_code, read_time};
use crate::hl7v2::segment::SegmentBuilder;
use crate::hl7v2::{Composite, Cx, Field, Hd, Segment};
use crate::id::{Domains, Dtm, PatientId};

/// A stay or a consultation. Absent means unknown.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Visit {
    /// PV1-2, HL7 table 0004: `I` inpatient, `O` outpatient, `E` emergency.
    pub class: Option<SmolStr>,
    /// PV1-3.
    pub location: Option<Place>,
    /// PV1-7.
    pub attending: Option<Practitioner>,
    /// PV1-8.
    pub referring: Option<Practitioner>,
    /// PV1-9.
    pub consulting: Option<Practitioner>,
    /// PV1-10, HL7 table 0069.
    pub service: Option<SmolStr>,
    /// PV1-17.
    pub admitting: Option<Practitioner>,
    /// PV1-19.
    pub number: Option<PatientId>,
    /// PV1-44.
    pub admitted: Option<Dtm>,
    /// PV1-45.
    pub discharged: Option<Dtm>,
}

impl std::fmt::Debug for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Visit(…)")
    }
}

/// PL: where the patient lies.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The ward.
    pub point_of_care: SmolStr,
    /// The room.
    pub room: SmolStr,
    /// The bed.
    pub bed: SmolStr,
    /// The house.
    pub facility: SmolStr,
}

/// XCN: a doctor.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Practitioner {
    /// The number.
    pub id: SmolStr,
    /// Family name.
    pub family: SmolStr,
    /// Given name.
    pub given: SmolStr,
}

/// Reads PV1. What makes no sense is left out.
pub fn read(pv1: Segment<'_>, domains: &Domains, facility: &Hd) -> Visit {
    let practitioner = |number| {
        let [id, family, given] = parts(pv1.field(number), [1, 2, 3]);
        let told = Practitioner { id, family, given };
        (told != Practitioner::default()).then_some(told)
    };
    let [point_of_care, room, bed, house] = parts(pv1.field(3), [1, 2, 3, 4]);
    let place = Place { point_of_care, room, bed, facility: house };
    let number = Cx::read(pv1.field(19).first());
    Visit {
        class: read_code(pv1.field(2)),
        location: (place != Place::default()).then_some(place),
        attending: practitioner(7),
        referring: practitioner(8),
        consulting: practitioner(9),
        service: read_code(pv1.field(10)),
        admitting: practitioner(17),
        number: number.foreign(domains, &facility.namespace).ok(),
        admitted: read_time(pv1.field(44)).ok().flatten(),
        discharged: read_time(pv1.field(45)).ok().flatten(),
    }
}

fn parts<const N: usize>(field: Field<'_>, numbers: [usize; N]) -> [SmolStr; N] {
    numbers.map(|number| field.component(number).text().trim().into())
}

/// Writes the fields of PV1 from 2 on.
pub fn write(pv1: &mut SegmentBuilder<'_>, visit: &Visit, domains: &Domains) {
    let doctor = |one: &Option<Practitioner>| -> Vec<Composite> {
        one.iter().map(|one| Composite::new(&[&one.id, &one.family, &one.given])).collect()
    };
    let place = |one: &Place| Composite::new(&[&one.point_of_care, &one.room, &one.bed, &one.facility]);
    let date = |one: &Option<Dtm>| SmolStr::from(one.as_ref().map(Dtm::as_str).unwrap_or_default());
    pv1.text(2, visit.class.as_deref().unwrap_or_default());
    pv1.repetitions(3, &visit.location.iter().map(place).collect::<Vec<_>>());
    pv1.repetitions(7, &doctor(&visit.attending));
    pv1.repetitions(8, &doctor(&visit.referring));
    pv1.repetitions(9, &doctor(&visit.consulting));
    pv1.text(10, visit.service.as_deref().unwrap_or_default());
    pv1.repetitions(17, &doctor(&visit.admitting));
    pv1.repetitions(19, &visit.number.iter().map(|id| Cx::write(id, domains, "VN")).collect::<Vec<_>>());
    pv1.text(44, &date(&visit.admitted)).text(45, &date(&visit.discharged));
}
