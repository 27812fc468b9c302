//! From a community to a partner and an address; from an assertion to the partner that made it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use smol_str::SmolStr;

use super::partner::{Fingerprint, Partner, ServiceUrl};
use super::problem::Problem;
use crate::id::{AssigningAuthority, HomeCommunityId, Transaction};
use crate::trust::NetworkName;

/// How a community is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Via {
    /// It is the partner's own community.
    Itself,
    /// The partner's file lists it as a member.
    Member,
    /// The partner named it in an answer.
    Learnt,
}

/// Where to send a request for a community.
#[derive(Clone, Debug)]
pub struct Route {
    /// Whom to send it to.
    pub partner: Arc<Partner>,
    /// The address.
    pub url: ServiceUrl,
    /// Why this partner.
    pub via: Via,
}

/// Why a request for a community cannot be sent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResolveError {
    /// No partner is this community, lists it or has named it.
    #[error("{0} is not a community that a partner here answers for")]
    UnknownCommunity(HomeCommunityId),
    /// Its partner takes no requests.
    #[error("{partner} only asks, and takes no requests")]
    DoesNotRespond {
        /// The partner's key.
        partner: SmolStr,
    },
    /// Its partner has no address for the transaction.
    #[error("{partner} has no address for {transaction}")]
    NoAddress {
        /// The partner's key.
        partner: SmolStr,
        /// What was to be sent.
        transaction: Transaction,
    },
}

/// Why a caller is none of our partners.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CallerError {
    /// No partner of the caller's network is that community or speaks for it.
    #[error("the community in the assertion is not a partner's")]
    UnknownCommunity,
    /// The community is a partner's, in a network that does not trust the certificate.
    #[error("the community in the assertion belongs to another network than the certificate")]
    OtherNetwork,
    /// The partner has pinned certificates and this is none of them.
    #[error("the certificate is not one of those that may sign for this partner")]
    NotPinned,
}

/// All partners at one moment, found in constant time. Never changed: another takes its place.
#[derive(Debug, Default)]
pub struct Snapshot {
    partners: Vec<Arc<Partner>>,
    by_key: HashMap<SmolStr, usize>,
    by_home: HashMap<HomeCommunityId, Vec<usize>>,
    by_member: HashMap<HomeCommunityId, Vec<usize>>,
    by_authority: HashMap<AssigningAuthority, Vec<HomeCommunityId>>,
    unlisted: HashMap<Fingerprint, Vec<usize>>,
}

impl Snapshot {
    /// Indexes partners; tells which of them contradict each other. The first of two by key stays.
    pub fn new(mut partners: Vec<Partner>) -> (Self, Vec<Problem>) {
        partners.sort_by(|a, b| a.key.cmp(&b.key));
        let mut snapshot = Self::default();
        let mut problems = Vec::new();
        for partner in partners {
            match snapshot.clash(&partner) {
                Some(problem) => problems.push(problem),
                None => snapshot.add(partner),
            }
        }
        (snapshot, problems)
    }

    /// The same community twice in one network would make it a matter of luck who is asked and who is believed.
    fn clash(&self, partner: &Partner) -> Option<Problem> {
        let same_network = |at: &&usize| self.partners[**at].network == partner.network;
        let other = self.by_home.get(&partner.home).and_then(|list| list.iter().find(same_network))?;
        Some(Problem {
            file: PathBuf::from(format!("{}.toml", partner.key)),
            line: None,
            key: "home_community_id".into(),
            text: format!("{} is also the community of {}", partner.home, self.partners[*other].key),
            remedy: "keep one of the two files".into(),
        })
    }

    fn add(&mut self, partner: Partner) {
        let at = self.partners.len();
        self.by_key.insert(partner.key.clone(), at);
        self.by_home.entry(partner.home.clone()).or_default().push(at);
        for authority in &partner.authorities {
            self.by_authority.entry(authority.clone()).or_default().push(partner.home.clone());
        }
        for member in &partner.members {
            self.by_member.entry(member.home.clone()).or_default().push(at);
            for authority in &member.authorities {
                self.by_authority.entry(authority.clone()).or_default().push(member.home.clone());
            }
        }
        if partner.speaks_for_unlisted {
            for pinned in &partner.pinned {
                self.unlisted.entry(*pinned).or_default().push(at);
            }
        }
        self.partners.push(Arc::new(partner));
    }

    /// Each partner, by key.
    pub fn partners(&self) -> impl Iterator<Item = &Arc<Partner>> {
        self.partners.iter()
    }

    /// The partner of a key (the name of its file), or of a name for people that only one has.
    pub fn named(&self, name: &str) -> Option<&Arc<Partner>> {
        if let Some(at) = self.by_key.get(name) {
            return Some(&self.partners[*at]);
        }
        let mut matching = self.partners.iter().filter(|partner| partner.name.eq_ignore_ascii_case(name));
        matching.next().filter(|_| matching.next().is_none())
    }

    /// The partners through which a community is reached, the best first: itself, then those that list it.
    pub fn of_community(&self, home: &HomeCommunityId) -> impl Iterator<Item = (&Arc<Partner>, Via)> {
        let itself = self.by_home.get(home).into_iter().flatten().map(|at| (&self.partners[*at], Via::Itself));
        let member = self.by_member.get(home).into_iter().flatten().map(|at| (&self.partners[*at], Via::Member));
        itself.chain(member)
    }

    /// Whether a partner's file names a community, as its own or as a member.
    pub fn lists(&self, home: &HomeCommunityId) -> bool {
        self.by_home.contains_key(home) || self.by_member.contains_key(home)
    }

    /// The communities that are known to use a patient identifier domain.
    pub fn communities_of(&self, authority: &AssigningAuthority) -> &[HomeCommunityId] {
        self.by_authority.get(authority).map(Vec::as_slice).unwrap_or_default()
    }

    /// Where to send a transaction for a community. `learnt` is the partner that named it in an answer, if one did.
    pub fn resolve(
        &self,
        home: &HomeCommunityId,
        transaction: Transaction,
        learnt: Option<&SmolStr>,
    ) -> Result<Route, ResolveError> {
        let learnt = learnt.and_then(|key| self.by_key.get(key)).map(|at| (&self.partners[*at], Via::Learnt));
        let mut refusal = None;
        for (partner, via) in self.of_community(home).chain(learnt) {
            let error = match partner.url(transaction) {
                Some(url) if partner.responds => {
                    return Ok(Route { partner: Arc::clone(partner), url: url.clone(), via });
                }
                Some(_) => ResolveError::DoesNotRespond { partner: partner.key.clone() },
                None => ResolveError::NoAddress { partner: partner.key.clone(), transaction },
            };
            refusal.get_or_insert(error);
        }
        Err(refusal.unwrap_or_else(|| ResolveError::UnknownCommunity(home.clone())))
    }

    /// The partner that made an assertion: by its community, the networks that trust its certificate, and that
    /// certificate. What a partner said in an answer (`Via::Learnt`) never counts here.
    pub fn caller(
        &self,
        home: &HomeCommunityId,
        networks: &[NetworkName],
        certificate: &Fingerprint,
    ) -> Result<Arc<Partner>, CallerError> {
        let mut refusal = CallerError::UnknownCommunity;
        for (partner, _) in self.of_community(home) {
            // Where one partner pins its certificates, another that pins none does not open the door again.
            let accepted = match refusal {
                CallerError::NotPinned => partner.pinned.contains(certificate),
                CallerError::UnknownCommunity | CallerError::OtherNetwork => partner.accepts_certificate(certificate),
            };
            if !networks.contains(&partner.network) {
                if refusal == CallerError::UnknownCommunity {
                    refusal = CallerError::OtherNetwork;
                }
            } else if accepted {
                return Ok(Arc::clone(partner));
            } else {
                refusal = CallerError::NotPinned;
            }
        }
        // A hub may speak for a community that nobody lists, never for one that somebody does.
        if refusal == CallerError::UnknownCommunity {
            let hubs = self.unlisted.get(certificate).into_iter().flatten().map(|at| &self.partners[*at]);
            if let Some(hub) = hubs.into_iter().find(|hub| networks.contains(&hub.network)) {
                return Ok(Arc::clone(hub));
            }
        }
        Err(refusal)
    }

    /// Whom to ask when everybody is asked: partners that respond to a transaction, without those for which a record
    /// locator answers that is asked too (specification NET-18).
    pub fn responders(&self, transaction: Transaction) -> Vec<Arc<Partner>> {
        let asked = |partner: &&Arc<Partner>| partner.responds && partner.url(transaction).is_some();
        let locators = self.partners.iter().filter(asked).filter(|partner| partner.record_locator);
        let located: HashSet<&HomeCommunityId> =
            locators.flat_map(|partner| partner.members.iter().map(|member| &member.home)).collect();
        self.partners.iter().filter(asked).filter(|partner| !located.contains(&partner.home)).cloned().collect()
    }
}
