//! Words of the domain: identifiers, codes, people and time. Nothing here knows a wire, a store or a socket.
//!
//! Text becomes one of these types once, when a message is decoded; past that point nobody checks it again.

pub mod code;
pub mod domains;
pub mod exchange_purpose;
pub mod identifiers;
pub mod patient;
pub mod tenant;
pub mod time;
pub mod transaction;

pub use code::Code;
pub use domains::{Domain, DomainError, Domains};
pub use exchange_purpose::{ExchangePurpose, NhinPurpose, TefcaPurpose};
pub use identifiers::{
    AssigningAuthority, DocumentUniqueId, EntryUuid, HomeCommunityId, IdError, Oid, PatientId, RepositoryId, TraceId,
};
pub use patient::{Address, Demographics, Gender, PersonName, Telecom};
pub use tenant::Tenant;
pub use time::{Clock, Dtm, Timestamp};
pub use transaction::Transaction;
