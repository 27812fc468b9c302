//! SOAP 1.2 with WS-Addressing and MTOM/XOP (ITI TF-2: Appendix V).

pub mod addressing;
pub mod envelope;
pub mod fault;
pub mod mtom;
