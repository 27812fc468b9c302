//! Document metadata: entries, submission sets, folders and the associations between them (ITI TF-3: 4.2, 4.3).
//!
//! Reading notes what it cannot use and goes on; `Submission::decode` then holds the message to the rules of its
//! transaction and tells all problems at once. Writing is exact.

mod attributes;

pub mod affinity;
pub mod association;
pub mod coding;
pub mod document_entry;
pub mod folder;
pub mod object;
pub mod query;
pub mod rules;
pub mod submission;
pub mod submission_set;

pub use association::{Association, AssociationKind, Membership};
pub use coding::{
    Author, Availability, Cx, DocumentAvailability, DocumentKind, ObjectId, ReferenceId, SourcePatientInfo, Xcn, Xon,
    Xtn,
};
pub use document_entry::DocumentEntry;
pub use folder::Folder;
pub use object::{Object, Reference};
pub use rules::{Problems, Rules};
pub use submission::Submission;
pub use submission_set::SubmissionSet;
