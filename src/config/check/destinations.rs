//! Where deliveries go: recipients of documents and subscribers, checked before the first delivery waits for want of an
//! address, a certificate or a folder.

use std::net::ToSocketAddrs;

use super::super::settings::Settings;
use super::{Check, has_anchor, unwritable};
use crate::directory::{Partner, Snapshot};
use crate::gateway::{Target, Wire};
use crate::id::Transaction;
use crate::trust::{NetworkName, Trust};

const NO_PARTNER: &str = "give the name of a file in the folder of partners";
const NO_NAME: &str = "correct the name, or check DNS";
const NO_ANCHOR: &str = "put the root certificate of that system into that folder of the trust store";

impl Check {
    /// Recipients of documents and subscribers.
    pub(super) fn destinations(&mut self, settings: &Settings, partners: &Snapshot, trust: Option<&Trust>) {
        for (at, recipient) in settings.recipients.iter().enumerate() {
            let key = |name: &str| format!("recipients[{at}].{name}");
            match &recipient.target {
                Target::Inbox(folder) => {
                    if let Some(text) = unwritable(folder) {
                        self.problem(&key("inbox"), text, "give the gateway's user the right to write there");
                    }
                }
                Target::Partner(name) => {
                    self.receiver(partners, &key("partner"), name, &[Transaction::Iti41]);
                }
                Target::Fhir { url, network } => {
                    self.reachable(&key("fhir"), url.host(), url.port());
                    self.trusted(&key("network"), network, trust);
                }
                Target::Repository => {}
            }
        }
        for (at, subscriber) in settings.subscribers.iter().enumerate() {
            let key = |name: &str| format!("subscribers[{at}].{name}");
            match &subscriber.wire {
                Wire::V2 { address, .. } => {
                    self.reachable(&key("address"), &address.host, address.port);
                    if let Some(network) = &address.network {
                        self.trusted(&key("network"), network, trust);
                    }
                }
                Wire::V3 { partner, purpose, .. } => {
                    let partner = self.receiver(partners, &key("partner"), partner, &[Transaction::Iti46]);
                    let refused = partner.map(|partner| settings.rules.outgoing(Transaction::Iti46, partner, purpose));
                    if let Some(Err(error)) = refused {
                        let remedy = "give a purpose that purposes_answered of the partner's file lists";
                        self.problem(&key("purpose"), error.to_string(), remedy);
                    }
                }
            }
        }
    }

    /// A partner that is sent one of some transactions needs an entry with an address for it.
    pub(super) fn receiver<'s>(
        &mut self,
        partners: &'s Snapshot,
        key: &str,
        name: &str,
        transactions: &[Transaction],
    ) -> Option<&'s Partner> {
        let Some(partner) = partners.named(name) else {
            self.problem(key, format!("there is no partner {name}"), NO_PARTNER);
            return None;
        };
        if transactions.iter().all(|transaction| partner.url(*transaction).is_none()) {
            let wanted: Vec<String> = transactions.iter().map(ToString::to_string).collect();
            let text = format!("the partner {name} has no address for {}", wanted.join(" or "));
            let remedy = "add it to [urls] of the partner's file";
            self.problem(key, text, remedy);
        }
        Some(partner)
    }

    /// Whether a host is found by name.
    pub(super) fn reachable(&mut self, key: &str, host: &str, port: u16) {
        let found = (host, port).to_socket_addrs().is_ok_and(|mut addresses| addresses.next().is_some());
        if !found {
            self.problem(key, format!("{host} is not found by name"), NO_NAME);
        }
    }

    /// Whether somebody vouches for certificates of a network.
    pub(super) fn trusted(&mut self, key: &str, network: &NetworkName, trust: Option<&Trust>) {
        if trust.is_some_and(|trust| !has_anchor(trust, network)) {
            self.problem(key, format!("no certificate is trusted for {network}"), NO_ANCHOR);
        }
    }
}
