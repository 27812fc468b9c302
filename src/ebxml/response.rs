//! The registry's answer: status, errors and warnings (ITI TF-3: 4.2.4).

use std::fmt;

use smol_str::SmolStr;

use super::{DecodeError, last_segment};
use crate::xml::{Element, Writer, ns};

/// How a request went. Computed from what is returned, so an answer with an error cannot say Success.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// No error; warnings are possible.
    Success,
    /// At least one error and at least one result.
    PartialSuccess,
    /// At least one error and no result.
    Failure,
}

impl Status {
    /// The status of a request that may succeed in part (ITI-18, 38, 39, 43).
    pub fn of(errors: &[RegistryError], has_results: bool) -> Self {
        match (errors.iter().any(RegistryError::is_error), has_results) {
            (false, _) => Self::Success,
            (true, true) => Self::PartialSuccess,
            (true, false) => Self::Failure,
        }
    }

    /// The literal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success",
            Self::PartialSuccess => "urn:ihe:iti:2007:ResponseStatusType:PartialSuccess",
            Self::Failure => "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Failure",
        }
    }

    /// Compares the last segment only: an ebXML prefix on PartialSuccess occurs. What is not known is a failure.
    fn from_wire(text: &str) -> Self {
        match last_segment(text) {
            "Success" => Self::Success,
            "PartialSuccess" => Self::PartialSuccess,
            _ => Self::Failure,
        }
    }
}

/// How bad an entry of the error list is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// The request was carried out.
    Warning,
    /// The request, or a part of it, was not carried out.
    Error,
}

impl Severity {
    /// The literal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Warning",
            Self::Error => "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Error",
        }
    }
}

macro_rules! error_codes {
    ($($variant:ident = $text:literal: $meaning:literal,)*) => {
        /// `errorCode` (ITI TF-3: Table 4.2.4.1-2 and the supplements).
        #[derive(Clone, Debug, Eq, Hash, PartialEq)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $variant,)*
            /// A code of a partner that is in no table.
            Other(SmolStr),
        }

        impl ErrorCode {
            /// The code as it is written.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }

            /// What it means, for people; empty for a partner's own.
            pub fn meaning(&self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                    Self::Other(_) => "",
                }
            }

            /// Reads a code; any other text is kept.
            pub fn from_wire(text: &str) -> Self {
                match last_segment(text) {
                    $($text => Self::$variant,)*
                    "" => Self::XdsRegistryError,
                    other => Self::Other(other.into()),
                }
            }
        }
    };
}

error_codes! {
    DocumentQueued = "DocumentQueued": "Queued for later processing.",
    InvalidDocumentContent = "InvalidDocumentContent": "The content does not match its metadata.",
    PartialAppendContentNotProcessed = "PartialAppendContentNotProcessed": "The append was ignored.",
    PartialFolderContentNotProcessed = "PartialFolderContentNotProcessed": "The folder was ignored.",
    PartialRelationshipContentNotProcessed = "PartialRelationshipContentNotProcessed": "The relationship was ignored.",
    PartialReplaceContentNotProcessed = "PartialReplaceContentNotProcessed": "The replacement was ignored.",
    PartialTransformNotProcessed = "PartialTransformNotProcessed": "The transformation was ignored.",
    PartialTransformReplaceNotProcessed = "PartialTransformReplaceNotProcessed":
        "The transformation with replacement was ignored.",
    PartialTransformContentNotProcessed = "PartialTransformContentNotProcessed":
        "Another spelling of PartialTransformNotProcessed.",
    PartialTransformReplaceContentNotProcessed = "PartialTransformReplaceContentNotProcessed":
        "Another spelling of PartialTransformReplaceNotProcessed.",
    UnresolvedReferenceException = "UnresolvedReferenceException": "A reference cannot be resolved.",
    ReferencesExistException = "ReferencesExistException": "Other objects still refer to this one.",
    XdsUnreferencedObjectException = "XDSUnreferencedObjectException": "A removal would leave an orphan.",
    XdsDocumentUniqueIdError = "XDSDocumentUniqueIdError": "No such document.",
    XdsDuplicateUniqueIdInRegistry = "XDSDuplicateUniqueIdInRegistry": "The unique id is already registered.",
    XdsExtraMetadataNotSaved = "XDSExtraMetadataNotSaved": "Extra slots were dropped.",
    XdsMissingDocument = "XDSMissingDocument": "Metadata without its document.",
    XdsMissingDocumentMetadata = "XDSMissingDocumentMetadata": "A document without its metadata.",
    XdsMissingHomeCommunityId = "XDSMissingHomeCommunityId": "A home community is required and missing.",
    XdsNonIdenticalHash = "XDSNonIdenticalHash": "A known unique id with another hash.",
    XdsNonIdenticalSize = "XDSNonIdenticalSize": "A known unique id with another size.",
    XdsPatientIdDoesNotMatch = "XDSPatientIdDoesNotMatch": "Objects of different patients are related.",
    XdsRegistryBusy = "XDSRegistryBusy": "The registry is too busy.",
    XdsRepositoryBusy = "XDSRepositoryBusy": "The repository is too busy.",
    XdsRegistryDeprecatedDocumentError = "XDSRegistryDeprecatedDocumentError": "The target is deprecated.",
    XdsRegistryDuplicateUniqueIdInMessage = "XDSRegistryDuplicateUniqueIdInMessage":
        "A unique id occurs twice in the message.",
    XdsRepositoryDuplicateUniqueIdInMessage = "XDSRepositoryDuplicateUniqueIdInMessage":
        "A unique id occurs twice in the message to a repository.",
    XdsRegistryError = "XDSRegistryError": "Internal error of the registry.",
    XdsRepositoryError = "XDSRepositoryError": "Internal error of the repository.",
    XdsRegistryMetadataError = "XDSRegistryMetadataError": "Metadata that the registry cannot accept.",
    XdsRepositoryMetadataError = "XDSRepositoryMetadataError": "Metadata that the repository cannot accept.",
    XdsRegistryNotAvailable = "XDSRegistryNotAvailable": "The repository cannot reach the registry.",
    XdsRegistryOutOfResources = "XDSRegistryOutOfResources": "The registry has no resources left.",
    XdsRepositoryOutOfResources = "XDSRepositoryOutOfResources": "The repository has no resources left.",
    XdsReplaceFailed = "XDSReplaceFailed": "No longer sent; some still do.",
    XdsResultNotSinglePatient = "XDSResultNotSinglePatient": "Full objects of several patients were asked for.",
    XdsStoredQueryMissingParam = "XDSStoredQueryMissingParam": "A required parameter is missing.",
    XdsStoredQueryParamNumber = "XDSStoredQueryParamNumber": "Wrong number of values, or exclusive parameters.",
    XdsTooManyResults = "XDSTooManyResults": "The result is too large.",
    XdsUnavailableCommunity = "XDSUnavailableCommunity": "A community could not be reached.",
    XdsUnknownCommunity = "XDSUnknownCommunity": "The home community is not known.",
    XdsUnknownPatientId = "XDSUnknownPatientId": "The patient id is not known.",
    XdsUnknownRepositoryId = "XDSUnknownRepositoryId": "The repository is not known.",
    XdsUnknownStoredQuery = "XDSUnknownStoredQuery": "The query id is not known.",
    XdsMetadataUpdateError = "XDSMetadataUpdateError": "The update failed.",
    XdsPatientIdReconciliationError = "XDSPatientIDReconciliationError": "The update conflicts in patient id.",
    XdsMetadataUpdateOperationError = "XDSMetadataUpdateOperationError": "The update cannot be understood.",
    XdsMetadataVersionError = "XDSMetadataVersionError": "The update is not of the current version.",
    XdsMetadataIdentifierError = "XDSMetadataIdentifierError": "The update changes an identifier.",
    XdsInvalidRequestException = "XDSInvalidRequestException": "The request is not valid.",
    XdsRemoveDocumentsError = "XDSRemoveDocumentsError": "The removal was refused.",
    XdsObjectTypeError = "XDSObjectTypeError": "Not an object of that type.",
    UnmodifiableMetadataError = "UnmodifiableMetadataError": "An attribute that cannot be changed.",
    LocalPolicyRestrictionError = "LocalPolicyRestrictionError": "Local policy forbids it.",
    XdsMetadataAnnotationError = "XDSMetadataAnnotationError": "The annotation failed.",
    UnknownRecipient = "UnknownRecipient": "The intended recipient is not known.",
    UnavailableRecipient = "UnavailableRecipient": "The intended recipient cannot be reached.",
    FhirDocumentNotSupported = "FHIRDocumentNotSupported": "FHIR documents are not supported.",
    TranscodingError = "TranscodingError": "The document cannot be transcoded.",
}

/// One entry of the error list.
#[derive(Clone, Eq, PartialEq)]
pub struct RegistryError {
    /// What kind of error.
    pub code: ErrorCode,
    /// Text for people. That of a partner may hold patient data, so `Debug` leaves it out.
    pub context: String,
    /// Where: a document's unique id, an entry's id, in XCA the community. Any text on receipt.
    pub location: Option<String>,
    /// How bad it is.
    pub severity: Severity,
}

impl RegistryError {
    /// An error.
    pub fn new(code: ErrorCode, context: impl Into<String>) -> Self {
        Self { code, context: context.into(), location: None, severity: Severity::Error }
    }

    /// The same, as a warning.
    pub fn warning(code: ErrorCode, context: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::new(code, context) }
    }

    /// With a location.
    pub fn at(self, location: impl Into<String>) -> Self {
        Self { location: Some(location.into()), ..self }
    }

    /// Not a warning.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Tolerates what live partners leave out: the severity (then it is an error) and the context.
    fn decode(element: Element<'_>) -> Self {
        let severity = match element.attribute("severity").map(last_segment) {
            Some("Warning") => Severity::Warning,
            _ => Severity::Error,
        };
        Self {
            code: ErrorCode::from_wire(element.attribute("errorCode").unwrap_or_default()),
            context: element.attribute("codeContext").unwrap_or_default().into(),
            location: element.attribute("location").filter(|text| !text.is_empty()).map(str::to_owned),
            severity,
        }
    }
}

/// The codes of errors, for records and logs. One that is in no table is a partner's own words, which may name anybody.
pub fn codes<'e>(errors: impl IntoIterator<Item = &'e RegistryError>) -> String {
    let code = |error: &'e RegistryError| match &error.code {
        ErrorCode::Other(_) => "a code of the partner's own",
        known => known.as_str(),
    };
    errors.into_iter().map(code).collect::<Vec<_>>().join(", ")
}

impl fmt::Debug for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({})", self.severity, codes([self]))
    }
}

/// The answer to a request that returns no objects (ITI-41, 42, 57, 61, 62): all or nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RegistryResponse {
    /// Errors and warnings.
    pub errors: Vec<RegistryError>,
}

impl RegistryResponse {
    /// Carried out, without a remark.
    pub fn success() -> Self {
        Self::default()
    }

    /// Failure if there is an error; these transactions know no partial success.
    pub fn status(&self) -> Status {
        Status::of(&self.errors, false)
    }

    /// Reads `rs:RegistryResponse`.
    pub fn decode(element: Element<'_>) -> Result<Self, DecodeError> {
        let element = element.expect(ns::RS, "RegistryResponse")?;
        Ok(Self { errors: decode_outcome(element, ErrorCode::XdsRegistryError)? })
    }

    /// The element, with its namespaces.
    pub fn encode(&self) -> String {
        let mut w = Writer::new();
        w.start("rs:RegistryResponse").attribute("xmlns:rs", ns::RS).attribute("status", self.status().as_str());
        write_errors(&mut w, &self.errors);
        w.finish()
    }
}

/// The errors of an element that has a status and an error list. A status that tells of an error while the list has
/// none becomes an error here, so nobody downstream takes a silent failure for an empty result.
pub fn decode_outcome(element: Element<'_>, code: ErrorCode) -> Result<Vec<RegistryError>, DecodeError> {
    let declared = Status::from_wire(element.require_attribute("status")?);
    let mut errors: Vec<_> = element
        .children_named(ns::RS, "RegistryErrorList")
        .flat_map(|list| list.children_named(ns::RS, "RegistryError"))
        .map(RegistryError::decode)
        .collect();
    if declared != Status::Success && !errors.iter().any(RegistryError::is_error) {
        errors.push(RegistryError::new(code, "the answer reports an error and does not say which"));
    }
    Ok(errors)
}

/// Writes the error list, if there is something in it. The caller has bound the prefix `rs`.
pub fn write_errors(w: &mut Writer, errors: &[RegistryError]) {
    let Some(highest) = errors.iter().map(|error| error.severity).max() else { return };
    w.start("rs:RegistryErrorList").attribute("highestSeverity", highest.as_str());
    for error in errors {
        w.start("rs:RegistryError")
            .attribute("errorCode", error.code.as_str())
            .attribute("codeContext", &error.context)
            .attribute_if("location", error.location.as_deref())
            .attribute("severity", error.severity.as_str())
            .end();
    }
    w.end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use crate::xml::{Limits, parse};

    fn read(text: &str) -> RegistryResponse {
        let tree = parse(text, &Limits::default()).unwrap();
        RegistryResponse::decode(tree.root().unwrap()).unwrap()
    }

    #[test]
    fn status_follows_from_errors_and_results() {
        let error = RegistryError::new(ErrorCode::XdsRegistryError, "");
        let warning = RegistryError::warning(ErrorCode::XdsExtraMetadataNotSaved, "");
        for (errors, results, status) in [
            (vec![], false, Status::Success),
            (vec![warning.clone()], true, Status::Success),
            (vec![warning, error.clone()], true, Status::PartialSuccess),
            (vec![error], false, Status::Failure),
        ] {
            assert_eq!(Status::of(&errors, results), status, "{errors:?}");
        }
    }

    #[test]
    fn what_live_partners_leave_out_of_errors_is_tolerated() {
        let rs = "xmlns:rs='urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0'";
        for (text, codes) in [
            (
                format!("<rs:RegistryResponse {rs} status='x:Success'><rs:RegistryErrorList/></rs:RegistryResponse>"),
                vec![],
            ),
            (
                format!(
                    "<rs:RegistryResponse {rs} status='Failure'><rs:RegistryErrorList><rs:RegistryError errorCode='XDSTooManyResults'/></rs:RegistryErrorList></rs:RegistryResponse>"
                ),
                vec![ErrorCode::XdsTooManyResults],
            ),
            // A failure that names no error still is one.
            (format!("<rs:RegistryResponse {rs} status='urn:x:Failure'/>"), vec![ErrorCode::XdsRegistryError]),
            (
                format!(
                    "<rs:RegistryResponse {rs} status='urn:x:Failure'><rs:RegistryErrorList><rs:RegistryError errorCode='House.Rule' codeContext='x' location='any text'/></rs:RegistryErrorList></rs:RegistryResponse>"
                ),
                vec![ErrorCode::Other("House.Rule".into())],
            ),
        ] {
            let found: Vec<_> = read(&text).errors.into_iter().map(|error| error.code).collect();
            assert_eq!(found, codes, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_valid_and_read_back() {
        let response = RegistryResponse {
            errors: vec![
                RegistryError::new(ErrorCode::XdsMissingDocument, "a <b> & \"c\"").at("Document01"),
                RegistryError::warning(ErrorCode::Other("House".into()), ""),
            ],
        };
        for response in [response, RegistryResponse::success()] {
            let text = response.encode();
            assert_eq!(read(&text), response);
            testing::validates(&text, "xds/rs.xsd");
        }
    }
}
