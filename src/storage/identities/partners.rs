//! What partners call our patients: identifiers learnt from discovery, and partners who said that they know nobody.

use serde::{Deserialize, Serialize};

use super::rows::{Codec, PARTNERS};
use super::{Identities, PersonKey};
use crate::id::{HomeCommunityId, PatientId, Tenant, Timestamp};
use crate::storage::engine::{StoreError, Write};
use crate::storage::seal::Purpose;

/// What one community calls one of our patients (ITI TF-2: 3.55.4.2.3, a correlation may be cached).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Correlation {
    /// The community that holds the records.
    pub home: HomeCommunityId,
    /// Its identifiers of the patient; none when it said that it knows nobody like this.
    pub patient_ids: Vec<PatientId>,
    /// When we learnt it.
    pub learned_at: Timestamp,
    /// Until when it may be used without asking again; none for as long as nobody revokes it.
    pub valid_until: Option<Timestamp>,
    /// The community that told us, when it is another.
    pub via: Option<HomeCommunityId>,
}

impl Correlation {
    /// Whether it may still be used.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.valid_until.is_none_or(|until| now < until)
    }
}

impl Identities {
    /// Remembers what a community calls a person, in place of what was remembered.
    pub async fn put_correlation(
        &self,
        tenant: &Tenant,
        person: PersonKey,
        correlation: Correlation,
    ) -> Result<(), StoreError> {
        let codec = self.codec(tenant);
        let row = key(&codec, person, Some(&correlation.home));
        let value = codec.encode(Purpose::Correlation, &correlation)?;
        self.engine.write(move |write| write.open_table(PARTNERS)?.insert(&row, &value)).await?;
        Ok(())
    }

    /// All that is remembered of a person, by community; what is no longer valid too.
    pub fn correlations(&self, tenant: &Tenant, person: PersonKey) -> Result<Vec<Correlation>, StoreError> {
        let codec = self.codec(tenant);
        let rows = self.engine.read()?.open_table(PARTNERS)?;
        let rows = rows.prefix(&key(&codec, person, None))?;
        rows.map(|row| codec.decode(Purpose::Correlation, row?.1.value())).collect()
    }

    /// Forgets what one community calls a person (ITI-107), or what all do. Returns whether there was anything.
    pub async fn forget_correlation(
        &self,
        tenant: &Tenant,
        person: PersonKey,
        home: Option<HomeCommunityId>,
    ) -> Result<bool, StoreError> {
        let codec = self.codec(tenant);
        let work = move |write: &Write<'_>| match &home {
            Some(home) => write.open_table(PARTNERS)?.remove(&key(&codec, person, Some(home))),
            None => forget_all(write, &codec, person),
        };
        self.engine.write(work).await
    }
}

fn key(codec: &Codec, person: PersonKey, home: Option<&HomeCommunityId>) -> Vec<u8> {
    let home = home.map(|home| home.oid().as_str()).unwrap_or_default();
    codec.key(&[&person.0.to_be_bytes(), home.as_bytes()])
}

pub(super) fn forget_all(write: &Write<'_>, codec: &Codec, person: PersonKey) -> Result<bool, StoreError> {
    Ok(!take_all(write, codec, person)?.is_empty())
}

/// Gives one person's rows to another, who keeps their own where both have one.
pub(super) fn hand_over(write: &Write<'_>, codec: &Codec, from: PersonKey, to: PersonKey) -> Result<(), StoreError> {
    let length = codec.person_key(from).len();
    for (row, value) in take_all(write, codec, from)? {
        let mut rows = write.open_table(PARTNERS)?;
        let mut new = codec.person_key(to);
        new.extend_from_slice(&row[length..]);
        if rows.get(&new)?.is_none() {
            rows.insert(&new, &value)?;
        }
    }
    Ok(())
}

/// Key and value, owned.
type Row = (Vec<u8>, Vec<u8>);

fn take_all(write: &Write<'_>, codec: &Codec, person: PersonKey) -> Result<Vec<Row>, StoreError> {
    let mut rows = write.open_table(PARTNERS)?;
    let owned = |row: Result<(crate::storage::engine::Bytes<'_>, crate::storage::engine::Bytes<'_>), StoreError>| {
        row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))
    };
    let found = rows.prefix(&key(codec, person, None))?.map(owned).collect::<Result<Vec<_>, _>>()?;
    for (row, _) in &found {
        rows.remove(row)?;
    }
    Ok(found)
}
