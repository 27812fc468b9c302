//! XCPD: patient discovery between communities (ITI TF-1: 27).

pub mod discovery;
pub mod initiating_gateway;
pub mod location;
pub mod responding_gateway;
pub mod unsupported;

use crate::id::Demographics;
use crate::mpi::{Grade, Model, Profile};
use crate::storage::identities::Person;

/// Whether demographics can be those of a person, whom an identifier pointed to.
fn agrees(asked: &Demographics, person: &Person) -> bool {
    let asked = Profile::of(asked);
    // As long as nothing says otherwise: what was learnt is no reason to doubt an identifier.
    let can_be =
        |known: &Demographics| Model::default().compare_cautiously(&asked, &Profile::of(known)).grade() > Grade::No;
    person.records.iter().any(|record| can_be(&record.demographics))
}
