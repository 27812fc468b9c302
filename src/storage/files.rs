//! Document bytes, in files, streamed and hashed while written.
