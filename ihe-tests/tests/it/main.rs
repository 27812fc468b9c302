//! Integration tests, one module for each transaction or quality.

mod wsdl;
