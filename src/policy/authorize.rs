//! May this caller have this transaction for this purpose?

use super::exchange_purpose::{Rules, is_push, is_push_only};
use crate::authenticate::{Caller, CallerKind, FhirClient};
use crate::directory::{NetworkKind, Partner};
use crate::id::{ExchangePurpose, TefcaPurpose, Transaction};

/// Why a request was refused before its handler saw it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PolicyRefusal {
    /// The partner's entry says that it does not ask.
    #[error("{partner} is not allowed to send requests")]
    NotAnInitiator {
        /// The partner's key.
        partner: String,
    },
    /// Not a transaction for this caller.
    #[error("the caller is not allowed to use {0}")]
    TransactionNotAllowed(Transaction),
    /// What it would fill is for our own systems.
    #[error("documents go into the repository from its community's own systems; others send to DocumentRecipient")]
    NotOurs,
    /// No purpose of use: that is a refusal and not treatment (XP-01).
    #[error("the request states no purpose of use")]
    MissingPurpose,
    /// A code that nobody here has allowed.
    #[error("the purpose of use {0} is not known here")]
    UnknownPurpose(ExchangePurpose),
    /// We do not answer it in this network.
    #[error("requests for the purpose {0} are not answered here")]
    NotAnswered(ExchangePurpose),
    /// The partner may not ask for it.
    #[error("{partner} is not allowed to ask for the purpose {purpose}")]
    NotAllowed {
        /// The partner's key.
        partner: String,
        /// The purpose.
        purpose: ExchangePurpose,
    },
    /// Electronic case and laboratory reports are pushed (XP-09).
    #[error("the purpose {0} is for sending documents only")]
    PushOnly(ExchangePurpose),
    /// T-GOVDTRM-ACP goes with T-GOVDTRM-SSD (XP-08).
    #[error("the purpose T-GOVDTRM-ACP is used only together with T-GOVDTRM-SSD")]
    IncompletePurpose,
}

/// A request that its caller may make. Only `Policy::authorize` makes one.
#[derive(Clone, Debug)]
pub struct Permitted<R> {
    caller: Caller,
    request: R,
    purposes: Vec<ExchangePurpose>,
}

impl<R> Permitted<R> {
    /// Who asks.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What is asked.
    pub fn request(&self) -> &R {
        &self.request
    }

    /// Why; empty for our own feeds.
    pub fn purposes(&self) -> &[ExchangePurpose] {
        &self.purposes
    }

    /// Caller and request, for a handler that keeps them.
    pub fn into_parts(self) -> (Caller, R) {
        (self.caller, self.request)
    }
}

/// Who may ask for what.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    rules: Rules,
}

impl Policy {
    /// The policy with these rules.
    pub fn new(rules: Rules) -> Self {
        Self { rules }
    }

    /// The rules about purposes, for requests that we send.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Permits a request, or says why not.
    pub fn authorize<R>(
        &self,
        transaction: Transaction,
        caller: Caller,
        request: R,
    ) -> Result<Permitted<R>, PolicyRefusal> {
        let purposes = match caller.kind() {
            CallerKind::Source { .. } if is_feed(transaction) => Vec::new(),
            CallerKind::Source { .. } => return Err(PolicyRefusal::TransactionNotAllowed(transaction)),
            CallerKind::Partner(partner) => self.partner_purposes(transaction, partner, &caller)?,
            CallerKind::Client(client) => self.client_purposes(transaction, client, &caller)?,
        };
        Ok(Permitted { caller, request, purposes })
    }

    /// A FHIR client is one of our own systems: it asks for the purposes of its entry that we answer for those.
    fn client_purposes(
        &self,
        transaction: Transaction,
        client: &FhirClient,
        caller: &Caller,
    ) -> Result<Vec<ExchangePurpose>, PolicyRefusal> {
        if !client_may_use(client, transaction) {
            return Err(PolicyRefusal::TransactionNotAllowed(transaction));
        }
        let purposes = stated(caller)?;
        for purpose in &purposes {
            self.check_rules(transaction, NetworkKind::Local, purpose)?;
            if !client.may_ask_for(purpose) {
                let (partner, purpose) = (client.name.to_string(), purpose.clone());
                return Err(PolicyRefusal::NotAllowed { partner, purpose });
            }
        }
        Ok(purposes)
    }

    fn partner_purposes(
        &self,
        transaction: Transaction,
        partner: &Partner,
        caller: &Caller,
    ) -> Result<Vec<ExchangePurpose>, PolicyRefusal> {
        if !partner.initiates {
            return Err(PolicyRefusal::NotAnInitiator { partner: partner.key.to_string() });
        }
        if !may_send(partner, transaction) {
            return Err(PolicyRefusal::TransactionNotAllowed(transaction));
        }
        let purposes = stated(caller)?;
        // Each purpose attests something, so each must be allowed: one that is does not carry another.
        purposes.iter().try_for_each(|purpose| self.check(transaction, partner, purpose))?;
        let has = |purpose: TefcaPurpose| purposes.contains(&purpose.into());
        if has(TefcaPurpose::SocialSecurityAccess) && !has(TefcaPurpose::SocialSecurity) {
            return Err(PolicyRefusal::IncompletePurpose);
        }
        Ok(purposes)
    }

    fn check(
        &self,
        transaction: Transaction,
        partner: &Partner,
        purpose: &ExchangePurpose,
    ) -> Result<(), PolicyRefusal> {
        self.check_rules(transaction, partner.kind, purpose)?;
        match &partner.purposes_allowed {
            Some(allowed) if !allowed.contains(purpose) => {
                Err(PolicyRefusal::NotAllowed { partner: partner.key.to_string(), purpose: purpose.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The rules of every caller from a kind of network.
    fn check_rules(
        &self,
        transaction: Transaction,
        kind: NetworkKind,
        purpose: &ExchangePurpose,
    ) -> Result<(), PolicyRefusal> {
        if is_push_only(purpose) && !is_push(transaction) {
            return Err(PolicyRefusal::PushOnly(purpose.clone()));
        }
        if !self.rules.answers(kind, purpose) {
            return Err(match purpose {
                ExchangePurpose::Other(_) => PolicyRefusal::UnknownPurpose(purpose.clone()),
                ExchangePurpose::Tefca(_) | ExchangePurpose::Nhin(_) => PolicyRefusal::NotAnswered(purpose.clone()),
            });
        }
        Ok(())
    }
}

/// The purposes of a caller; none at all is a refusal.
fn stated(caller: &Caller) -> Result<Vec<ExchangePurpose>, PolicyRefusal> {
    let stated = caller.purposes().iter().filter(|purpose| !purpose.code.trim().is_empty());
    let purposes: Vec<_> = stated.map(ExchangePurpose::from_code).collect();
    if purposes.is_empty() { Err(PolicyRefusal::MissingPurpose) } else { Ok(purposes) }
}

/// Whether a FHIR client's entry allows a transaction.
fn client_may_use(client: &FhirClient, transaction: Transaction) -> bool {
    use Transaction as T;
    match transaction {
        T::Iti78 | T::Iti83 | T::Iti119 => client.finds_patients,
        T::Iti104 => !client.feeds.is_empty(),
        T::Iti66 | T::Iti67 | T::Iti68 => client.finds_documents,
        T::Iti65 | T::Iti105 => client.provides_documents,
        _ => false,
    }
}

/// Whether a partner may send a transaction: what its file lists, else what its kind of network uses. Only our own
/// systems reach the registry, the repository and the patient index.
fn may_send(partner: &Partner, transaction: Transaction) -> bool {
    match &partner.transactions_allowed {
        Some(allowed) => allowed.contains(&transaction),
        None => {
            is_cross_community(transaction) || (partner.kind == NetworkKind::Local && !is_administration(transaction))
        }
    }
}

/// Whether a transaction changes or removes what is registered: only for systems whose entry lists it, because a document
/// that is gone is lost to everybody.
pub fn is_administration(transaction: Transaction) -> bool {
    use Transaction as T;
    matches!(transaction, T::Iti57 | T::Iti62 | T::Iti86 | T::Iti92)
}

/// Whether communities use a transaction among each other. ITI-41 is XDR, a push.
pub fn is_cross_community(transaction: Transaction) -> bool {
    use Transaction as T;
    matches!(transaction, T::Iti38 | T::Iti39 | T::Iti41 | T::Iti55 | T::Iti56 | T::Iti80 | T::Iti107)
}

/// Whether a source that proves itself by its connection alone may use a transaction: the patient feeds and queries of
/// HL7 v2, which have no place for an assertion.
pub fn is_feed(transaction: Transaction) -> bool {
    use Transaction as T;
    matches!(transaction, T::Iti8 | T::Iti9 | T::Iti21 | T::Iti22 | T::Iti30 | T::Iti64)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::authenticate::Proof;
    use crate::id::Code;
    use crate::id::exchange_purpose::{NHIN_SYSTEM as NHIN, TEFCA_SYSTEM as TEFCA};

    type Purposes<'a> = &'a [(&'a str, &'a str)];

    fn caller(kind: CallerKind, purposes: Purposes<'_>) -> Caller {
        Caller::new(Proof {
            kind,
            network: Some("x".parse().unwrap()),
            home: None,
            organization: None,
            user: None,
            purposes: purposes.iter().map(|(code, scheme)| Code::new(*code, *scheme, "")).collect(),
            fingerprint: None,
            address: ([127, 0, 0, 1], 1).into(),
            signature_confirmation: None,
            replay: None,
        })
    }

    fn partner(kind: &str, more: &str) -> CallerKind {
        let text = format!(
            "name = \"x\"\nnetwork = \"x\"\nkind = \"{kind}\"\nhome_community_id = \"urn:oid:2.999.1\"\n\
             responds = false\n{more}\n"
        );
        let (partner, problems) = crate::directory::read(Path::new("x.toml"), &text);
        assert!(problems.is_empty(), "{problems:?}");
        CallerKind::Partner(Arc::new(partner.unwrap()))
    }

    /// The purposes permitted, or the refusal.
    fn told(policy: &Policy, transaction: Transaction, caller: Caller) -> String {
        match policy.authorize(transaction, caller, ()) {
            Ok(permitted) => permitted.purposes().iter().map(ToString::to_string).collect::<Vec<_>>().join("+"),
            Err(refusal) => refusal.to_string(),
        }
    }

    /// Specification 4.1 to 4.3, XP-01, XP-03, XP-09.
    #[test]
    fn each_network_is_answered_for_its_own_purposes() {
        let all = "purposes_allowed = [\"TREATMENT\", \"T-TRTMNT\", \"T-TREAT\", \"T-IAS\"]";
        let cases: [(&str, &str, Purposes<'_>, &str); 17] = [
            ("carequality", "", &[("TREATMENT", NHIN)], "TREATMENT"),
            ("tefca", "", &[("T-TRTMNT", TEFCA)], "T-TRTMNT"),
            ("tefca", "", &[("T-IAS", TEFCA)], "T-IAS"),
            ("tefca", "", &[("T-TREAT", TEFCA)], "T-TREAT"),
            ("local", "", &[("OPERATIONS", NHIN)], "OPERATIONS"),
            ("carequality", "", &[], "the request states no purpose of use"),
            ("local", "", &[], "the request states no purpose of use"),
            ("carequality", "", &[("", NHIN)], "the request states no purpose of use"),
            ("tefca", "", &[("T-HCO-QM", TEFCA)], "the purpose of use T-HCO-QM is not known here"),
            ("carequality", "", &[("T-TRTMNT", NHIN)], "the purpose of use T-TRTMNT is not known here"),
            ("tefca", "", &[("TREATMENT", NHIN)], "requests for the purpose TREATMENT are not answered here"),
            ("carequality", all, &[("T-TRTMNT", TEFCA)], "requests for the purpose T-TRTMNT are not answered here"),
            ("carequality", "", &[("LAW", NHIN)], "requests for the purpose LAW are not answered here"),
            (
                "carequality",
                "",
                &[("TREATMENT", NHIN), ("MARKETING", NHIN)],
                "requests for the purpose MARKETING are not answered here",
            ),
            (
                "tefca",
                "purposes_allowed = [\"T-IAS\"]",
                &[("T-TRTMNT", TEFCA)],
                "x is not allowed to ask for the purpose T-TRTMNT",
            ),
            ("tefca", "", &[("T-PH-ECR", TEFCA)], "the purpose T-PH-ECR is for sending documents only"),
            ("tefca", "initiates = false", &[("T-IAS", TEFCA)], "x is not allowed to send requests"),
        ];
        for (kind, more, purposes, expected) in cases {
            let caller = caller(partner(kind, more), purposes);
            assert_eq!(told(&Policy::default(), Transaction::Iti38, caller), expected, "{kind} {purposes:?}");
        }
    }

    /// Specification XP-08, XP-09.
    #[test]
    fn purposes_that_the_operator_opens_keep_their_own_rules() {
        let opened = ["T-PH-ECR", "T-GOVDTRM-SSD", "T-GOVDTRM-ACP", "TREAT|2.16.840.1.113883.5.8"];
        let answers = opened.iter().map(|text| text.parse().unwrap()).collect();
        let policy = Policy::new(Rules { answers: [(NetworkKind::Tefca, answers)].into() });
        let (ssd, acp) = (("T-GOVDTRM-SSD", TEFCA), ("T-GOVDTRM-ACP", TEFCA));
        let cases: [(Transaction, Purposes<'_>, &str); 7] = [
            (Transaction::Iti41, &[("T-PH-ECR", TEFCA)], "T-PH-ECR"),
            (Transaction::Iti55, &[("T-PH-ECR", TEFCA)], "the purpose T-PH-ECR is for sending documents only"),
            (Transaction::Iti38, &[ssd, acp], "T-GOVDTRM-SSD+T-GOVDTRM-ACP"),
            (Transaction::Iti38, &[ssd], "T-GOVDTRM-SSD"),
            (Transaction::Iti38, &[acp], "the purpose T-GOVDTRM-ACP is used only together with T-GOVDTRM-SSD"),
            (Transaction::Iti38, &[("TREAT", "2.16.840.1.113883.5.8")], "TREAT"),
            (Transaction::Iti38, &[("T-IAS", TEFCA)], "requests for the purpose T-IAS are not answered here"),
        ];
        for (transaction, purposes, expected) in cases {
            assert_eq!(told(&policy, transaction, caller(partner("tefca", ""), purposes)), expected, "{purposes:?}");
        }
    }

    #[test]
    fn partners_reach_the_gateway_and_only_our_own_systems_what_is_behind_it() {
        for transaction in Transaction::ALL {
            for (kind, more, allowed) in [
                ("carequality", "", is_cross_community(*transaction)),
                ("local", "", !is_administration(*transaction)),
                ("local", "transactions_allowed = [\"ITI-62\"]", *transaction == Transaction::Iti62),
                ("carequality", "transactions_allowed = [\"ITI-18\"]", *transaction == Transaction::Iti18),
            ] {
                let caller = caller(partner(kind, more), &[("TREATMENT", NHIN)]);
                let told = told(&Policy::default(), *transaction, caller);
                assert_eq!(told == "TREATMENT", allowed, "{kind} {transaction}: {told}");
            }
        }
        assert!(is_cross_community(Transaction::Iti55) && !is_cross_community(Transaction::Iti18));
    }

    #[test]
    fn a_feed_sends_patients_and_asks_for_no_documents() {
        for (transaction, allowed) in [
            (Transaction::Iti8, true),
            (Transaction::Iti30, true),
            (Transaction::Iti9, true),
            (Transaction::Iti21, true),
            (Transaction::Iti18, false),
            (Transaction::Iti38, false),
            (Transaction::Iti41, false),
            (Transaction::Iti55, false),
        ] {
            let source = caller(CallerKind::Source { name: "adt".into() }, &[]);
            assert_eq!(told(&Policy::default(), transaction, source).is_empty(), allowed, "{transaction}");
        }
    }

    /// A FHIR client's entry says what it may do, transaction by transaction; nothing follows from anything else.
    #[test]
    fn a_fhir_client_may_do_what_its_entry_allows_for_its_purposes() {
        use Transaction as T;
        let entry = |change: fn(&mut FhirClient)| {
            let mut client = FhirClient {
                name: "app".into(),
                proof: crate::authenticate::ClientProof::Certificate(crate::directory::Fingerprint([7; 32])),
                user: None,
                purpose: None,
                purposes: vec!["TREATMENT".parse().unwrap(), "MARKETING|2.999".parse().unwrap()],
                finds_patients: false,
                feeds: Vec::new(),
                finds_documents: false,
                provides_documents: false,
                asks_communities: false,
            };
            change(&mut client);
            CallerKind::Client(Arc::new(client))
        };
        type Change = fn(&mut FhirClient);
        let kinds: [(Change, &[Transaction]); 5] = [
            (|_| {}, &[]),
            (|one| one.finds_patients = true, &[T::Iti78, T::Iti83, T::Iti119]),
            (|one| one.feeds = vec![crate::id::AssigningAuthority::iso(&"2.999.1".parse().unwrap())], &[T::Iti104]),
            (|one| one.finds_documents = true, &[T::Iti66, T::Iti67, T::Iti68]),
            (|one| one.provides_documents = true, &[T::Iti65, T::Iti105]),
        ];
        for (change, allowed) in kinds {
            for transaction in Transaction::ALL {
                let told = told(&Policy::default(), *transaction, caller(entry(change), &[("TREATMENT", NHIN)]));
                assert_eq!(told == "TREATMENT", allowed.contains(transaction), "{transaction}: {told}");
            }
        }
        let cases: [(Purposes<'_>, &str); 3] = [
            (&[], "the request states no purpose of use"),
            (&[("OPERATIONS", NHIN)], "app is not allowed to ask for the purpose OPERATIONS"),
            (&[("MARKETING", "2.999")], "the purpose of use MARKETING is not known here"),
        ];
        for (purposes, expected) in cases {
            let caller = caller(entry(|one| one.finds_patients = true), purposes);
            assert_eq!(told(&Policy::default(), T::Iti78, caller), expected, "{purposes:?}");
        }
    }
}
