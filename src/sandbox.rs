//! Three communities on loopback, and a query across them.

pub mod samples;
