//! OIDs, communities, assigning authorities, patient and document identifiers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Why a text is not the identifier it should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IdError {
    /// The text is empty or only white space.
    #[error("the identifier is empty")]
    Empty,
    /// A community is written `urn:oid:` and an OID.
    #[error("a home community id starts with urn:oid:")]
    NoUrnPrefix,
    /// Not digits and dots with a first arc of 0, 1 or 2.
    #[error("not an OID")]
    NotAnOid,
    /// Not `urn:uuid:` and a UUID.
    #[error("not a urn:uuid: identifier")]
    NotAUuid,
    /// Longer than the limit, in characters.
    #[error("longer than {0} characters")]
    TooLong(usize),
    /// A CX names its assigning authority in component 4.
    #[error("the patient identifier names no assigning authority")]
    NoAuthority,
    /// Component 4 has a universal id without its type, or a type without an id.
    #[error("the assigning authority needs both a universal id and its type")]
    HalfAuthority,
    /// Something else than letters, digits, `.`, `_` and `-`.
    #[error("a name here starts with a letter or digit and has only letters, digits, '.', '_' and '-'")]
    NotAName,
}

/// An ISO object identifier: arcs of digits with dots, at most 64 characters (ITI TF-3: 4.2.3.1.5).
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "SmolStr", into = "SmolStr")]
pub struct Oid(SmolStr);

impl Oid {
    /// The dotted form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads `1.2.3` and `urn:oid:1.2.3` alike: partners write either form in the same field.
    pub fn lenient(text: &str) -> Result<Self, IdError> {
        strip_urn(text.trim(), "urn:oid:").parse()
    }
}

impl From<uuid::Uuid> for Oid {
    /// The OID of a UUID, under the arc 2.25 (ITU-T X.667).
    fn from(uuid: uuid::Uuid) -> Self {
        Self(smol_str::format_smolstr!("2.25.{}", uuid.as_u128()))
    }
}

impl FromStr for Oid {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > 64 {
            return Err(IdError::TooLong(64));
        }
        let arc = |arc: &str| {
            !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()) && (arc.len() == 1 || !arc.starts_with('0'))
        };
        let first = text.split('.').next().unwrap_or_default();
        if !text.contains('.') || !text.split('.').all(arc) || !matches!(first, "0" | "1" | "2") {
            return Err(IdError::NotAnOid);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<SmolStr> for Oid {
    type Error = IdError;

    fn try_from(text: SmolStr) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Oid> for SmolStr {
    fn from(oid: Oid) -> Self {
        oid.0
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A community's identity: an OID, `urn:oid:1.2.3` in metadata and SAML (ITI TF-3: 4.2.3.2.12), bare in HL7 v3.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HomeCommunityId(Oid);

impl HomeCommunityId {
    /// The community of a bare OID, as HL7 v3 writes it.
    pub fn from_oid(oid: Oid) -> Self {
        Self(oid)
    }

    /// Reads both the URN form and the bare form: communities differ, and one partner mixes them in one message.
    pub fn lenient(text: &str) -> Result<Self, IdError> {
        Oid::lenient(text).map(Self)
    }

    /// The bare form, for HL7 v3 `id/@root`.
    pub fn oid(&self) -> &Oid {
        &self.0
    }
}

impl FromStr for HomeCommunityId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let oid = text.strip_prefix("urn:oid:").ok_or(IdError::NoUrnPrefix)?;
        Ok(Self(oid.parse()?))
    }
}

impl TryFrom<String> for HomeCommunityId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<HomeCommunityId> for String {
    fn from(id: HomeCommunityId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for HomeCommunityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "urn:oid:{}", self.0)
    }
}

impl fmt::Debug for HomeCommunityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A patient identifier domain: its universal id and the id's type (`ISO` for OIDs; CX.4.2 and CX.4.3).
///
/// The namespace (CX.4.1) is a local label for the same authority; configuration maps it, and nothing compares it.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct AssigningAuthority {
    universal_id: SmolStr,
    kind: SmolStr,
}

impl AssigningAuthority {
    /// The authority of an OID.
    pub fn iso(oid: &Oid) -> Self {
        Self { universal_id: oid.as_str().into(), kind: SmolStr::new_static("ISO") }
    }

    /// An authority of any type; an `ISO` one must be an OID.
    pub fn new(universal_id: &str, kind: &str) -> Result<Self, IdError> {
        let (universal_id, kind) = (universal_id.trim(), kind.trim());
        if universal_id.is_empty() || kind.is_empty() {
            return Err(IdError::HalfAuthority);
        }
        if kind.eq_ignore_ascii_case("ISO") {
            return Ok(Self::iso(&Oid::lenient(universal_id)?));
        }
        if universal_id.len() > 199 {
            return Err(IdError::TooLong(199));
        }
        Ok(Self { universal_id: universal_id.into(), kind: kind.into() })
    }

    /// CX.4.2: the OID of an ISO authority, else the local id.
    pub fn universal_id(&self) -> &str {
        &self.universal_id
    }

    /// CX.4.3: `ISO`, `DNS`, `L` and the like.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The OID, if this is an ISO authority.
    pub fn oid(&self) -> Option<Oid> {
        if self.kind == "ISO" { self.universal_id.parse().ok() } else { None }
    }
}

impl fmt::Display for AssigningAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "&{}&{}", self.universal_id, self.kind)
    }
}

impl fmt::Debug for AssigningAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A patient's identifier in one domain. Never empty, so an empty identifier cannot match another;
/// kept as text, so leading zeros survive.
///
/// `Debug` prints the domain and not the identifier.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct PatientId {
    authority: AssigningAuthority,
    id: SmolStr,
}

impl PatientId {
    /// The longest identifier kept, in characters: what `rim:ExternalIdentifier/@value` leaves beside an OID.
    pub const MAX_LENGTH: usize = 180;

    /// An identifier of a domain. White space around it is not part of it.
    pub fn new(id: &str, authority: AssigningAuthority) -> Result<Self, IdError> {
        let id = id.trim();
        if id.is_empty() {
            return Err(IdError::Empty);
        }
        if id.chars().count() > Self::MAX_LENGTH {
            return Err(IdError::TooLong(Self::MAX_LENGTH));
        }
        Ok(Self { authority, id: id.into() })
    }

    /// Reads the XDS form `id^^^&OID&ISO` (ITI TF-3: 4.2.3.1.7); components after the fourth are ignored.
    pub fn from_cx(text: &str) -> Result<Self, IdError> {
        let mut components = text.trim().split('^');
        let id = components.next().unwrap_or_default();
        let authority = components.nth(2).ok_or(IdError::NoAuthority)?;
        let mut parts = authority.split('&');
        let (_namespace, universal, kind) = (parts.next(), parts.next(), parts.next());
        match (universal.unwrap_or_default(), kind.unwrap_or_default()) {
            ("", "") => Err(IdError::NoAuthority),
            (universal, kind) => Self::new(id, AssigningAuthority::new(universal, kind)?),
        }
    }

    /// The XDS form `id^^^&OID&ISO`.
    pub fn to_cx(&self) -> String {
        format!("{}^^^{}", self.id, self.authority)
    }

    /// The identifier without its domain.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The domain.
    pub fn authority(&self) -> &AssigningAuthority {
        &self.authority
    }
}

impl fmt::Debug for PatientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PatientId(…^^^{})", self.authority)
    }
}

/// `DocumentEntry.uniqueId`: opaque, case-sensitive, echoed byte for byte (ITI TF-3: 4.2.3.2.26).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct DocumentUniqueId(SmolStr);

impl DocumentUniqueId {
    /// At most 256 characters, the length that `xds:DocumentUniqueId` allows.
    pub fn new(text: &str) -> Result<Self, IdError> {
        opaque(text, 256).map(Self)
    }

    /// The text as received.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text without a `urn:oid:` or `urn:uuid:` prefix: partners add and drop them, so ids are compared without.
    pub fn bare(&self) -> &str {
        strip_urn(strip_urn(&self.0, "urn:oid:"), "urn:uuid:")
    }
}

impl From<Oid> for DocumentUniqueId {
    fn from(oid: Oid) -> Self {
        Self(oid.into())
    }
}

impl fmt::Display for DocumentUniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `DocumentEntry.repositoryUniqueId`: opaque on receipt, an OID when it is ours (ITI TF-3: 4.2.3.2.18).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct RepositoryId(SmolStr);

impl RepositoryId {
    /// At most 256 characters, the length that `xds:RepositoryUniqueId` allows.
    pub fn new(text: &str) -> Result<Self, IdError> {
        opaque(text, 256).map(Self)
    }

    /// The text as received.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Oid> for RepositoryId {
    fn from(oid: Oid) -> Self {
        Self(oid.into())
    }
}

impl fmt::Display for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A registry object's `@id`: `urn:uuid:` and a lower-case UUID (ITI TF-3: 4.2.3.2.8).
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct EntryUuid(uuid::Uuid);

impl EntryUuid {
    /// A new random one. Version 4: an id that leaves the house must not tell when it was made.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }

    /// The 16 bytes, for keys in the store.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Back from the 16 bytes of a key.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }
}

impl FromStr for EntryUuid {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let text = text.trim();
        let bare = text.strip_prefix("urn:uuid:").ok_or(IdError::NotAUuid)?;
        if bare.len() != 36 {
            return Err(IdError::NotAUuid);
        }
        uuid::Uuid::try_parse(bare).map(Self).map_err(|_| IdError::NotAUuid)
    }
}

impl fmt::Display for EntryUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "urn:uuid:{}", self.0.as_hyphenated())
    }
}

impl fmt::Debug for EntryUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Names one exchange in faults, logs, audit records and stored traces. Sortable by time; says nothing of a person.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct TraceId(uuid::Uuid);

impl TraceId {
    /// A new one (UUID version 7: in the order of time).
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    /// The 16 bytes, for keys in the store.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl Default for TraceId {
    fn default() -> Self {
        Self::new()
    }
}

impl FromStr for TraceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        uuid::Uuid::try_parse(text).map(Self).map_err(|_| IdError::NotAUuid)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_simple())
    }
}

fn opaque(text: &str, limit: usize) -> Result<SmolStr, IdError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.chars().count() > limit {
        return Err(IdError::TooLong(limit));
    }
    Ok(text.into())
}

/// Removes a URN prefix whatever its case.
fn strip_urn<'t>(text: &'t str, prefix: &str) -> &'t str {
    match text.get(..prefix.len()) {
        Some(head) if head.eq_ignore_ascii_case(prefix) => &text[prefix.len()..],
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_ids_that_are_not_oid_urns() {
        for (text, error) in [
            ("2.16.840.1.113883.3.7204", IdError::NoUrnPrefix),
            ("urn:oid:3.1", IdError::NotAnOid),
            ("urn:oid:1", IdError::NotAnOid),
            ("urn:oid:1.02", IdError::NotAnOid),
            ("urn:oid:1..2", IdError::NotAnOid),
            ("urn:oid:", IdError::Empty),
        ] {
            assert_eq!(text.parse::<HomeCommunityId>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn reads_a_community_in_either_form() {
        for text in ["urn:oid:2.999.1", "2.999.1", " URN:OID:2.999.1 "] {
            assert_eq!(HomeCommunityId::lenient(text).unwrap().to_string(), "urn:oid:2.999.1", "{text:?}");
        }
    }

    #[test]
    fn patient_ids_round_trip_with_their_leading_zeros() {
        let id = PatientId::from_cx("007^^^&2.999.1.3&ISO").unwrap();
        assert_eq!(id.id(), "007");
        assert_eq!(id.to_cx(), "007^^^&2.999.1.3&ISO");
        assert_ne!(id, PatientId::from_cx("7^^^&2.999.1.3&ISO").unwrap());
    }

    #[test]
    fn patient_ids_that_could_match_by_accident_do_not_exist() {
        for (text, error) in [
            ("", IdError::NoAuthority),
            ("^^^&2.999.1.3&ISO", IdError::Empty),
            ("   ^^^&2.999.1.3&ISO", IdError::Empty),
            ("A1", IdError::NoAuthority),
            ("A1^^^", IdError::NoAuthority),
            ("A1^^^&2.999.1.3", IdError::HalfAuthority),
            ("A1^^^&&ISO", IdError::HalfAuthority),
            ("A1^^^&not-an-oid&ISO", IdError::NotAnOid),
        ] {
            assert_eq!(PatientId::from_cx(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn debug_of_a_patient_id_shows_the_domain_only() {
        let id = PatientId::from_cx("MRN-42^^^&2.999.1.3&ISO").unwrap();
        assert!(!format!("{id:?}").contains("MRN-42"));
    }

    #[test]
    fn entry_ids_are_written_in_lower_case() {
        let id: EntryUuid = "urn:uuid:7EDCA82F-054D-47F2-A032-9B2A5B5186C1".parse().unwrap();
        assert_eq!(id.to_string(), "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1");
        assert_eq!("Document01".parse::<EntryUuid>(), Err(IdError::NotAUuid));
    }

    #[test]
    fn document_ids_compare_without_a_urn_prefix() {
        assert_eq!(DocumentUniqueId::new("urn:oid:2.999.9.1").unwrap().bare(), "2.999.9.1");
        assert_eq!(DocumentUniqueId::new("2.999.9.1^ext").unwrap().bare(), "2.999.9.1^ext");
    }
}
