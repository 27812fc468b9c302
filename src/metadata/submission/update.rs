//! What a metadata update must say (ITI-57, Metadata Update supplement 3.57.4.1.3). Whether the version it names is the
//! registry's is for the registry to find out.

use super::Submission;
use crate::ebxml::{ErrorCode, rim};
use crate::metadata::rules::{Problems, Rules};
use crate::metadata::{Association, AssociationKind, Availability, DocumentKind, ObjectId};

/// Holds the operations of an update to their rules.
pub(super) fn check(submission: &Submission, problems: &mut Problems) {
    for entry in &submission.entries {
        check_logical_id(&entry.id, entry.logical_id.as_ref(), ErrorCode::XdsInvalidRequestException, problems);
    }
    for folder in &submission.folders {
        // For folders the toolkit's scenario wants the general code (NIST 20000b).
        check_logical_id(&folder.id, folder.logical_id.as_ref(), ErrorCode::XdsMetadataUpdateError, problems);
    }
    let entries = submission.entries.iter().map(|entry| &entry.id);
    let new: Vec<&ObjectId> = entries.chain(submission.folders.iter().map(|folder| &folder.id)).collect();
    for association in &submission.associations {
        let of_set = association.source == submission.set.id;
        match &association.kind {
            AssociationKind::HasMember if of_set && new.contains(&&association.target) => {
                check_new_version(association, problems);
            }
            AssociationKind::UpdateAvailabilityStatus if of_set => check_status_change(association, problems),
            AssociationKind::SubmitAssociation if of_set => {}
            _ if is_submitted(submission, association) => {}
            AssociationKind::Other(_) => {
                problems.metadata(&association.id.to_string(), "the type of the association is not known");
            }
            _ => operation(association, "the association is no operation of an update", problems),
        }
    }
    if submission.associations.is_empty() {
        let text = "the submission updates nothing";
        problems.note(ErrorCode::XdsMetadataUpdateOperationError, &submission.set.id.to_string(), text);
    }
    if problems.rules == Rules::RestrictedUpdate {
        check_restricted(submission, problems);
    }
}

/// Whether the association is what an operation of the submission adds.
fn is_submitted(submission: &Submission, association: &Association) -> bool {
    submission
        .associations
        .iter()
        .any(|operation| operation.kind == AssociationKind::SubmitAssociation && operation.target == association.id)
}

/// ITI-92 is a new version of one stable document and nothing else.
fn check_restricted(submission: &Submission, problems: &mut Problems) {
    let set = submission.set.id.to_string();
    let one_document = matches!(&submission.entries[..], [entry] if entry.kind == DocumentKind::Stable);
    if !one_document || !submission.folders.is_empty() {
        let text = "a restricted update is of one stable document";
        problems.note(ErrorCode::XdsObjectTypeError, &set, text);
    } else if submission.associations.len() != 1 {
        let text = "a restricted update makes a new version and does nothing else";
        problems.note(ErrorCode::XdsMetadataUpdateOperationError, &set, text);
    }
}

/// The logical id is that of the first version, so it is a UUID and not the new version's own.
fn check_logical_id(id: &ObjectId, logical_id: Option<&ObjectId>, code: ErrorCode, problems: &mut Problems) {
    let usable = logical_id.is_some_and(|logical_id| logical_id.uuid().is_some() && logical_id != id);
    if !usable {
        let text = "an update needs the logicalID of the object, which is not its entryUUID";
        problems.note(code, &id.to_string(), text);
    }
}

fn check_new_version(membership: &Association, problems: &mut Problems) {
    if membership.previous_version().is_none() {
        operation(membership, "PreviousVersion of a new version is a number", problems);
    }
    if ["OriginalStatus", "NewStatus"].iter().any(|name| value(membership, name).is_some()) {
        operation(membership, "a new version does not change a status", problems);
    }
    if value(membership, "AssociationPropagation").is_some_and(|value| !matches!(value.as_str(), "yes" | "no")) {
        operation(membership, "AssociationPropagation is yes or no", problems);
    }
}

fn check_status_change(association: &Association, problems: &mut Problems) {
    let status = |name| value(association, name).and_then(|text| Availability::from_wire(&text));
    match (status("OriginalStatus"), status("NewStatus")) {
        (Some(original), Some(new)) if original != new => {}
        _ => operation(association, "a status changes from OriginalStatus to another NewStatus", problems),
    }
    if value(association, "PreviousVersion").is_some() {
        operation(association, "a change of status makes no new version", problems);
    }
}

fn value(association: &Association, name: &str) -> Option<smol_str::SmolStr> {
    rim::first_value(&association.extra, name)
}

fn operation(association: &Association, text: &str, problems: &mut Problems) {
    problems.note(ErrorCode::XdsMetadataUpdateOperationError, &association.id.to_string(), text);
}
