//! What happened in each exchange, without patient data.
