//! Sending to many partners at once, under one deadline.
