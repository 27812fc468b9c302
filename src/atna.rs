//! ATNA audit records (ITI-20): written durably before an answer leaves, in a hash chain, forwarded by syslog.

mod activity;
pub mod event;
pub mod message;
pub mod syslog;
mod transaction;

pub use activity::{Alert, Occasion};
pub use event::{
    AccessPoint, Action, Content, Event, EventId, Human, Object, ObjectKind, Outcome, Participant, ReplayKey,
};
pub use message::Source;
pub use transaction::{Descriptor, Exchange, Party, Side};
