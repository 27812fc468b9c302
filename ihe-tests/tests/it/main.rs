//! Integration tests, one module for each transaction or quality.

mod tls_refusals;
mod wsdl;
// Marked as a test, so that its helpers may panic like the tests do.
#[cfg(test)]
mod xml_signature;
