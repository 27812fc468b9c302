//! Integration tests, one module for each transaction or quality.

mod tls_refusals;
mod wsdl;
