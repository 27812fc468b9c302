//! SOAP 1.2 faults.
