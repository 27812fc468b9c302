//! Patient identifiers (CX), OIDs, and the other identifiers of metadata: what is written is read again.
#![no_main]

use causeway::id::{DocumentUniqueId, EntryUuid, HomeCommunityId, Oid, PatientId, RepositoryId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(id) = PatientId::from_cx(&text) {
        assert_eq!(PatientId::from_cx(&id.to_cx()), Ok(id), "a patient identifier, twice");
    }
    if let Ok(oid) = Oid::lenient(&text) {
        assert_eq!(oid.as_str().parse(), Ok(oid), "an OID, twice");
    }
    if let Ok(home) = HomeCommunityId::lenient(&text) {
        assert_eq!(home.to_string().parse(), Ok(home), "a community, twice");
    }
    if let Ok(id) = DocumentUniqueId::new(&text) {
        assert_eq!(DocumentUniqueId::new(id.as_str()), Ok(id), "a document, twice");
    }
    if let Ok(id) = RepositoryId::new(&text) {
        assert_eq!(RepositoryId::new(id.as_str()), Ok(id), "a repository, twice");
    }
    if let Ok(id) = text.parse::<EntryUuid>() {
        assert_eq!(id.to_string().parse(), Ok(id), "an entry, twice");
    }
});
