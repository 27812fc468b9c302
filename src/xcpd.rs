//! XCPD: find the communities that know a patient.
