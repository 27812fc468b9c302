//! What a metadata update must say (ITI-57, Metadata Update supplement 3.57.4.1.3). Whether the version it names is the
//! registry's is for the registry to find out.

use super::Submission;
use crate::ebxml::{ErrorCode, rim};
use crate::metadata::rules::Problems;
use crate::metadata::{Association, AssociationKind, Availability, ObjectId};

/// Holds the operations of an update to their rules.
pub(super) fn check(submission: &Submission, problems: &mut Problems) {
    let entries = submission.entries.iter().map(|entry| (&entry.id, &entry.logical_id));
    let folders = submission.folders.iter().map(|folder| (&folder.id, &folder.logical_id));
    for (id, logical_id) in entries.chain(folders) {
        check_logical_id(id, logical_id.as_ref(), problems);
        let memberships = submission.associations.iter().filter(|association| {
            association.kind == AssociationKind::HasMember
                && association.source == submission.set.id
                && association.target == *id
        });
        memberships.for_each(|membership| check_new_version(membership, problems));
    }
    for association in &submission.associations {
        if association.kind == AssociationKind::UpdateAvailabilityStatus {
            check_status_change(association, problems);
        }
    }
}

/// The logical id is that of the first version, so it is a UUID and not the new version's own.
fn check_logical_id(id: &ObjectId, logical_id: Option<&ObjectId>, problems: &mut Problems) {
    let usable = logical_id.is_some_and(|logical_id| logical_id.uuid().is_some() && logical_id != id);
    if !usable {
        let text = "an update needs the logicalID of the object, which is not its entryUUID";
        problems.note(ErrorCode::XdsInvalidRequestException, &id.to_string(), text);
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
