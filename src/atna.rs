//! ATNA audit records (ITI-20): written durably before an answer leaves, in a hash chain, forwarded by syslog.

mod activity;
pub mod chain;
pub mod event;
pub mod forward;
pub mod journal;
pub mod message;
mod recorder;
pub mod syslog;
mod transaction;
pub mod verify;

pub use activity::{Alert, Occasion};
pub use chain::{Sequence, Signer};
pub use event::{
    AccessPoint, Action, Content, Event, EventId, Human, Object, ObjectKind, Outcome, Participant, ReplayKey,
};
pub use journal::{AuditError, Opened};
pub use message::Source;
pub use recorder::{Audit, Settings};
pub use transaction::{Descriptor, Exchange, Party, Side};
