//! What a metadata update does to the registry (ITI-57, Metadata Update supplement 3.57.4.1.3; ITI-92): new versions of
//! entries and folders, changes of status, new associations. All of it or nothing.

use super::Registration;
use super::register::Run;
use super::rows::{End, Kind, Row, derived, kind_of};
use crate::ebxml::ErrorCode;
use crate::id::{EntryUuid, PatientId, Tenant};
use crate::metadata::{Association, AssociationKind, Availability, DocumentEntry, Folder, Object, ObjectId};
use crate::storage::engine::{StoreError, Write};
use crate::storage::seal::Sealer;

/// Carries an update out. What it must say is checked before (`metadata::submission::update`); here it meets what the
/// registry has.
pub(super) fn update(
    write: &Write<'_>,
    sealer: &Sealer,
    tenant: &Tenant,
    registration: &Registration,
    restricted: bool,
    known: &dyn Fn(&Write<'_>, &PatientId) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let mut run = Run::open(write, sealer, tenant, registration, known)?;
    run.check_entry_uuids()?;
    run.check_set()?;
    run.outcome()?;
    let submission = &registration.submission;
    let mut set = submission.set.clone();
    set.availability = Some(Availability::Approved);
    run.add(Object::SubmissionSet(Box::new(set)), None)?;
    // In the order of the supplement: new versions, then what refers to them. Each step sees those before it, and
    // anything wrong undoes them all.
    for entry in &submission.entries {
        new_version(&mut run, New::Document(entry), restricted)?;
    }
    for folder in &submission.folders {
        new_version(&mut run, New::Folder(folder), restricted)?;
    }
    for association in &submission.associations {
        match association.kind {
            AssociationKind::SubmitAssociation => submit(&mut run, association)?,
            AssociationKind::UpdateAvailabilityStatus => change_status(&mut run, association)?,
            _ => {}
        }
    }
    run.outcome()
}

/// A new version of an object.
#[derive(Clone, Copy)]
enum New<'s> {
    Document(&'s DocumentEntry),
    Folder(&'s Folder),
}

impl New<'_> {
    fn id(&self) -> &ObjectId {
        match self {
            Self::Document(entry) => &entry.id,
            Self::Folder(folder) => &folder.id,
        }
    }

    fn logical_id(&self) -> Option<EntryUuid> {
        match self {
            Self::Document(entry) => entry.logical_id.as_ref(),
            Self::Folder(folder) => folder.logical_id.as_ref(),
        }
        .and_then(ObjectId::uuid)
    }

    fn patient(&self) -> Option<&PatientId> {
        match self {
            Self::Document(entry) => entry.patient_id.as_ref(),
            Self::Folder(folder) => folder.patient_id.as_ref(),
        }
    }

    /// The object as version `number`.
    fn object(&self, number: u32, lid: EntryUuid, run: &Run<'_, '_, '_>) -> Object {
        let (availability, version, logical_id) = (Some(Availability::Approved), Some(number), Some(lid.into()));
        match *self {
            Self::Document(entry) => {
                Object::Document(Box::new(DocumentEntry { availability, version, logical_id, ..entry.clone() }))
            }
            Self::Folder(folder) => {
                let last_update = run.now();
                Object::Folder(Box::new(Folder { availability, version, logical_id, last_update, ..folder.clone() }))
            }
        }
    }
}

/// 3.57.4.1.3.3.1, 3.57.4.1.3.3.2: takes the place of the version that the submission names.
fn new_version(run: &mut Run<'_, '_, '_>, new: New<'_>, restricted: bool) -> Result<(), StoreError> {
    let submission = &run.registration.submission;
    let membership = submission.associations.iter().find(|association| {
        association.kind == AssociationKind::HasMember
            && association.source == submission.set.id
            && association.target == *new.id()
    });
    let (Some(membership), Some(lid)) = (membership, new.logical_id()) else {
        run.conflict(ErrorCode::XdsMetadataUpdateOperationError, new.id(), "the operation of the object is not told");
        return Ok(());
    };
    let Some(mut previous) = run.view.versions(lid)?.pop() else {
        run.conflict(ErrorCode::XdsMetadataVersionError, new.id(), "the logicalID is that of no registered object");
        return Ok(());
    };
    if !is_successor(run, new, (&previous, membership), restricted) {
        return Ok(());
    }
    let propagates = membership.extra.iter().all(|slot| {
        slot.name != "AssociationPropagation" || slot.values.iter().all(|value| !value.eq_ignore_ascii_case("no"))
    });
    let object = new.object(previous.version() + 1, lid, run);
    let content = previous.content.clone();
    let (Some(id), Some(before)) = (new.id().uuid(), previous.object.id().uuid()) else { return Ok(()) };
    set_status(&mut previous.object, Availability::Deprecated);
    previous.superseded = true;
    run.view.put(&previous)?;
    run.add(object, content)?;
    run.link(membership.clone())?;
    if propagates { propagate(run, new, before, id) } else { Ok(()) }
}

/// Whether the object may follow the version that is the newest here.
fn is_successor(
    run: &mut Run<'_, '_, '_>,
    new: New<'_>,
    (previous, membership): (&Row, &Association),
    restricted: bool,
) -> bool {
    let mut wrong = Vec::new();
    if membership.previous_version() != Some(previous.version()) {
        wrong.push((ErrorCode::XdsMetadataVersionError, "PreviousVersion is not the newest version"));
    }
    if status_of(&previous.object) != Availability::Approved {
        wrong.push((ErrorCode::XdsMetadataVersionError, "the newest version is deprecated"));
    }
    match (new, &previous.object) {
        (New::Document(entry), Object::Document(old)) => {
            wrong.extend(changes(entry, old, previous.content.is_some(), restricted));
        }
        (New::Folder(folder), Object::Folder(old)) if folder.unique_id.bare() == old.unique_id.bare() => {}
        (New::Folder(_), Object::Folder(_)) => {
            wrong.push((
                ErrorCode::XdsMetadataIdentifierError,
                "the logicalID is that of a folder with another uniqueId",
            ));
        }
        _ => wrong.push((ErrorCode::XdsMetadataIdentifierError, "the logicalID is that of an object of another kind")),
    }
    for (code, text) in &wrong {
        run.conflict(code.clone(), new.id(), text);
    }
    wrong.is_empty()
}

/// What an update of a document must not change.
fn changes(
    new: &DocumentEntry,
    old: &DocumentEntry,
    is_kept_here: bool,
    restricted: bool,
) -> Vec<(ErrorCode, &'static str)> {
    let mut wrong = Vec::new();
    if (new.unique_id.bare(), new.kind) != (old.unique_id.bare(), old.kind) {
        let text = "the logicalID is that of an object with another uniqueId or objectType";
        wrong.push((ErrorCode::XdsMetadataIdentifierError, text));
    }
    let update = if restricted { ErrorCode::UnmodifiableMetadataError } else { ErrorCode::XdsMetadataUpdateError };
    // The metadata of bytes elsewhere may have been wrong (NIST 15800 and 15801 mend it); what is kept here is where it is
    // and has the hash and the size that it has.
    if is_kept_here && (&new.hash, new.size) != (&old.hash, old.size) {
        wrong.push((update.clone(), "hash and size are not those of the document"));
    }
    if (is_kept_here || restricted) && new.repository != old.repository {
        wrong.push((update, "an update does not move a document to another repository"));
    }
    // Whose document it is, is not for another community to say.
    if restricted && new.patient_id != old.patient_id {
        wrong.push((
            ErrorCode::UnmodifiableMetadataError,
            "a restricted update does not give a document to another patient",
        ));
    }
    wrong
}

/// 3.57.4.1.3.3.1.3: the associations of the version before become those of the new one, except what submissions say of
/// it. The old ones are deprecated.
fn propagate(run: &mut Run<'_, '_, '_>, new: New<'_>, before: EntryUuid, id: EntryUuid) -> Result<(), StoreError> {
    for end in [End::Source, End::Target] {
        for association in run.view.links(end, before)? {
            let (Some(other), Some(own)) = (
                match end {
                    End::Source => association.target.uuid(),
                    End::Target => association.source.uuid(),
                },
                association.id.uuid(),
            ) else {
                continue;
            };
            let other_object = run.view.row(other)?.map(|row| row.object);
            let of_submission = matches!(other_object, Some(Object::SubmissionSet(_)));
            if of_submission || association.availability == Some(Availability::Deprecated) {
                continue;
            }
            let patient = other_object.as_ref().and_then(Object::patient);
            if patient.is_some() && patient != new.patient() && association.kind != AssociationKind::Signs {
                let text = "the object is associated with one of another patient";
                run.conflict(ErrorCode::XdsPatientIdReconciliationError, new.id(), text);
                continue;
            }
            let mut copy = association.clone();
            copy.id = derived(&[own.as_bytes(), id.as_bytes()]).into();
            match end {
                End::Source => copy.source = id.into(),
                End::Target => copy.target = id.into(),
            }
            deprecate(run, own)?;
            run.link(copy)?;
        }
    }
    Ok(())
}

fn deprecate(run: &Run<'_, '_, '_>, id: EntryUuid) -> Result<(), StoreError> {
    let Some(mut row) = run.view.row(id)? else { return Ok(()) };
    set_status(&mut row.object, Availability::Deprecated);
    run.view.put(&row)
}

/// 3.57.4.1.3.3.3: a new association between objects that are there.
fn submit(run: &mut Run<'_, '_, '_>, operation: &Association) -> Result<(), StoreError> {
    let submission = &run.registration.submission;
    let Some(new) = submission.associations.iter().find(|association| association.id == operation.target) else {
        let text = "the association to be submitted is not in the message";
        run.conflict(ErrorCode::XdsMetadataUpdateOperationError, &operation.id, text);
        return Ok(());
    };
    let errors = run.errors.len();
    run.check_association(new)?;
    let source = run.object(&new.source)?;
    let of_folder = new.kind == AssociationKind::HasMember && matches!(source, Some(Object::Folder(_)));
    if !of_folder && !new.kind.relates_documents() {
        let text = "an update submits relations of documents and members of folders";
        run.conflict(ErrorCode::XdsMetadataUpdateError, &new.id, text);
    }
    let links = new.source.uuid().map(|source| run.view.links(End::Source, source)).transpose()?.unwrap_or_default();
    let is_same = |link: &Association| {
        link.kind == new.kind && link.target == new.target && link.availability != Some(Availability::Deprecated)
    };
    if links.iter().any(is_same) {
        run.conflict(ErrorCode::XdsMetadataUpdateError, &new.id, "the association is registered already");
    }
    if run.errors.len() > errors {
        return Ok(());
    }
    run.link(new.clone())?;
    run.link(operation.clone())?;
    if new.kind.replaces() { run.replace(new) } else { Ok(()) }
}

/// 3.57.4.1.3.3.4: a status changes from what the submission says it is.
fn change_status(run: &mut Run<'_, '_, '_>, operation: &Association) -> Result<(), StoreError> {
    let status = |name| crate::ebxml::rim::first_value(&operation.extra, name);
    let status = |name| status(name).and_then(|text| Availability::from_wire(&text));
    let (Some(original), Some(wanted)) = (status("OriginalStatus"), status("NewStatus")) else {
        run.conflict(ErrorCode::XdsMetadataUpdateOperationError, &operation.id, "the statuses are not told");
        return Ok(());
    };
    let Some(mut row) = run.row(&operation.target)? else {
        let text = "the object whose status is to change is not registered";
        run.conflict(ErrorCode::UnresolvedReferenceException, &operation.id, text);
        return Ok(());
    };
    let target = &operation.target;
    if matches!(row.object, Object::SubmissionSet(_) | Object::Reference(_)) {
        run.conflict(ErrorCode::XdsMetadataUpdateError, target, "the status of a submission set does not change");
    } else if status_of(&row.object) != original {
        run.conflict(ErrorCode::XdsMetadataUpdateError, target, "OriginalStatus is not the status of the object");
    } else if wanted == Availability::Approved && row.superseded {
        let text = "only the newest version of an object can be approved";
        run.conflict(ErrorCode::XdsMetadataVersionError, target, text);
    } else if wanted == Availability::Approved && is_replaced(run, &row)? {
        // Two documents, one of which replaces the other, would both be for use in care.
        run.conflict(ErrorCode::XdsMetadataUpdateError, target, "an approved document replaces this one");
    } else {
        set_status(&mut row.object, wanted);
        run.view.put(&row)?;
        run.link(operation.clone())?;
    }
    Ok(())
}

fn is_replaced(run: &Run<'_, '_, '_>, row: &Row) -> Result<bool, StoreError> {
    let Some(id) = row.object.id().uuid().filter(|_| kind_of(&row.object) == Some(Kind::Document)) else {
        return Ok(false);
    };
    for link in run.view.links(End::Target, id)? {
        let stands = link.kind.replaces() && link.availability != Some(Availability::Deprecated);
        let replacement = run.row(&link.source)?.map(|row| status_of(&row.object));
        if stands && replacement == Some(Availability::Approved) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// availabilityStatus; what was never given one is approved.
fn status_of(object: &Object) -> Availability {
    match object {
        Object::Document(entry) => entry.availability,
        Object::Folder(folder) => folder.availability,
        Object::Association(association) => association.availability,
        Object::SubmissionSet(set) => set.availability,
        Object::Reference(_) => None,
    }
    .unwrap_or(Availability::Approved)
}

fn set_status(object: &mut Object, status: Availability) {
    match object {
        Object::Document(entry) => entry.availability = Some(status),
        Object::Folder(folder) => folder.availability = Some(status),
        Object::Association(association) => association.availability = Some(status),
        Object::SubmissionSet(_) | Object::Reference(_) => {}
    }
}
