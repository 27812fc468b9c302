//! XDS.b: sharing documents within a community (ITI TF-1: 10). Here are the messages of its transactions; gateways
//! and XDR use them too.

pub mod administration;
pub mod content;
pub mod external;
pub mod on_demand;
pub mod provide;
pub mod register;
pub mod registration;
pub mod registry;
pub mod remove;
pub mod repository;
pub mod retrieval;
pub mod retrieve;
pub mod stored_query;
