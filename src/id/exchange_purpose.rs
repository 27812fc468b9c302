//! Why somebody asks: TEFCA exchange purpose (XP) codes and NHIN purposes of use.
//!
//! Who may ask for which is the business of `policy`. A code that is none of these is kept as it came: retired ones
//! such as `T-HCO-QM` still circulate (specification XP-03). A display name never decides anything.

use std::fmt;
use std::str::FromStr;

use super::code::Code;

/// Code system of the TEFCA exchange purposes (XP SOP v5.1).
pub const TEFCA_SYSTEM: &str = "2.16.840.1.113883.3.7204.1.5.2.1";
/// Code system of the NHIN purposes of use, as SAML writes it.
pub const NHIN_SYSTEM: &str = "2.16.840.1.113883.3.18.7.1";
/// `codeSystemName` of the NHIN purposes of use.
pub const NHIN_SYSTEM_NAME: &str = "nhin-purpose";
/// The NHIN purposes of use in FHIR.
pub const NHIN_SYSTEM_URL: &str = "http://healthit.gov/nhin/purposeofuse";

/// Not a purpose that can be written in a configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a purpose known here; write one of another code system as CODE|SYSTEM")]
pub struct UnknownPurpose;

/// A table of codes: variant, code, display name.
macro_rules! purposes {
    ($(#[$doc:meta])* $kind:ident: $($variant:ident, $code:literal, $display:literal;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum $kind {
            $(#[doc = concat!("`", $code, "`: ", $display, ".")] $variant,)*
        }

        impl $kind {
            /// Each of them, in the order of the specification.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The name for people.
            pub fn display(self) -> &'static str {
                match self { $(Self::$variant => $display,)* }
            }

            fn of(code: &str) -> Option<Self> {
                Self::ALL.iter().find(|one| one.code() == code).copied()
            }
        }
    };
}

purposes! {
    /// An exchange purpose of TEFCA (XP SOP v5.1, table 1).
    TefcaPurpose:
    Treat, "T-TREAT", "Treatment";
    RequiredTreatment, "T-TRTMNT", "Treatment, TEFCA-required";
    Payment, "T-PYMNT", "Payment";
    Operations, "T-HCO", "Health care operations";
    CareCoordination, "T-HCO-CC", "Care coordination and case management";
    Hedis, "T-HCO-HED", "HEDIS reporting";
    QualityAssessment, "T-HCO-QAI", "Quality assessment and improvement";
    Population, "T-HCO-POP", "Population-based activities";
    PatientSafety, "T-HCO-PTSAFETY", "Patient safety";
    Performance, "T-HCO-PERF", "Performance";
    PublicHealth, "T-PH", "Public health";
    CaseReporting, "T-PH-ECR", "Electronic case reporting";
    LabReporting, "T-PH-ELR", "Electronic laboratory reporting";
    IndividualAccess, "T-IAS", "Individual access services";
    Benefits, "T-GOVDTRM", "Government benefits determination";
    SocialSecurity, "T-GOVDTRM-SSD", "Social Security disability determination";
    SocialSecurityAccess, "T-GOVDTRM-ACP", "Used together with T-GOVDTRM-SSD";
}

purposes! {
    /// A purpose of use of NHIN, which Carequality and eHealth Exchange use.
    NhinPurpose:
    Treatment, "TREATMENT", "Treatment";
    Payment, "PAYMENT", "Payment";
    Operations, "OPERATIONS", "Operations";
    SystemAdministration, "SYSADMIN", "Sysadmin";
    Fraud, "FRAUD", "Fraud";
    Psychotherapy, "PSYCHOTHERAPY", "Psychotherapy";
    Training, "TRAINING", "Training";
    Legal, "LEGAL", "Legal";
    Marketing, "MARKETING", "Marketing";
    Directory, "DIRECTORY", "Directory";
    Family, "FAMILY", "Family";
    Present, "PRESENT", "Present";
    Emergency, "EMERGENCY", "Emergency";
    Disaster, "DISASTER", "Disaster";
    PublicHealth, "PUBLICHEALTH", "Public Health";
    Abuse, "ABUSE", "Abuse";
    Oversight, "OVERSIGHT", "Oversight";
    Judicial, "JUDICIAL", "Judicial";
    LawEnforcement, "LAW", "Law Enforcement";
    Deceased, "DECEASED", "Deceased";
    Donation, "DONATION", "Donation";
    Research, "RESEARCH", "Research";
    Threat, "THREAT", "Threat";
    Government, "GOVERNMENT", "Government";
    WorkersCompensation, "WORKERSCOMP", "Worker's Comp";
    Coverage, "COVERAGE", "Coverage";
    Request, "REQUEST", "Request";
}

/// Why somebody asks.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ExchangePurpose {
    /// A TEFCA exchange purpose.
    Tefca(TefcaPurpose),
    /// An NHIN purpose of use.
    Nhin(NhinPurpose),
    /// Any other code, as it came.
    Other(Code),
}

impl ExchangePurpose {
    /// The purpose of a code that came with a message. A code under the other network's system is not that network's:
    /// relabelling is never done by accident (specification XP-17).
    pub fn from_code(code: &Code) -> Self {
        let scheme = code.scheme.trim();
        let scheme = scheme.strip_prefix("urn:oid:").unwrap_or(scheme);
        // Some partners leave the code system out; the codes of the two lists differ, so each names its own.
        let unnamed = scheme.is_empty();
        let text = code.code.trim();
        let is_nhin = unnamed || [NHIN_SYSTEM, NHIN_SYSTEM_URL, NHIN_SYSTEM_NAME].contains(&scheme);
        let tefca = || TefcaPurpose::of(text).filter(|_| unnamed || scheme == TEFCA_SYSTEM).map(Self::Tefca);
        let nhin = || NhinPurpose::of(text).filter(|_| is_nhin).map(Self::Nhin);
        tefca().or_else(nhin).unwrap_or_else(|| Self::Other(code.clone()))
    }

    /// The code to write.
    pub fn to_code(&self) -> Code {
        match self {
            Self::Tefca(purpose) => Code::new(purpose.code(), TEFCA_SYSTEM, purpose.display()),
            Self::Nhin(purpose) => Code::new(purpose.code(), NHIN_SYSTEM, purpose.display()),
            Self::Other(code) => code.clone(),
        }
    }
}

impl From<TefcaPurpose> for ExchangePurpose {
    fn from(purpose: TefcaPurpose) -> Self {
        Self::Tefca(purpose)
    }
}

impl From<NhinPurpose> for ExchangePurpose {
    fn from(purpose: NhinPurpose) -> Self {
        Self::Nhin(purpose)
    }
}

impl FromStr for ExchangePurpose {
    type Err = UnknownPurpose;

    /// Reads what an operator writes: `T-TRTMNT`, `TREATMENT`, or `CODE|SYSTEM` for any other.
    fn from_str(text: &str) -> Result<Self, UnknownPurpose> {
        let (code, scheme) = text.trim().split_once('|').unwrap_or((text.trim(), ""));
        match Self::from_code(&Code::new(code, scheme, "")) {
            Self::Other(_) if code.is_empty() || scheme.is_empty() => Err(UnknownPurpose),
            purpose => Ok(purpose),
        }
    }
}

impl fmt::Display for ExchangePurpose {
    /// The code; one that is not known here is cut to letters, digits and dashes, because a stranger wrote it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tefca(purpose) => f.write_str(purpose.code()),
            Self::Nhin(purpose) => f.write_str(purpose.code()),
            Self::Other(code) => {
                let plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '-';
                code.code.chars().filter(plain).take(32).try_for_each(|letter| write!(f, "{letter}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Specification XP-03: all 17 codes of v5.1; table 4.2: all 27 NHIN codes.
    #[test]
    fn every_code_reads_back_with_its_system() {
        assert_eq!((TefcaPurpose::ALL.len(), NhinPurpose::ALL.len()), (17, 27));
        let tefca = TefcaPurpose::ALL.iter().map(|one| ExchangePurpose::from(*one));
        let nhin = NhinPurpose::ALL.iter().map(|one| ExchangePurpose::from(*one));
        for purpose in tefca.chain(nhin) {
            assert_eq!(ExchangePurpose::from_code(&purpose.to_code()), purpose);
            assert_eq!(purpose.to_string().parse(), Ok(purpose));
        }
    }

    #[test]
    fn code_systems_are_read_in_every_form_and_never_mixed() {
        let treatment = ExchangePurpose::Nhin(NhinPurpose::Treatment);
        let required = ExchangePurpose::Tefca(TefcaPurpose::RequiredTreatment);
        for (code, scheme, purpose) in [
            ("TREATMENT", NHIN_SYSTEM, Some(&treatment)),
            ("TREATMENT", "urn:oid:2.16.840.1.113883.3.18.7.1", Some(&treatment)),
            ("TREATMENT", NHIN_SYSTEM_URL, Some(&treatment)),
            (" TREATMENT ", "", Some(&treatment)),
            ("T-TRTMNT", TEFCA_SYSTEM, Some(&required)),
            ("T-TRTMNT", "", Some(&required)),
            ("T-TRTMNT", NHIN_SYSTEM, None),
            ("TREATMENT", TEFCA_SYSTEM, None),
            ("treatment", NHIN_SYSTEM, None),
            ("T-HCO-QM", TEFCA_SYSTEM, None),
            ("TREAT", "2.16.840.1.113883.5.8", None),
        ] {
            let code = Code::new(code, scheme, "a display that says something else");
            let expected = purpose.cloned().unwrap_or_else(|| ExchangePurpose::Other(code.clone()));
            assert_eq!(ExchangePurpose::from_code(&code), expected, "{code:?}");
        }
    }

    #[test]
    fn an_operator_may_write_codes_of_other_systems_but_not_misspell_ours() {
        let other = ExchangePurpose::Other(Code::new("TREAT", "2.16.840.1.113883.5.8", ""));
        assert_eq!("TREAT|2.16.840.1.113883.5.8".parse(), Ok(other));
        for text in ["", "TREATMNET", "|", "TREAT|", "|1.2"] {
            assert_eq!(text.parse::<ExchangePurpose>(), Err(UnknownPurpose), "{text:?}");
        }
    }

    #[test]
    fn what_a_stranger_wrote_is_not_repeated_as_it_came() {
        let odd = ExchangePurpose::Other(Code::new("<b>Doe, Jane\n</b>-and-a-great-deal-more-than-fits", "", ""));
        assert_eq!(odd.to_string(), "bDoeJaneb-and-a-great-deal-more-");
    }
}
