//! Sockets: HTTPS and MLLP listeners, calls and messages to partners.
//!
//! Everything here has a limit: connections in all and from one address, time for a handshake, headers, a body that
//! stalls, bytes of a body, streams of HTTP/2. One bad connection costs itself and nothing else.

pub mod body;
pub mod control;
pub mod dial;
pub mod gate;
mod gulp;
pub mod https;
mod linger;
pub mod messenger;
pub mod mllp;
mod pulse;
pub mod to_the_end;

#[cfg(test)]
mod tests;

pub use gate::OnRefused;
