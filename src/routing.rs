//! Sending to many partners at once, under one deadline.

pub mod breaker;
pub mod call;
pub mod exchange;
pub mod fan_out;
pub mod messenger;
pub mod package;
