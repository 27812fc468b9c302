//! The networks' rules about exchange purposes (specification 4).

use std::collections::HashMap;

use crate::directory::{NetworkKind, Partner};
use crate::id::{ExchangePurpose, NhinPurpose, TefcaPurpose, Transaction};

/// Why a request is not sent to a partner under a purpose.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PurposeError {
    /// NHIN purposes are never relabelled as TEFCA exchange purposes: that needs vetting by people (XP-17).
    #[error("{purpose} cannot be turned into a TEFCA exchange purpose for {partner}")]
    NotATefcaPurpose {
        /// The purpose asked for.
        purpose: ExchangePurpose,
        /// The partner's key.
        partner: String,
    },
    /// The partner's entry does not list it (NET-14).
    #[error("{partner} does not answer requests for {purpose}")]
    NotAnswered {
        /// The purpose, under the partner's code.
        purpose: ExchangePurpose,
        /// The partner's key.
        partner: String,
    },
    /// Electronic case and laboratory reports are pushed (XP-09).
    #[error("{0} is for sending documents only")]
    PushOnly(ExchangePurpose),
}

/// What we answer, by kind of network, where the operator says otherwise than the defaults.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Purposes answered for a kind of network; the default for kinds that are not here.
    pub answers: HashMap<NetworkKind, Vec<ExchangePurpose>>,
}

impl Rules {
    /// Whether we answer a purpose for a kind of network.
    pub fn answers(&self, kind: NetworkKind, purpose: &ExchangePurpose) -> bool {
        match self.answers.get(&kind) {
            Some(listed) => listed.contains(purpose),
            None => is_default(kind, purpose),
        }
    }

    /// The purpose under which a request leaves for a partner: its network's code for what is wanted, if the partner
    /// answers it.
    pub fn outgoing(
        &self,
        transaction: Transaction,
        partner: &Partner,
        wanted: &ExchangePurpose,
    ) -> Result<ExchangePurpose, PurposeError> {
        if is_push_only(wanted) && !is_push(transaction) {
            return Err(PurposeError::PushOnly(wanted.clone()));
        }
        let purpose = translate(partner, wanted)?;
        let answered = match &partner.purposes_answered {
            Some(listed) => listed.contains(&purpose),
            None => is_default(partner.kind, &purpose),
        };
        if answered {
            Ok(purpose)
        } else {
            Err(PurposeError::NotAnswered { purpose, partner: partner.key.to_string() })
        }
    }
}

/// What is asked and answered when nobody says otherwise: in live use Carequality and its neighbours answer only
/// TREATMENT (4.3); a TEFCA responder must answer T-TRTMNT and T-IAS and should answer T-TREAT (4.1, XP-04 to XP-06).
/// The rest are the operator's decision. Our own systems may use any code that is known.
fn is_default(kind: NetworkKind, purpose: &ExchangePurpose) -> bool {
    use NetworkKind as K;
    use TefcaPurpose as T;
    match (kind, purpose) {
        (K::Local, ExchangePurpose::Tefca(_) | ExchangePurpose::Nhin(_)) => true,
        (K::Tefca, ExchangePurpose::Tefca(purpose)) => {
            matches!(purpose, T::Treat | T::RequiredTreatment | T::IndividualAccess)
        }
        (K::Carequality | K::EhealthExchange | K::Commonwell | K::Other, ExchangePurpose::Nhin(purpose)) => {
            *purpose == NhinPurpose::Treatment
        }
        (_, ExchangePurpose::Tefca(_) | ExchangePurpose::Nhin(_) | ExchangePurpose::Other(_)) => false,
    }
}

fn translate(partner: &Partner, wanted: &ExchangePurpose) -> Result<ExchangePurpose, PurposeError> {
    match (partner.kind, wanted) {
        (NetworkKind::Local, _) => Ok(wanted.clone()),
        (NetworkKind::Tefca, ExchangePurpose::Tefca(_)) => Ok(wanted.clone()),
        (NetworkKind::Tefca, ExchangePurpose::Nhin(_) | ExchangePurpose::Other(_)) => {
            Err(PurposeError::NotATefcaPurpose { purpose: wanted.clone(), partner: partner.key.to_string() })
        }
        (_, ExchangePurpose::Tefca(purpose)) => Ok(to_nhin(*purpose).into()),
        (_, ExchangePurpose::Nhin(_) | ExchangePurpose::Other(_)) => Ok(wanted.clone()),
    }
}

/// The NHIN purpose of a TEFCA exchange purpose (specification 4.4). There is no way back.
pub fn to_nhin(purpose: TefcaPurpose) -> NhinPurpose {
    use TefcaPurpose as T;
    match purpose {
        T::Treat | T::RequiredTreatment => NhinPurpose::Treatment,
        T::Payment => NhinPurpose::Payment,
        T::Operations
        | T::CareCoordination
        | T::Hedis
        | T::QualityAssessment
        | T::Population
        | T::PatientSafety
        | T::Performance => NhinPurpose::Operations,
        T::PublicHealth | T::CaseReporting | T::LabReporting => NhinPurpose::PublicHealth,
        T::IndividualAccess => NhinPurpose::Request,
        T::Benefits | T::SocialSecurity | T::SocialSecurityAccess => NhinPurpose::Coverage,
    }
}

/// Whether a purpose is for pushes only (XP-09).
pub fn is_push_only(purpose: &ExchangePurpose) -> bool {
    matches!(purpose, ExchangePurpose::Tefca(TefcaPurpose::CaseReporting | TefcaPurpose::LabReporting))
}

/// Whether a transaction brings documents rather than asking for them.
pub fn is_push(transaction: Transaction) -> bool {
    matches!(transaction, Transaction::Iti41 | Transaction::Iti65 | Transaction::Iti80 | Transaction::Iti105)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn partner(kind: &str, more: &str) -> Partner {
        let text = format!(
            "name = \"x\"\nnetwork = \"x\"\nkind = \"{kind}\"\nhome_community_id = \"urn:oid:2.999.1\"\n{more}\n\
             [urls]\niti-38 = \"https://x.example.org/\"\n"
        );
        crate::directory::read(Path::new("x.toml"), &text).0.unwrap()
    }

    /// Specification 4.4 and XP-17: TEFCA to NHIN only.
    #[test]
    fn a_request_leaves_under_its_partners_code_and_is_never_raised_to_a_tefca_purpose() {
        for (kind, wanted, sent) in [
            ("tefca", "T-TRTMNT", Some("T-TRTMNT")),
            ("carequality", "T-TRTMNT", Some("TREATMENT")),
            ("carequality", "T-TREAT", Some("TREATMENT")),
            ("carequality", "TREATMENT", Some("TREATMENT")),
            ("ehealth-exchange", "TREATMENT", Some("TREATMENT")),
            ("local", "T-HCO", Some("T-HCO")),
            ("tefca", "TREATMENT", None),
            ("tefca", "REQUEST", None),
            ("tefca", "TREAT|2.16.840.1.113883.5.8", None),
            ("tefca", "T-PYMNT", None),
            ("carequality", "T-IAS", None),
            ("carequality", "OPERATIONS", None),
        ] {
            let result = Rules::default().outgoing(Transaction::Iti38, &partner(kind, ""), &wanted.parse().unwrap());
            assert_eq!(result.as_ref().ok().map(ToString::to_string).as_deref(), sent, "{kind} {wanted}: {result:?}");
        }
    }

    #[test]
    fn a_partner_that_lists_what_it_answers_is_asked_for_nothing_else() {
        let partner = partner("carequality", "purposes_answered = [\"REQUEST\"]");
        let asked = |wanted: &str| Rules::default().outgoing(Transaction::Iti38, &partner, &wanted.parse().unwrap());
        assert_eq!(asked("T-IAS"), Ok(NhinPurpose::Request.into()));
        assert_eq!(asked("TREATMENT").unwrap_err().to_string(), "x does not answer requests for TREATMENT");
    }

    /// Specification XP-09.
    #[test]
    fn case_and_laboratory_reports_are_pushed_and_never_a_reason_to_query() {
        let partner = partner("tefca", "purposes_answered = [\"T-PH-ECR\", \"T-PH-ELR\"]");
        for wanted in ["T-PH-ECR", "T-PH-ELR"] {
            let purpose: ExchangePurpose = wanted.parse().unwrap();
            for (transaction, allowed) in [
                (Transaction::Iti41, true),
                (Transaction::Iti80, true),
                (Transaction::Iti55, false),
                (Transaction::Iti38, false),
                (Transaction::Iti39, false),
            ] {
                let result = Rules::default().outgoing(transaction, &partner, &purpose);
                assert_eq!(result.is_ok(), allowed, "{wanted} {transaction}");
            }
        }
    }

    #[test]
    fn every_tefca_purpose_has_its_nhin_counterpart() {
        let mut seen = 0;
        for (prefix, nhin) in [
            ("T-TR", NhinPurpose::Treatment),
            ("T-PYMNT", NhinPurpose::Payment),
            ("T-HCO", NhinPurpose::Operations),
            ("T-PH", NhinPurpose::PublicHealth),
            ("T-IAS", NhinPurpose::Request),
            ("T-GOVDTRM", NhinPurpose::Coverage),
        ] {
            for purpose in TefcaPurpose::ALL.iter().filter(|purpose| purpose.code().starts_with(prefix)) {
                assert_eq!(to_nhin(*purpose), nhin, "{purpose:?}");
                seen += 1;
            }
        }
        assert_eq!(seen, TefcaPurpose::ALL.len());
    }
}
