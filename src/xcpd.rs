//! XCPD: patient discovery between communities (ITI TF-1: 27).

pub mod discovery;
pub mod initiating_gateway;
pub mod location;
pub mod responding_gateway;
pub mod unsupported;

use crate::id::Demographics;
use crate::mpi::{Grade, Parameters, Profile, compare::compare};
use crate::storage::identities::Person;

/// Whether demographics can be those of a person, whom an identifier pointed to.
fn agrees(asked: &Demographics, person: &Person) -> bool {
    let asked = Profile::of(asked);
    let can_be =
        |known: &Demographics| compare(&asked, &Profile::of(known), &Parameters::default()).grade() > Grade::No;
    person.records.iter().any(|record| can_be(&record.demographics))
}
