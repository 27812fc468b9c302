//! Causeway, a TEFCA and IHE document-exchange gateway.

pub mod app;
pub mod atna;
pub mod authenticate;
pub mod cli;
pub mod config;
pub mod directory;
pub mod ebxml;
pub mod endpoints;
pub mod gateway;
pub mod hl7v2;
pub mod hl7v3;
pub mod id;
pub mod metadata;
pub mod mpi;
pub mod net;
pub mod pipeline;
pub mod pix;
pub mod policy;
pub mod routing;
pub mod saml;
pub mod sandbox;
pub mod soap;
pub mod storage;
#[cfg(test)]
mod testing;
pub mod trust;
pub mod wssecurity;
pub mod xca;
pub mod xcpd;
pub mod xds;
pub mod xml;
