//! Namespace names.

/// SOAP 1.2 envelope.
pub const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";
/// SOAP 1.1 envelope, recognised to refuse it by name.
pub const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// WS-Addressing 1.0.
pub const WSA: &str = "http://www.w3.org/2005/08/addressing";
/// XOP include.
pub const XOP: &str = "http://www.w3.org/2004/08/xop/include";
/// ebRIM 3.0.
pub const RIM: &str = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0";
/// ebRS 3.0.
pub const RS: &str = "urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0";
/// ebRS life cycle manager.
pub const LCM: &str = "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0";
/// ebRS query manager.
pub const QUERY: &str = "urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0";
/// IHE XDS.b.
pub const XDS: &str = "urn:ihe:iti:xds-b:2007";
/// Home community block of XDR and XCDR.
pub const XDR: &str = "urn:ihe:iti:xdr:2014";
/// Remove metadata and documents.
pub const RMD: &str = "urn:ihe:iti:rmd:2017";
/// XCPD headers and ITI-56.
pub const XCPD: &str = "urn:ihe:iti:xcpd:2009";
/// HL7 v3.
pub const HL7V3: &str = "urn:hl7-org:v3";
/// The Direct project's metadata level header.
pub const DIRECT: &str = "urn:direct:addressing";
/// WS-Security 1.0.
pub const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
/// WS-Security 1.1.
pub const WSSE11: &str = "http://docs.oasis-open.org/wss/oasis-wss-wssecurity-secext-1.1.xsd";
/// WS-Security utility.
pub const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
/// XML Signature.
pub const DS: &str = "http://www.w3.org/2000/09/xmldsig#";
/// XML Signature 1.1, for elliptic-curve key values.
pub const DSIG11: &str = "http://www.w3.org/2009/xmldsig11#";
/// Exclusive canonicalisation.
pub const EXC_C14N: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
/// SAML 2.0 assertion.
pub const SAML2: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
/// XML Schema.
pub const XS: &str = "http://www.w3.org/2001/XMLSchema";
/// XML Schema instance.
pub const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// FHIR.
pub const FHIR: &str = "http://hl7.org/fhir";
/// XHTML, for the narrative of FHIR resources.
pub const XHTML: &str = "http://www.w3.org/1999/xhtml";
