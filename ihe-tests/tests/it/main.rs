//! Integration tests, one module for each transaction or quality.

#[cfg(test)]
mod addressing;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod busy;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod canary_partners;
#[cfg(test)]
mod ccda_schematron;
#[cfg(test)]
mod collector_down;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod corpus_replay;
#[cfg(test)]
mod crash_audit;
#[cfg(test)]
mod crash_deliveries;
#[cfg(test)]
mod crash_documents;
#[cfg(test)]
mod crash_gateway;
#[cfg(test)]
mod crash_store;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod external_registry;
// Marked as a test, so that its helpers may panic like the tests do.
#[cfg(test)]
mod fhir_attacks;
#[cfg(test)]
mod fhir_resources;
#[cfg(test)]
mod hostile;
// Marked as a test, so that its helpers may panic like the tests do.
#[cfg(test)]
mod initiating_gateway;
#[cfg(test)]
mod iti_104;
#[cfg(test)]
mod iti_119;
#[cfg(test)]
mod iti_20;
#[cfg(test)]
mod iti_38;
#[cfg(test)]
mod iti_39;
#[cfg(test)]
mod iti_41;
#[cfg(test)]
mod iti_42;
#[cfg(test)]
mod iti_51;
#[cfg(test)]
mod iti_55;
#[cfg(test)]
mod iti_57;
#[cfg(test)]
mod iti_61;
#[cfg(test)]
mod iti_65;
#[cfg(test)]
mod iti_67;
#[cfg(test)]
mod iti_78;
#[cfg(test)]
mod iti_8;
#[cfg(test)]
mod iti_83;
mod match_quality;
#[cfg(test)]
mod mhd_attacks;
#[cfg(test)]
mod mhd_communities;
#[cfg(test)]
mod mtom_clients;
#[cfg(test)]
mod nist_scenarios;
#[cfg(test)]
mod notifications;
#[cfg(test)]
mod ohie_client_registry;
#[cfg(test)]
mod partner_faults;
// Marked as a test, so that its helpers may panic like the tests do.
#[cfg(test)]
mod patients;
#[cfg(test)]
mod pix_pdq_v3;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod served;
#[cfg(test)]
mod three_dialects;
#[cfg(test)]
mod tls_refusals;
#[cfg(test)]
mod who_is_who;
#[cfg(test)]
mod wsdl;
#[cfg(test)]
mod xdr;
// Marked as a test, so that its helpers may panic like the tests do.
#[cfg(test)]
mod xml_signature;
#[cfg(test)]
mod zeep;
