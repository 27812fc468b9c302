//! XDR and XCDR: documents sent to somebody, rather than kept for whoever asks (ITI TF-1: 15, XCDR supplement).
//!
//! `recipient` takes them in, for the recipients that the operator names or for another community; `sender` delivers
//! them from the queue, those of others and our own. What is in the queue is a [`Parcel`].

mod bundle;
pub mod inbox;
pub mod parcel;
pub mod recipient;
pub mod sender;

pub use parcel::{Enclosed, Parcel};
