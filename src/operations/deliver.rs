//! Documents sent to somebody: to a partner's recipient (ITI-41) or through its gateway (ITI-80). And a look at what is
//! on its way.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::deed::Deed;
use super::documents::{entry, files, read, unique_id};
use super::{Errand, OperationError, patient_id};
use crate::directory::Partner;
use crate::endpoints;
use crate::gateway::Gateway;
use crate::id::{HomeCommunityId, Transaction as Iti};
use crate::metadata::{
    Association, AssociationKind, Author, Membership, ObjectId, Submission, SubmissionSet, Xcn, Xon, Xtn,
};
use crate::pipeline::delivery::{self, tried};
use crate::pix::notifier;
use crate::storage::deliveries::{Delivery, Kind, State};
use crate::storage::files::Stored;
use crate::storage::identities::Resolution;
use crate::storage::owed::Debt;
use crate::xdr::Parcel;
use crate::xdr::parcel::to_partner;
use crate::xdr::recipient::{queue, rename};

/// What is to be sent, and where.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Consignment {
    /// A partner by the name of its file, or a community as `urn:oid:` and an OID.
    pub to: String,
    /// For whom in particular: an address, or a value of intendedRecipient as the framework writes it.
    pub recipients: Vec<String>,
    /// Whose documents: an identifier known here.
    pub patient: String,
    /// Files, and folders of files.
    pub paths: Vec<PathBuf>,
}

/// Sends documents as one submission, and waits for the receiver's answer as long as the errand allows.
pub async fn deliver(
    gateway: &Arc<Gateway>,
    errand: &Errand,
    consignment: &Consignment,
) -> Result<Delivery, OperationError> {
    let errands = errand.prepare(gateway)?;
    let (partner, transaction, home) = destination(gateway, &consignment.to)?;
    errands.prepare(gateway, transaction, &partner).map_err(OperationError::new)?;
    let id = patient_id(gateway, &consignment.patient)?;
    let Resolution::Active(person) = gateway.identities.resolve(&gateway.tenant, &id).map_err(OperationError::new)?
    else {
        return Err(OperationError::new("the patient identifier is not known here, or was replaced"));
    };
    let mut set = SubmissionSet::new("set", unique_id());
    set.patient_id = Some(id.clone());
    set.source_id = Some(gateway.community.home.oid().as_str().into());
    set.submission_time = gateway.clock.now().to_dtm().parse().ok();
    set.intended_recipients = consignment.recipients.iter().map(|text| intended(text)).collect::<Result<_, _>>()?;
    set.authors = vec![author(gateway)];
    let mut submission = Submission { set, entries: Vec::new(), folders: Vec::new(), associations: Vec::new() };
    let mut documents: Vec<(ObjectId, Stored)> = Vec::new();
    for (at, path) in files(&consignment.paths)?.iter().enumerate() {
        let about = |error: String| OperationError(format!("{}: {error}", path.display()));
        let (stored, kind, header) = read(gateway, &id, &person, path).await.map_err(about)?;
        let mut entry = entry(gateway, &id, path, kind, header.as_ref());
        entry.id = ObjectId::from(format!("document{at}").as_str());
        entry.hash = Some(stored.digests().sha1.clone());
        entry.size = Some(stored.digests().size);
        let name = format!("member{at}");
        let set = submission.set.id.clone();
        let mut member = Association::new(name.as_str(), AssociationKind::HasMember, set, entry.id.clone());
        member.membership = Some(Membership::Original);
        submission.set.content_type = submission.set.content_type.or_else(|| entry.class_code.clone());
        documents.push((entry.id.clone(), stored));
        submission.entries.push(entry);
        submission.associations.push(member);
    }
    if documents.is_empty() {
        return Err(OperationError::new("there is no file to be sent"));
    }
    rename(&mut submission, &mut documents);
    let parcel = Parcel {
        submission,
        documents: Vec::new(),
        home,
        sender: "command line".into(),
        user: errands.user.clone(),
        role: errands.role.clone(),
        purpose: errands.purpose.to_code(),
    };
    let to = [to_partner(&partner.key)];
    let numbers = queue(gateway, parcel, documents, &to, errands.trace).await.map_err(OperationError::new)?;
    let number = numbers.first().copied().ok_or_else(|| OperationError::new("nothing was queued"))?;
    wait(gateway, number, errands.deadline).await
}

/// Whom a name means, and how it is reached: its recipient if it has one, its gateway otherwise.
fn destination(gateway: &Gateway, to: &str) -> Result<(Arc<Partner>, Iti, Option<HomeCommunityId>), OperationError> {
    let snapshot = gateway.directory.snapshot();
    if let Some(partner) = snapshot.named(to) {
        return match (partner.url(Iti::Iti41), partner.url(Iti::Iti80)) {
            (Some(_), _) => Ok((partner.clone(), Iti::Iti41, None)),
            (None, Some(_)) => Ok((partner.clone(), Iti::Iti80, Some(partner.home.clone()))),
            (None, None) => Err(OperationError(format!("the entry of {to} has no address for ITI-41 or ITI-80"))),
        };
    }
    let home = HomeCommunityId::lenient(to).map_err(|_| {
        OperationError(format!("{to} is neither a partner of the directory nor a community, urn:oid: and an OID"))
    })?;
    let route = gateway.directory.resolve(&home, Iti::Iti80).map_err(OperationError::new)?;
    Ok((route.partner, Iti::Iti80, Some(home)))
}

/// An address becomes what the framework writes for it; anything else must be `XON|XCN|XTN`.
fn intended(text: &str) -> Result<smol_str::SmolStr, OperationError> {
    let text = text.trim();
    if text.contains('@') && !text.contains(['|', '^']) {
        return Ok(smol_str::format_smolstr!("||{}", Xtn::email(text).as_str()));
    }
    let mut parts = text.splitn(3, '|');
    let mut next = || parts.next().unwrap_or_default();
    let some = Xon::from_wire(next()).is_some() | Xcn::from_wire(next()).is_some() | Xtn::from_wire(next()).is_some();
    if some { Ok(text.into()) } else { Err(OperationError::new("a recipient is an address, or XON|XCN|XTN")) }
}

fn author(gateway: &Gateway) -> Author {
    let oid = gateway.community.home.oid();
    Author { institutions: vec![Xon::new(&gateway.community.name, Some(oid))], ..Author::default() }
}

/// Waits for the first attempt. Where no gateway serves, this process carries deliveries as long.
async fn wait(gateway: &Arc<Gateway>, number: u64, patience: Duration) -> Result<Delivery, OperationError> {
    let stop = CancellationToken::new();
    let worker = (!gateway.deliveries.is_worked())
        .then(|| tokio::spawn(delivery::run(gateway.clone(), endpoints::carry, stop.clone())));
    let delivery = tried(gateway, number, patience).await;
    stop.cancel();
    if let Some(worker) = worker
        && worker.await.is_err()
    {
        tracing::error!("deliveries were not carried to their end");
    }
    let delivery = delivery.map_err(OperationError::new)?;
    delivery.ok_or_else(|| OperationError::new("the delivery is gone"))
}

/// The latest deliveries.
pub async fn list(
    gateway: &Gateway,
    user: &str,
    state: Option<State>,
    to: &str,
    limit: usize,
) -> Result<Vec<Delivery>, OperationError> {
    let deed = Deed::new(gateway, user, "deliveries list")?;
    let found = gateway.deliveries.latest(&gateway.tenant, state, to, limit).map_err(OperationError::new);
    deed.seen(gateway, found).await
}

/// One delivery. What its receiver said may name a patient, so a look at it is recorded.
pub async fn show(gateway: &Gateway, user: &str, number: u64) -> Result<Vec<Delivery>, OperationError> {
    let deed = Deed::new(gateway, user, format!("deliveries show {number}"))?;
    let found = find(gateway, number).map(|one| vec![one]);
    deed.seen(gateway, found).await
}

fn find(gateway: &Gateway, number: u64) -> Result<Delivery, OperationError> {
    let found = gateway.deliveries.get(&gateway.tenant, number).map_err(OperationError::new)?;
    found.ok_or_else(|| OperationError::new("there is no delivery of that number"))
}

/// Takes up a delivery again that was refused or given up. A notification then says what is so now.
pub async fn retry(gateway: &Arc<Gateway>, user: &str, number: u64) -> Result<Delivery, OperationError> {
    let deed = Deed::new(gateway, user, format!("deliveries retry {number}"))?;
    let debt = deed.debt()?;
    let new = deed.change(gateway, again(gateway, number, debt)).await?;
    wait(gateway, new, Duration::from_secs(1).max(gateway.patience.wait)).await
}

async fn again(gateway: &Gateway, number: u64, debt: Debt) -> Result<u64, OperationError> {
    let old = find(gateway, number)?;
    let body = match old.kind {
        Kind::Documents => None,
        Kind::Notification => {
            let kept = gateway.deliveries.body(&gateway.tenant, number).map_err(OperationError::new)?;
            let renewed = kept.and_then(|kept| notifier::renewed(gateway, &old, &kept));
            let gone = "there is nothing left to tell: the subscriber or its patient is not there any more";
            Some(renewed.ok_or_else(|| OperationError::new(gone))?)
        }
    };
    let again = gateway.deliveries.again(&gateway.tenant, number, body, Some(debt), gateway.clock.now()).await;
    again.map_err(OperationError::new)?.map_err(OperationError::new)
}
