//! Patient matching: pure functions over demographics; rows come from storage.
