//! Where deliveries go, as the operator writes it.

use std::path::Path;
use std::time::Duration;

use smol_str::SmolStr;

use super::file;
use super::settings::{NETWORK_REMEDY, PURPOSE_REMEDY, host_and_port, or};
use crate::directory::{Problems, ServiceUrl};
use crate::gateway::{Patience, PersonId, Recipient, Subscriber, Target, Wire};
use crate::id::{AssigningAuthority, Domains, ExchangePurpose, PatientId};
use crate::routing::messenger::Address;

/// The systems that are told of changes of the cross-reference.
pub(super) fn subscribers(
    files: Vec<file::Subscriber>,
    domains: &Domains,
    initiator: &file::Initiator,
    problems: &mut Problems,
) -> Vec<Subscriber> {
    let mut subscribers: Vec<Subscriber> = Vec::new();
    for (at, file) in files.into_iter().enumerate() {
        let section = format!("subscribers[{at}]");
        let key = |name: &str| format!("{section}.{name}");
        if !is_name(&file.name) || subscribers.iter().any(|other| other.name == file.name) {
            problems.add(key("name"), "is no name, or used twice", NAME_REMEDY);
        }
        if file.domains.is_empty() {
            problems.add(
                key("domains"),
                "is missing",
                "name the namespaces of [[domains]] that it wants to know about",
            );
        }
        let authorities = authorities(&key("domains"), &file.domains, domains, problems);
        let wire = match (file.address.is_empty(), file.partner.is_empty()) {
            (false, true) => v2(&section, &file, problems),
            (true, false) => v3(&section, &file, initiator, problems),
            _ => {
                let remedy = "give the address of its MLLP listener, or the name of its file in the partners folder";
                problems.add(&section, "needs either address or partner", remedy);
                None
            }
        };
        subscribers.extend(wire.map(|wire| Subscriber { name: file.name.as_str().into(), authorities, wire }));
    }
    subscribers
}

const NAME_REMEDY: &str = "give each its own name of letters, digits, '-', '_' and '.'";

/// Names stand in destinations and on the command line.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn authorities(key: &str, names: &[String], domains: &Domains, problems: &mut Problems) -> Vec<AssigningAuthority> {
    let mut found = Vec::new();
    for name in names {
        match domains.iter().find(|domain| domain.namespace == *name) {
            Some(domain) => found.push(domain.authority.clone()),
            None => problems.add(key, format!("{name:?} is not a domain"), "name the namespace of a [[domains]]"),
        }
    }
    found
}

fn v2(section: &str, file: &file::Subscriber, problems: &mut Problems) -> Option<Wire> {
    let key = |name: &str| format!("{section}.{name}");
    if !(1..=600).contains(&file.timeout_seconds) {
        problems.add(key("timeout_seconds"), "must be from 1 to 600", "leave it out for 30");
    }
    let network = match (file.tls, file.network.is_empty()) {
        (true, _) => Some(problems.require(&key("network"), &file.network, NETWORK_REMEDY)?),
        (false, true) => None,
        (false, false) => {
            problems.add(key("network"), "means nothing without TLS", "leave it out, or tls = false");
            None
        }
    };
    let Some((host, port)) = host_and_port(&file.address) else {
        problems.add(key("address"), "is not a host and a port", "write it as ehr.example.org:2575");
        return None;
    };
    let address = Address {
        host: host.into(),
        port,
        network,
        server_name: or(&file.server_name, host),
        timeout: Duration::from_secs(file.timeout_seconds.into()),
    };
    let name = |name: &str, text: &str, problems: &mut Problems| -> SmolStr {
        if text.trim().is_empty() {
            problems.add(key(name), "is missing", "write the name that the consumer expects in MSH-5 and MSH-6");
        }
        text.trim().into()
    };
    let application = name("application", &file.application, problems);
    let facility = name("facility", &file.facility, problems);
    Some(Wire::V2 { address, application, facility })
}

fn v3(section: &str, file: &file::Subscriber, initiator: &file::Initiator, problems: &mut Problems) -> Option<Wire> {
    let key = |name: &str| format!("{section}.{name}");
    let user = or(&file.user, &initiator.user);
    if user.is_empty() {
        problems.add(key("user"), "is missing", "name the user of assertions, here or as initiator.user");
    }
    let text = or(&file.purpose, &initiator.purpose);
    let purpose: ExchangePurpose = problems.require(&key("purpose"), &text, PURPOSE_REMEDY)?;
    Some(Wire::V3 { partner: file.partner.as_str().into(), user, purpose })
}

/// For whom documents are taken in.
pub(super) fn recipients(files: Vec<file::Recipient>, base: &Path, problems: &mut Problems) -> Vec<Recipient> {
    let mut recipients: Vec<Recipient> = Vec::new();
    for (at, file) in files.into_iter().enumerate() {
        let section = format!("recipients[{at}]");
        let key = |name: &str| format!("{section}.{name}");
        if !is_name(&file.name) || recipients.iter().any(|other| other.name == file.name) {
            problems.add(key("name"), "is no name, or used twice", NAME_REMEDY);
        }
        let nothing = file.organizations.is_empty() && file.addresses.is_empty() && file.persons.is_empty();
        if nothing && !file.default {
            let remedy = "give it organizations, addresses or persons, or default = true";
            problems.add(&section, "is meant by nothing", remedy);
        }
        if file.default && recipients.iter().any(|other| other.default) {
            problems.add(key("default"), "is another recipient's too", "let one recipient be the default");
        }
        let target = target(&section, &file, base, problems);
        let bare = |text: &String| SmolStr::from(text.trim().trim_start_matches("urn:oid:"));
        recipients.extend(target.map(|target| Recipient {
            name: file.name.as_str().into(),
            organizations: file.organizations.iter().map(bare).collect(),
            addresses: file.addresses.iter().map(|text| text.trim().to_lowercase().into()).collect(),
            persons: file.persons.iter().filter_map(|text| person(&key("persons"), text, problems)).collect(),
            default: file.default,
            target,
        }));
    }
    recipients
}

fn person(key: &str, text: &str, problems: &mut Problems) -> Option<PersonId> {
    let (id, authority) = text.trim().split_once('^').unwrap_or((text.trim(), ""));
    if id.is_empty() {
        problems.add(key, "has an empty identifier", "write an id, or ID^^^&OID&ISO");
        return None;
    }
    if authority.is_empty() {
        return Some((id.into(), None));
    }
    match PatientId::from_cx(text) {
        Ok(whole) => Some((id.into(), Some(whole.authority().universal_id().into()))),
        Err(error) => {
            problems.add(key, format!("{error}"), "write an id, or ID^^^&OID&ISO");
            None
        }
    }
}

fn target(section: &str, file: &file::Recipient, base: &Path, problems: &mut Problems) -> Option<Target> {
    let key = |name: &str| format!("{section}.{name}");
    match (file.inbox.as_str(), file.partner.as_str(), file.fhir.as_str(), file.repository) {
        ("", "", "", true) => Some(Target::Repository),
        (inbox, "", "", false) if !inbox.is_empty() => Some(Target::Inbox(base.join(inbox))),
        ("", partner, "", false) if !partner.is_empty() => Some(Target::Partner(partner.into())),
        ("", "", url, false) if !url.is_empty() => {
            let remedy = "write the base of the FHIR service, such as https://fhir.example.org/r4";
            let url: ServiceUrl = problems.parse(&key("fhir"), url, remedy)?;
            if !url.is_https() {
                problems.add(key("fhir"), "is not https", remedy);
            }
            Some(Target::Fhir { url, network: problems.require(&key("network"), &file.network, NETWORK_REMEDY)? })
        }
        _ => {
            let remedy = "give one of inbox, partner, fhir and repository = true";
            problems.add(section, "does not say what becomes of the documents, or says several things", remedy);
            None
        }
    }
}

/// When deliveries are tried.
pub(super) fn patience(file: &file::Delivery, problems: &mut Problems) -> Patience {
    for (name, value, least, most) in [
        ("first_retry_seconds", file.first_retry_seconds, 1, 3600),
        ("longest_retry_seconds", file.longest_retry_seconds, 1, 86_400),
        ("give_up_hours", file.give_up_hours, 1, 8760),
        ("keep_days", file.keep_days, 1, 3650),
        ("wait_seconds", file.wait_seconds, 0, 300),
    ] {
        if !(least..=most).contains(&value) {
            let text = format!("must be from {least} to {most}");
            problems.add(format!("delivery.{name}"), text, "leave it out for the default");
        }
    }
    let seconds = |number: u32| Duration::from_secs(number.into());
    Patience {
        first: seconds(file.first_retry_seconds),
        longest: seconds(file.longest_retry_seconds.max(file.first_retry_seconds)),
        give_up: seconds(file.give_up_hours) * 3600,
        keep: seconds(file.keep_days) * 86_400,
        wait: seconds(file.wait_seconds),
    }
}
