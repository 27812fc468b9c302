//! WS-Addressing 1.0 headers.
