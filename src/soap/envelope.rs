//! The SOAP 1.2 envelope, as received and as sent.
