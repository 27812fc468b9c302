//! OperationOutcome, and the one table from our refusals to HTTP statuses and issue codes
//! (ITI TF-2: Appendix Z; PIXm 2:3.83.4.2; PDQm 2:3.78.4.1.3; MHD 2:3.65.4.2).

use serde_json::Value;
use smol_str::SmolStr;

use super::json::{self, Builder, JsonError};
use crate::ebxml::{ErrorCode, RegistryError};
use crate::id::TraceId;
use crate::xml::XmlError;

/// `issue.severity`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// The issue ended the work.
    Fatal,
    /// The request was not done.
    Error,
    /// It was done, but not all of it.
    Warning,
    /// Nothing is wrong.
    Information,
}

impl Severity {
    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Information => "information",
        }
    }

    /// From the code.
    pub fn from_wire(text: &str) -> Option<Self> {
        [Self::Fatal, Self::Error, Self::Warning, Self::Information].into_iter().find(|one| one.as_str() == text)
    }
}

/// Declares the codes of `issue.code` with their spelling.
macro_rules! issue_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// `issue.code` (FHIR value set `issue-type`).
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum IssueCode {
            $($(#[$doc])* $name,)*
        }

        impl IssueCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

issue_codes! {
    /// Content that is not valid.
    Invalid = "invalid",
    /// Not well-formed or not of the structure.
    Structure = "structure",
    /// An element that must be there.
    Required = "required",
    /// A value that cannot be.
    Value = "value",
    /// A rule of a profile.
    Invariant = "invariant",
    /// A problem of security.
    Security = "security",
    /// The caller has to authenticate.
    Login = "login",
    /// The caller is not known.
    Unknown = "unknown",
    /// The session is over.
    Expired = "expired",
    /// The caller may not.
    Forbidden = "forbidden",
    /// Something was left out for reasons of privacy.
    Suppressed = "suppressed",
    /// Something went wrong while working.
    Processing = "processing",
    /// Not supported here.
    NotSupported = "not-supported",
    /// Already there.
    Duplicate = "duplicate",
    /// Several where one is needed.
    MultipleMatches = "multiple-matches",
    /// Not there.
    NotFound = "not-found",
    /// No longer there.
    Deleted = "deleted",
    /// Too much.
    TooLong = "too-long",
    /// A code or system that is not known.
    CodeInvalid = "code-invalid",
    /// A reference or extension that cannot be used.
    Extension = "extension",
    /// More than the server does for one request.
    TooCostly = "too-costly",
    /// A rule of business.
    BusinessRule = "business-rule",
    /// Somebody else changed it first.
    Conflict = "conflict",
    /// May work later.
    Transient = "transient",
    /// A lock.
    LockError = "lock-error",
    /// No store.
    NoStore = "no-store",
    /// A fault of the server.
    Exception = "exception",
    /// It took too long.
    Timeout = "timeout",
    /// Not everything could be found.
    Incomplete = "incomplete",
    /// Too many requests.
    Throttled = "throttled",
    /// For information.
    Informational = "informational",
}

impl IssueCode {
    /// From the code.
    pub fn from_wire(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

/// One thing to tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issue {
    /// How bad it is.
    pub severity: Severity,
    /// What kind it is.
    pub code: IssueCode,
    /// The text, in `diagnostics` and in `details.text`: profiles ask for the one, published examples have the other.
    pub text: String,
    /// A code of IHE's in `details.coding`, such as an XDS error code.
    pub detail: Option<SmolStr>,
}

impl Issue {
    /// An issue with a text.
    pub fn new(severity: Severity, code: IssueCode, text: impl Into<String>) -> Self {
        Self { severity, code, text: text.into(), detail: None }
    }

    /// A warning with a code of IHE's.
    pub fn warning(code: IssueCode, detail: &str, text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, code, text: text.into(), detail: Some(detail.into()) }
    }
}

/// An OperationOutcome.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// What it tells, at least one.
    pub issues: Vec<Issue>,
}

impl Outcome {
    /// Of one issue.
    pub fn of(issue: Issue) -> Self {
        Self { issues: vec![issue] }
    }

    /// Reads an OperationOutcome of a partner. Codes that are not known count as `processing`.
    pub fn decode(resource: &Value) -> Option<Self> {
        if json::resource_type(resource) != "OperationOutcome" {
            return None;
        }
        let issues = json::list(resource, "issue").iter().map(|issue| {
            let details = issue.get("details").unwrap_or(&Value::Null);
            let text = json::text(issue, "diagnostics").or_else(|| json::text(details, "text")).unwrap_or_default();
            Issue {
                severity: json::text(issue, "severity").and_then(Severity::from_wire).unwrap_or(Severity::Error),
                code: json::text(issue, "code").and_then(IssueCode::from_wire).unwrap_or(IssueCode::Processing),
                text: text.to_owned(),
                detail: json::list(details, "coding")
                    .iter()
                    .find_map(|coding| json::text(coding, "code"))
                    .map(Into::into),
            }
        });
        Some(Self { issues: issues.collect() })
    }

    /// The resource.
    pub fn encode(&self) -> Value {
        self.written(None)
    }

    /// The resource of a refused request, with the name of its exchange for those who look for the reason.
    pub fn traced(&self, trace: TraceId) -> Value {
        self.written(Some(trace))
    }

    fn written(&self, trace: Option<TraceId>) -> Value {
        let issues: Vec<Value> = self.issues.iter().map(|issue| written(issue, trace)).collect();
        let id = trace.map(|trace| trace.to_string());
        Builder::resource("OperationOutcome").with_if("id", id).with("issue", issues).build()
    }
}

fn written(issue: &Issue, trace: Option<TraceId>) -> Value {
    let mut details = Builder::new();
    if let Some(detail) = &issue.detail {
        details.push("coding", Builder::new().with("code", detail.as_str()));
    }
    details.set("text", issue.text.as_str());
    let diagnostics = match trace {
        Some(trace) => format!("{} (trace {trace})", issue.text),
        None => issue.text.clone(),
    };
    Builder::new()
        .with("severity", issue.severity.as_str())
        .with("code", issue.code.as_str())
        .with("details", details)
        .with("diagnostics", diagnostics)
        .build()
}

/// Why a FHIR request was refused. The texts name elements and parameters and quote no value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The body is not JSON or XML; the text names the place.
    #[error("the body cannot be read: {0}")]
    Unreadable(String),
    /// The body is not the resource that belongs there.
    #[error("the body is no {0}")]
    WrongResource(&'static str),
    /// An element is missing.
    #[error("{0} is missing")]
    Missing(SmolStr),
    /// An element or parameter has a value that cannot be used.
    #[error("{0} cannot be used")]
    Unusable(SmolStr),
    /// A rule of a profile is broken.
    #[error("{0}")]
    Profile(String),
    /// A parameter that is not known, with `Prefer: handling=strict`.
    #[error("the search parameter {0} is not supported")]
    UnknownParameter(SmolStr),
    /// ITI-83: no such patient in the domain.
    #[error("sourceIdentifier Patient Identifier not found")]
    SourceIdentifierUnknown,
    /// ITI-83: the domain of the source identifier is not known.
    #[error("sourceIdentifier Assigning Authority not found")]
    SourceDomainUnknown,
    /// ITI-83: a target domain is not known.
    #[error("targetSystem not found")]
    TargetSystemUnknown,
    /// ITI-78: a domain to be returned is not known.
    #[error("targetSystem not found")]
    TargetDomainUnknown,
    /// No resource of this id.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// It was there.
    #[error("the {0} is no longer available")]
    Gone(&'static str),
    /// No such operation or interaction.
    #[error("{0} is not supported here")]
    NotSupported(SmolStr),
    /// None of the formats that the caller accepts.
    #[error("none of the accepted formats can be written")]
    NotAcceptable,
    /// A body of another type than FHIR JSON or XML.
    #[error("the media type of the body is not supported")]
    UnsupportedMediaType,
    /// A conditional interaction found several.
    #[error("the condition matches several resources")]
    SeveralMatches,
    /// Somebody who has not proved who they are.
    #[error("authentication is required")]
    Unauthenticated,
    /// Somebody who may not.
    #[error("{0}")]
    Forbidden(String),
    /// What is asked for is served, but not in this way; the methods that are.
    #[error("this is served for {0} only")]
    Method(&'static str),
    /// What is there contradicts what is sent.
    #[error("{0}")]
    Conflict(String),
    /// More than is told to anybody.
    #[error("{0}")]
    TooCostly(String),
    /// ITI-65: a document as a Bundle, without that option.
    #[error("FHIR document bundles are not supported")]
    FhirDocument,
    /// ITI-65: what the registry or recipient behind says, in its own code.
    #[error("{text}")]
    Xds {
        /// The code of ITI TF-3: 4.2.4.1.
        code: ErrorCode,
        /// In words.
        text: String,
    },
    /// ITI-65: several such refusals at once, each with its text.
    #[error("the metadata has {} problems", .0.len())]
    Problems(Vec<(ErrorCode, String)>),
    /// A partner did not give what was asked of it.
    #[error("{0}")]
    Partner(String),
    /// More bytes than the limit.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// Too few bytes in too much time.
    #[error("the body came too slowly")]
    Slow,
    /// Too many requests.
    #[error("too many requests")]
    Throttled,
    /// A system behind this one did not answer.
    #[error("a system behind this one is not available")]
    Unavailable,
    /// A system behind this one took too long.
    #[error("a system behind this one did not answer in time")]
    TimedOut,
    /// A fault here.
    #[error("the request failed here")]
    Internal,
}

impl Refusal {
    /// HTTP status, severity and issue code. No `_` arm: whoever adds a refusal picks them.
    fn row(&self) -> (u16, Severity, IssueCode) {
        use Severity::{Error, Fatal, Warning};
        match self {
            Self::Unreadable(_) | Self::WrongResource(_) => (400, Error, IssueCode::Structure),
            Self::Missing(_) => (400, Error, IssueCode::Required),
            Self::Unusable(_) => (400, Error, IssueCode::Invalid),
            Self::Profile(_) => (422, Error, IssueCode::Invariant),
            Self::UnknownParameter(_) => (400, Error, IssueCode::NotSupported),
            Self::SourceIdentifierUnknown => (404, Error, IssueCode::NotFound),
            Self::SourceDomainUnknown => (400, Error, IssueCode::CodeInvalid),
            Self::TargetSystemUnknown => (403, Error, IssueCode::CodeInvalid),
            Self::TargetDomainUnknown => (404, Warning, IssueCode::NotFound),
            Self::NotFound(_) => (404, Error, IssueCode::NotFound),
            Self::Gone(_) => (410, Error, IssueCode::Deleted),
            Self::NotSupported(_) => (404, Error, IssueCode::NotSupported),
            Self::NotAcceptable => (406, Error, IssueCode::NotSupported),
            Self::UnsupportedMediaType => (415, Error, IssueCode::NotSupported),
            Self::SeveralMatches => (412, Error, IssueCode::MultipleMatches),
            Self::Unauthenticated => (401, Error, IssueCode::Login),
            Self::Forbidden(_) => (403, Error, IssueCode::Forbidden),
            Self::Method(_) => (405, Error, IssueCode::NotSupported),
            Self::Conflict(_) => (409, Error, IssueCode::Conflict),
            Self::TooCostly(_) => (403, Error, IssueCode::TooCostly),
            Self::FhirDocument => (422, Error, IssueCode::NotSupported),
            Self::Xds { code, .. } => xds_row(code),
            Self::Problems(problems) => {
                problems.first().map_or((500, Fatal, IssueCode::Exception), |(code, _)| xds_row(code))
            }
            Self::Partner(_) => (502, Error, IssueCode::Processing),
            Self::TooLarge(_) => (413, Error, IssueCode::TooLong),
            Self::Slow => (408, Error, IssueCode::Timeout),
            Self::Throttled => (429, Error, IssueCode::Throttled),
            Self::Unavailable => (503, Error, IssueCode::Transient),
            Self::TimedOut => (504, Error, IssueCode::Timeout),
            Self::Internal => (500, Fatal, IssueCode::Exception),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.row().0
    }

    /// What a registry or repository refuses, all of it.
    pub fn registry(errors: Vec<RegistryError>) -> Self {
        let mut problems: Vec<_> = errors.into_iter().map(|error| (error.code, error.context.to_string())).collect();
        match problems.len() {
            1 => problems.pop().map_or(Self::Internal, |(code, text)| Self::Xds { code, text }),
            0 => Self::Internal,
            _ => Self::Problems(problems),
        }
    }

    /// What the caller is told.
    pub fn outcome(&self) -> Outcome {
        if let Self::Problems(problems) = self {
            let issues = problems.iter().map(|(code, text)| {
                let (_, severity, kind) = xds_row(code);
                Issue { severity, code: kind, text: text.clone(), detail: Some(code.as_str().into()) }
            });
            return Outcome { issues: issues.collect() };
        }
        let (_, severity, code) = self.row();
        let detail = match self {
            Self::FhirDocument => Some("FHIRDocumentNotSupported".into()),
            Self::Xds { code, .. } => Some(code.as_str().into()),
            _ => None,
        };
        Outcome::of(Issue { severity, code, text: self.to_string(), detail })
    }

    /// The body of the answer, with the name of the exchange.
    pub fn body(&self, trace: TraceId) -> Value {
        self.outcome().traced(trace)
    }
}

/// HTTP status, severity and issue code of what a registry or repository says. What is about the message is its fault; what
/// is about the state here may go well later.
fn xds_row(code: &ErrorCode) -> (u16, Severity, IssueCode) {
    use ErrorCode as Code;
    if matches!(code, Code::XdsRegistryBusy | Code::XdsRepositoryBusy | Code::XdsRegistryNotAvailable) {
        (503, Severity::Error, IssueCode::Transient)
    } else if matches!(code, Code::XdsRegistryOutOfResources | Code::XdsRepositoryOutOfResources) {
        (507, Severity::Error, IssueCode::NoStore)
    } else if matches!(code, Code::XdsRegistryError | Code::XdsRepositoryError) {
        (500, Severity::Fatal, IssueCode::Exception)
    } else if matches!(code, Code::XdsTooManyResults) {
        (403, Severity::Error, IssueCode::TooCostly)
    } else {
        (422, Severity::Error, IssueCode::Processing)
    }
}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::TooLong(limit) => Self::TooLarge(limit),
            other => Self::Unreadable(other.to_string()),
        }
    }
}

impl From<XmlError> for Refusal {
    fn from(error: XmlError) -> Self {
        match error {
            XmlError::TooLong(limit) => Self::TooLarge(limit),
            other => Self::Unreadable(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PIXm 2:3.83.4.2.3 and PDQm 2:3.78.4.1.3.
    #[test]
    fn refusals_have_the_status_severity_code_and_text_of_the_profiles() {
        for (refusal, status, severity, code, text) in [
            (
                Refusal::SourceIdentifierUnknown,
                404,
                "error",
                "not-found",
                "sourceIdentifier Patient Identifier not found",
            ),
            (
                Refusal::SourceDomainUnknown,
                400,
                "error",
                "code-invalid",
                "sourceIdentifier Assigning Authority not found",
            ),
            (Refusal::TargetSystemUnknown, 403, "error", "code-invalid", "targetSystem not found"),
            (Refusal::TargetDomainUnknown, 404, "warning", "not-found", "targetSystem not found"),
            (Refusal::Missing("sourceIdentifier".into()), 400, "error", "required", "sourceIdentifier is missing"),
            (Refusal::NotAcceptable, 406, "error", "not-supported", "none of the accepted formats can be written"),
            (Refusal::SeveralMatches, 412, "error", "multiple-matches", "the condition matches several resources"),
        ] {
            let trace = TraceId::new();
            let body = refusal.body(trace);
            let issue = &json::list(&body, "issue")[0];
            assert_eq!(refusal.status(), status, "{text}");
            assert_eq!((json::text(issue, "severity"), json::text(issue, "code")), (Some(severity), Some(code)));
            assert_eq!(issue["details"]["text"], text);
            assert_eq!(json::text(issue, "diagnostics").unwrap(), format!("{text} (trace {trace})"));
        }
    }

    #[test]
    fn refusals_of_a_registry_keep_its_code() {
        let refusal = Refusal::Xds { code: ErrorCode::XdsUnknownPatientId, text: "the patient is not known".into() };
        assert_eq!(refusal.outcome().encode()["issue"][0]["details"]["coding"][0]["code"], "XDSUnknownPatientId");
    }

    /// Whose fault it is decides about the status, and every problem is told.
    #[test]
    fn refusals_of_a_registry_are_told_each_with_its_code() {
        let errors = |codes: &[ErrorCode]| codes.iter().map(|code| RegistryError::new(code.clone(), "x")).collect();
        for (codes, status) in [
            (&[ErrorCode::XdsUnknownPatientId][..], 422),
            (&[ErrorCode::XdsNonIdenticalHash, ErrorCode::XdsPatientIdDoesNotMatch], 422),
            (&[ErrorCode::XdsRegistryBusy], 503),
            (&[ErrorCode::XdsRepositoryOutOfResources], 507),
            (&[ErrorCode::XdsRepositoryError], 500),
            (&[ErrorCode::XdsTooManyResults], 403),
            (&[], 500),
        ] {
            let refusal = Refusal::registry(errors(codes));
            assert_eq!(refusal.status(), status, "{codes:?}");
            let told: Vec<_> = refusal.outcome().issues.into_iter().filter_map(|issue| issue.detail).collect();
            assert_eq!(told, codes.iter().map(|code| SmolStr::from(code.as_str())).collect::<Vec<_>>());
        }
    }

    #[test]
    fn outcomes_of_partners_are_read() {
        for path in [
            "fhir-pdqm/fhir-r4-operationoutcome-example-exception.json",
            "fhir-pdqm/fhir-r4-operationoutcome-example-validationfail.json",
            "fhir-pixm/ihe-pixm-operationoutcome-pixm-response-error-not-found.json",
        ] {
            let Some(bytes) = crate::testing::corpus(path) else { return };
            let outcome = Outcome::decode(&json::read(&bytes, &json::Limits::default()).unwrap()).unwrap();
            assert!(!outcome.issues.is_empty() && outcome.issues.iter().all(|issue| !issue.text.is_empty()), "{path}");
            assert_eq!(Outcome::decode(&outcome.encode()).unwrap(), outcome, "{path}");
        }
    }
}
