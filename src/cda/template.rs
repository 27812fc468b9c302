//! Which kind of C-CDA a document is, by its template identifiers (HL7 C-CDA R1.1 and R2.1, volume 1).

use super::scan::Body;
use crate::hl7v3::datatype::Ii;
use crate::id::Code;

/// The US Realm Header, which every C-CDA has.
pub const US_REALM_HEADER: &str = "2.16.840.1.113883.10.20.22.1.1";
/// IHE's format codes.
const FORMAT_CODES: &str = "1.3.6.1.4.1.19376.1.2.3";

/// The document templates of C-CDA.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum DocumentType {
    /// Continuity of Care Document.
    ContinuityOfCare,
    /// History and Physical.
    HistoryAndPhysical,
    /// Consultation Note.
    Consultation,
    /// Diagnostic Imaging Report.
    DiagnosticImaging,
    /// Procedure Note.
    Procedure,
    /// Operative Note.
    Operative,
    /// Discharge Summary.
    DischargeSummary,
    /// Progress Note.
    Progress,
    /// Unstructured Document.
    Unstructured,
    /// Transfer Summary (since R2.0).
    TransferSummary,
    /// Referral Note (since R2.0).
    Referral,
    /// Care Plan (since R2.0).
    CarePlan,
}

impl DocumentType {
    /// The type of a template identifier's root.
    pub fn from_root(root: &str) -> Option<Self> {
        Some(match root.strip_prefix("2.16.840.1.113883.10.20.22.1.")? {
            "2" => Self::ContinuityOfCare,
            "3" => Self::HistoryAndPhysical,
            "4" => Self::Consultation,
            "5" => Self::DiagnosticImaging,
            "6" => Self::Procedure,
            "7" => Self::Operative,
            "8" => Self::DischargeSummary,
            "9" => Self::Progress,
            "10" => Self::Unstructured,
            "13" => Self::TransferSummary,
            "14" => Self::Referral,
            "15" => Self::CarePlan,
            _ => return None,
        })
    }

    /// The guide's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ContinuityOfCare => "Continuity of Care Document",
            Self::HistoryAndPhysical => "History and Physical",
            Self::Consultation => "Consultation Note",
            Self::DiagnosticImaging => "Diagnostic Imaging Report",
            Self::Procedure => "Procedure Note",
            Self::Operative => "Operative Note",
            Self::DischargeSummary => "Discharge Summary",
            Self::Progress => "Progress Note",
            Self::Unstructured => "Unstructured Document",
            Self::TransferSummary => "Transfer Summary",
            Self::Referral => "Referral Note",
            Self::CarePlan => "Care Plan",
        }
    }
}

/// Releases of C-CDA that format codes tell apart.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Release {
    /// 2012: templates without extension.
    R1_1,
    /// 2014 (R2.0) and 2015 (R2.1): templates with a date as extension.
    R2_1,
}

/// The newest release whose templates a document claims. None: it is no C-CDA.
pub(super) fn release(templates: &[Ii]) -> Option<Release> {
    let ours = |template: &&Ii| template.root == US_REALM_HEADER || DocumentType::from_root(&template.root).is_some();
    // R2.0 has no format code of its own; R2.1 succeeds it with the same structure.
    let of = |template: &Ii| if template.extension.is_empty() { Release::R1_1 } else { Release::R2_1 };
    templates.iter().filter(ours).map(of).max()
}

/// `DocumentEntry.formatCode` of a C-CDA (HL7 C-CDA format codes of the Structured Documents group).
pub(super) fn format_code(release: Release, body: Body) -> Option<Code> {
    let code = match (release, body) {
        (Release::R1_1, Body::Structured) => "urn:hl7-org:sdwg:ccda-structuredBody:1.1",
        (Release::R1_1, Body::NonXml) => "urn:hl7-org:sdwg:ccda-nonXMLBody:1.1",
        (Release::R2_1, Body::Structured) => "urn:hl7-org:sdwg:ccda-structuredBody:2.1",
        (Release::R2_1, Body::NonXml) => "urn:hl7-org:sdwg:ccda-nonXMLBody:2.1",
        (_, Body::Absent) => return None,
    };
    Some(Code::new(code, FORMAT_CODES, ""))
}
