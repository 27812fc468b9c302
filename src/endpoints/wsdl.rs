//! The WSDL of each service and the schemas it imports, as part of the program: a partner's SOAP client loads them from
//! the gateway it will talk to. Asked for by nobody in IHE, and by every toolkit.

use crate::xml;

/// The address in the files, in whose place the server's own goes.
const PLACEHOLDER: &str = "https://gateway.example.org/";

/// What a WSDL and a schema are served as.
const CONTENT_TYPE: &str = "text/xml; charset=UTF-8";

/// Path below the folder of WSDLs, and text.
const DOCUMENTS: [(&str, &str); 18] = [
    ("DocumentRecipient.wsdl", include_str!("../../wsdl/DocumentRecipient.wsdl")),
    ("DocumentRegistry.wsdl", include_str!("../../wsdl/DocumentRegistry.wsdl")),
    ("DocumentRepository.wsdl", include_str!("../../wsdl/DocumentRepository.wsdl")),
    ("InitiatingGateway.wsdl", include_str!("../../wsdl/InitiatingGateway.wsdl")),
    ("InitiatingGatewayXCPD.wsdl", include_str!("../../wsdl/InitiatingGatewayXCPD.wsdl")),
    ("PDSupplier.wsdl", include_str!("../../wsdl/PDSupplier.wsdl")),
    ("PIXManager.wsdl", include_str!("../../wsdl/PIXManager.wsdl")),
    ("RespondingGateway.wsdl", include_str!("../../wsdl/RespondingGateway.wsdl")),
    ("RespondingGatewayXCPD.wsdl", include_str!("../../wsdl/RespondingGatewayXCPD.wsdl")),
    ("schema/IHEXDSB.xsd", include_str!("../../wsdl/schema/IHEXDSB.xsd")),
    ("schema/hl7v3-pix-pdq.xsd", include_str!("../../wsdl/schema/hl7v3-pix-pdq.xsd")),
    ("schema/hl7v3-xcpd.xsd", include_str!("../../wsdl/schema/hl7v3-xcpd.xsd")),
    ("schema/lcm.xsd", include_str!("../../wsdl/schema/lcm.xsd")),
    ("schema/query.xsd", include_str!("../../wsdl/schema/query.xsd")),
    ("schema/rim.xsd", include_str!("../../wsdl/schema/rim.xsd")),
    ("schema/rmd.xsd", include_str!("../../wsdl/schema/rmd.xsd")),
    ("schema/rs.xsd", include_str!("../../wsdl/schema/rs.xsd")),
    ("schema/xml.xsd", include_str!("../../wsdl/schema/xml.xsd")),
];

/// Content type and text of a document by its path below the folder of WSDLs (`RespondingGateway.wsdl`,
/// `schema/rim.xsd`). The service's address in a WSDL becomes `public_url`, the whole URL to post to.
pub fn document(path_tail: &str, public_url: &str) -> Option<(&'static str, String)> {
    let (_, text) = DOCUMENTS.iter().find(|(path, _)| *path == path_tail)?;
    Some((CONTENT_TYPE, with_address(text, public_url)))
}

/// The paths that [`document`] knows.
pub fn paths() -> impl Iterator<Item = &'static str> {
    DOCUMENTS.iter().map(|(path, _)| *path)
}

fn with_address(text: &str, public_url: &str) -> String {
    let Some((before, rest)) = text.split_once(&format!("\"{PLACEHOLDER}")) else { return text.to_owned() };
    let after = rest.split_once('"').map_or("", |(_, after)| after);
    format!("{before}\"{}\"{after}", escaped(public_url))
}

/// Text as it stands in an attribute; the writer's escape function is the only one there is.
fn escaped(value: &str) -> String {
    let mut writer = xml::Writer::new();
    writer.start("a").attribute("v", value);
    let written = writer.finish();
    written.trim_start_matches("<a v=\"").trim_end_matches("\"/>").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Limits, parse};

    const SOAP12_BINDING: &str = "http://schemas.xmlsoap.org/wsdl/soap12/";

    #[test]
    fn each_wsdl_has_the_public_address_and_nothing_of_the_placeholder() {
        for path in paths() {
            let url = "https://gw.example.net:8443/a?b=1&c=\"<>";
            let (content_type, text) = document(path, url).unwrap();
            assert!(content_type.starts_with("text/xml"), "{path}");
            assert!(!text.contains("gateway.example.org"), "{path}");
            let tree = parse(&text, &Limits::default()).unwrap();
            let addresses: Vec<_> =
                tree.root().unwrap().descendants().filter(|element| element.is(SOAP12_BINDING, "address")).collect();
            assert_eq!(addresses.len(), usize::from(path.ends_with(".wsdl")), "{path}");
            assert!(addresses.iter().all(|address| address.attribute("location") == Some(url)), "{path}");
        }
    }

    #[test]
    fn every_import_is_served_beside_its_document() {
        for path in paths() {
            let (_, text) = document(path, "").unwrap();
            let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
            for (at, name) in text.match_indices("schemaLocation=\"") {
                let location = text[at + name.len()..].split('"').next().unwrap();
                assert!(document(&format!("{folder}{location}"), "").is_some(), "{path} imports {location}");
            }
        }
    }

    #[test]
    fn nothing_else_is_served() {
        for path in ["", "schema", "schema/", "../Cargo.toml", "schema/../RespondingGateway.wsdl", "rim.xsd"] {
            assert_eq!(document(path, "https://gw.example.net/"), None, "{path}");
        }
    }
}
