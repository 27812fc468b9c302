//! Causeway, a TEFCA and IHE document-exchange gateway.
//!
//! One program between a hospital's systems and the national networks: it knows the patient under every local
//! identifier, finds the communities that know the same person (XCPD), asks them for documents (XCA), brings the
//! documents home, and answers the same questions when others ask.
//!
//! # Data flows one way
//!
//! ```text
//! bytes -> decode -> authenticate -> authorize -> handle -> audit -> encode -> bytes
//! ```
//!
//! Every transaction on every wire takes this road, and [`pipeline`] is the only place that spells it out. Each check
//! leaves a value behind that the next step needs: only [`authenticate`] makes a `Caller`, only `policy` a
//! `Permitted` request, and a handler takes nothing else. A security fact that is missing is a refusal, never a
//! default. The audit record is on disk before the answer leaves; one that is dropped without being closed writes
//! itself as a failure.
//!
//! # Where things are
//!
//! A profile's folder has one file for each transaction (its messages, both directions) and one for each actor (its
//! behaviour), in IHE's words.
//!
//! | layer | modules | may use |
//! |---|---|---|
//! | 0 words | [`id`] | small crates |
//! | 1 wire | [`xml`] [`soap`] [`wssecurity`] [`saml`] [`hl7v2`] [`hl7v3`] [`ebxml`] [`metadata`] [`cda`] | 0; no runtime, no clock, no store, no socket |
//! | 2 state and rules | [`trust`] [`mpi`] [`storage`] [`directory`] [`authenticate`] [`policy`] [`routing`] [`atna`] | 0, 1, and what stands before it in this list |
//! | 3 the road | [`gateway`] [`pipeline`] | 0 to 2 |
//! | 4 profiles | [`xds`] [`xca`] [`xcpd`] [`xdr`] [`pix`] [`pdq`] [`fhir`] [`bulk`] | 0 to 3, and each other's transactions; what all FHIR messages share counts as wire |
//! | 5 edge | [`net`] [`endpoints`] [`operations`], then [`config`] [`app`] [`sandbox`] [`cli`] | everything |
//!
//! A test in this file compares the `use crate::` lines with this table. Codecs (layer 1) take time, keys and limits as
//! arguments, so every rule about expiry or truncation is a plain test. Outgoing calls have one seam for each wire, the traits
//! `routing::exchange::Exchange` and `routing::messenger::Messenger`. What is particular about a partner is data in its file of the directory, read by the
//! encoders: no partner's identifier is in code.

pub mod app;
pub mod atna;
pub mod authenticate;
pub mod bulk;
pub mod cda;
pub mod cli;
pub mod config;
pub mod directory;
pub mod ebxml;
pub mod endpoints;
pub mod fhir;
pub mod gateway;
pub mod hl7v2;
pub mod hl7v3;
pub mod id;
pub mod metadata;
pub mod mpi;
pub mod net;
pub mod operations;
pub mod pdq;
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
pub mod xdr;
pub mod xds;
pub mod xml;

#[cfg(test)]
mod layers {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// Every module of the crate's root with its layer; within layer 2 the order is the order of use.
    const LAYERS: [(&str, u8); 35] = [
        ("id", 0),
        ("xml", 10),
        ("soap", 10),
        ("wssecurity", 10),
        ("saml", 10),
        ("hl7v2", 10),
        ("hl7v3", 10),
        ("ebxml", 10),
        ("metadata", 10),
        ("cda", 10),
        ("trust", 20),
        ("mpi", 21),
        ("storage", 22),
        ("directory", 23),
        ("authenticate", 24),
        ("policy", 25),
        ("routing", 26),
        ("atna", 27),
        ("gateway", 30),
        ("pipeline", 31),
        ("xds", 40),
        ("xca", 40),
        ("xcpd", 40),
        ("xdr", 40),
        ("pix", 40),
        ("pdq", 40),
        ("fhir", 40),
        ("bulk", 40),
        ("net", 50),
        ("endpoints", 51),
        ("operations", 52),
        ("config", 53),
        ("app", 54),
        ("sandbox", 55),
        ("cli", 56),
    ];

    /// Modules of `fhir` that are of the wire layer: the wire of the road uses them.
    const FHIR_WIRE: [&str; 6] = ["bundle", "json", "outcome", "resource", "search", "xml"];

    fn layer(module: &str) -> Option<u8> {
        if module == "fhir::wire" {
            return Some(10);
        }
        LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
    }

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }

    /// The modules of the crate's root that a source file names in its product code.
    fn used(text: &str) -> Vec<String> {
        let product = text.split("#[cfg(test)]").next().unwrap();
        let code = product.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.flat_map(|line| {
            line.split("crate::").skip(1).map(|rest| {
                let part = |text: &str| -> String {
                    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
                };
                let module = part(rest);
                // What every FHIR message has in common is a wire, the rest of that module are profiles.
                let below = rest.strip_prefix("fhir::").map(part).unwrap_or_default();
                if FHIR_WIRE.contains(&below.as_str()) { "fhir::wire".to_owned() } else { module }
            })
        })
        .collect()
    }

    #[test]
    fn modules_use_only_the_layers_below_them() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        sources(&root, &mut files);
        let mut wrong = Vec::new();
        for file in files {
            let inside = file.strip_prefix(&root).unwrap();
            let mut parts = inside.iter().map(|part| part.to_str().unwrap().trim_end_matches(".rs"));
            let (module, below) = (parts.next().unwrap().to_owned(), parts.next().unwrap_or_default());
            let is_wire = module == "fhir" && FHIR_WIRE.contains(&below);
            let module = if is_wire { "fhir::wire".to_owned() } else { module };
            let is_test = inside.file_stem().is_some_and(|name| name == "tests");
            if is_test || matches!(module.as_str(), "lib" | "main" | "testing" | "bin") {
                continue;
            }
            let own = layer(&module).unwrap_or_else(|| panic!("{module} has no layer"));
            for target in used(&fs::read_to_string(&file).unwrap()) {
                let Some(other) = layer(&target) else { continue };
                let same_wire_or_profile = own == other && (own / 10 == 1 || own / 10 == 4);
                if target != module && other >= own && !same_wire_or_profile {
                    wrong.push(format!("{} uses {target}", inside.display()));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn the_wire_layer_knows_no_runtime_no_clock_and_no_store() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        for (module, _) in LAYERS.iter().filter(|(_, layer)| *layer <= 10) {
            files.push(root.join(format!("{module}.rs")));
            if root.join(module).is_dir() {
                sources(&root.join(module), &mut files);
            }
        }
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let product = text.split("#[cfg(test)]").next().unwrap();
            for word in ["tokio::", "redb::", "hyper::", "std::net", "std::fs", "Clock::system"] {
                assert!(!product.contains(word), "{} contains {word}", file.display());
            }
        }
    }
}
