//! A submission in the queue: its metadata, and the names under which `storage::files` keeps its documents.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use crate::gateway::Gateway;
use crate::id::{Code, HomeCommunityId, TraceId};
use crate::metadata::{ObjectId, Submission};
use crate::storage::deliveries::{Draft, Kind};
use crate::storage::engine::StoreError;
use crate::storage::files::{Digests, FileError, Stored};

/// A submission on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parcel {
    /// The metadata.
    pub submission: Submission,
    /// The documents, in the order of the message.
    pub documents: Vec<Enclosed>,
    /// The community that it goes to, by ITI-80.
    pub home: Option<HomeCommunityId>,
    /// Who sent it: a partner's name, or the command line.
    pub sender: SmolStr,
    /// In whose name it is passed on.
    pub user: SmolStr,
    /// The user's role.
    pub role: Code,
    /// What for.
    pub purpose: Code,
}

/// A document of a submission.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Enclosed {
    /// Its entry.
    pub entry: ObjectId,
    /// Its key in `storage::files`.
    pub sha256: SmolStr,
    /// Its size in bytes.
    pub size: u64,
}

/// The destination of a recipient of the configuration.
pub fn to_recipient(name: &str) -> SmolStr {
    format_smolstr!("recipient/{name}")
}

/// The destination of a partner of the directory.
pub fn to_partner(key: &str) -> SmolStr {
    format_smolstr!("partner/{key}")
}

impl Parcel {
    /// The parcel as the queue keeps it. What it replaces or adds to must not be overtaken by it, nor it by what
    /// replaces it, so its documents and their targets are its lanes.
    pub fn draft(&self, to: SmolStr, trace: TraceId) -> Result<Draft, StoreError> {
        let body = serde_json::to_vec(self).map_err(|_| StoreError::Damaged("the deliveries"))?;
        let entries = self.submission.entries.iter();
        let mut lanes: Vec<Vec<u8>> = entries.clone().map(|entry| lane(&entry.id)).collect();
        lanes.extend(entries.map(|entry| entry.unique_id.bare().as_bytes().to_vec()));
        lanes.extend(self.submission.associations.iter().map(|association| lane(&association.target)));
        lanes.sort();
        lanes.dedup();
        let mut contents: Vec<String> = self.documents.iter().map(|document| document.sha256.to_string()).collect();
        contents.sort();
        contents.dedup();
        Ok(Draft { kind: Kind::Documents, to, trace, lanes, contents, body })
    }

    /// What the submission is, whatever changes when it is sent again: not the ids that stand for its own objects, nor
    /// who passed it on.
    pub fn fingerprint(&self) -> Result<String, StoreError> {
        let mut plain = self.submission.clone();
        let mut names: HashMap<ObjectId, ObjectId> = HashMap::new();
        let own = plain.entries.iter().map(|one| &one.id).chain(plain.folders.iter().map(|one| &one.id));
        let own = own.chain([&plain.set.id]).chain(plain.associations.iter().map(|one| &one.id));
        for (at, id) in own.enumerate() {
            names.insert(id.clone(), ObjectId::Symbol(format_smolstr!("{at}")));
        }
        let rename = |id: &mut ObjectId| {
            if let Some(name) = names.get(id) {
                *id = name.clone();
            }
        };
        rename(&mut plain.set.id);
        plain.entries.iter_mut().for_each(|one| rename(&mut one.id));
        plain.folders.iter_mut().for_each(|one| rename(&mut one.id));
        for one in &mut plain.associations {
            [&mut one.id, &mut one.source, &mut one.target].into_iter().for_each(rename);
        }
        let documents: Vec<(ObjectId, &SmolStr)> = self
            .documents
            .iter()
            .map(|one| (names.get(&one.entry).cloned().unwrap_or_else(|| one.entry.clone()), &one.sha256))
            .collect();
        let text = serde_json::to_vec(&(plain, documents, &self.home));
        let text = text.map_err(|_| StoreError::Damaged("the deliveries"))?;
        Ok(hex::encode(digest(&SHA256, &text)))
    }

    /// The bytes of all documents together.
    pub fn size(&self) -> u64 {
        self.documents.iter().map(|document| document.size).sum()
    }
}

fn lane(id: &ObjectId) -> Vec<u8> {
    id.to_string().into_bytes()
}

/// Moves documents to their place, where they stay as long as somebody names them. To be called while
/// `Files::settling` is held.
pub async fn publish(gateway: &Gateway, documents: Vec<(ObjectId, Stored)>) -> Result<Vec<Enclosed>, FileError> {
    let mut published = Vec::with_capacity(documents.len());
    for (entry, stored) in documents {
        match stored.publish().await {
            Ok(Digests { sha256, size, .. }) => published.push(Enclosed { entry, sha256, size }),
            Err(error) => {
                tracing::error!(%error, tenant = gateway.tenant.as_str(), "a document could not be kept");
                return Err(error);
            }
        }
    }
    Ok(published)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DocumentUniqueId, EntryUuid};
    use crate::metadata::{Association, AssociationKind, DocumentEntry, DocumentKind, SubmissionSet};

    fn parcel() -> Parcel {
        let unique = |text: &str| DocumentUniqueId::new(text).unwrap();
        let set = SubmissionSet::new(EntryUuid::random(), unique("2.999.1"));
        let entry = DocumentEntry::new(EntryUuid::random(), DocumentKind::Stable, unique("2.999.2"), "text/plain");
        let member =
            Association::new(EntryUuid::random(), AssociationKind::HasMember, set.id.clone(), entry.id.clone());
        let documents = vec![Enclosed { entry: entry.id.clone(), sha256: "aa".into(), size: 1 }];
        let submission = Submission { set, entries: vec![entry], folders: Vec::new(), associations: vec![member] };
        let code = Code::new("TREATMENT", "2.999.9", "");
        let (sender, user) = ("lab".into(), "someone".into());
        Parcel { submission, documents, home: None, sender, user, role: code.clone(), purpose: code }
    }

    #[test]
    fn a_submission_that_comes_again_is_known_though_its_own_ids_are_new() {
        let first = parcel().fingerprint().unwrap();
        assert_eq!(parcel().fingerprint().unwrap(), first);
        type Change = fn(&mut Parcel);
        let changes: [(&str, Change); 4] = [
            ("a document's bytes", |parcel| parcel.documents[0].sha256 = "bb".into()),
            ("an attribute", |parcel| parcel.submission.entries[0].title = Some("Other".into())),
            ("the recipients", |parcel| parcel.submission.set.intended_recipients.push("x".into())),
            ("what it replaces", |parcel| {
                let (id, target) = (EntryUuid::random(), EntryUuid::random().into());
                let source = parcel.submission.entries[0].id.clone();
                parcel.submission.associations.push(Association::new(id, AssociationKind::Replace, source, target));
            }),
        ];
        for (story, change) in changes {
            let mut changed = parcel();
            change(&mut changed);
            assert_ne!(changed.fingerprint().unwrap(), first, "{story}");
        }
    }
}
