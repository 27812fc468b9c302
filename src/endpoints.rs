//! The table of contents: SOAP action or HL7 trigger event to transaction.

pub mod wsdl;
