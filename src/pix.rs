//! PIX: patient identity feeds, and the manager of the cross-reference.

pub mod demographics_v2;
pub mod feed_v2;
pub mod feed_v3;
pub mod manager;
pub mod notifier;
pub mod notify_v2;
pub mod notify_v3;
pub mod query_v2;
pub mod query_v3;
pub mod question;
