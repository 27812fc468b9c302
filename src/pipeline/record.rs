//! The audit record of one exchange, open from its first byte. One that is dropped without being closed (the task was
//! cancelled, a handler panicked) writes itself as a failure, so that no path goes unaudited.

use crate::atna::{Action, Audit, Event, Exchange, Human, Object, Outcome, ReplayKey};
use crate::authenticate::Caller;
use crate::gateway::Gateway;
use crate::id::Transaction;

use super::Denied;

/// One part of an audit record.
#[derive(Debug)]
pub struct Part {
    /// Another action than the transaction's usual one.
    pub action: Option<Action>,
    /// What was touched.
    pub objects: Vec<Object>,
    /// How it went.
    pub outcome: Outcome,
    /// Why it went so; without patient data.
    pub reason: Option<String>,
}

impl Part {
    /// It went well.
    pub fn success(objects: Vec<Object>) -> Self {
        Self { action: None, objects, outcome: Outcome::Success, reason: None }
    }

    /// It was refused or failed.
    pub fn failure(objects: Vec<Object>, reason: impl ToString) -> Self {
        Self { action: None, objects, outcome: Outcome::SeriousFailure, reason: Some(reason.to_string()) }
    }
}

/// The audit record of one exchange.
pub struct Record {
    audit: Audit,
    transaction: Transaction,
    exchange: Exchange,
    caller: Option<Caller>,
    closed: bool,
}

impl Record {
    /// Opens the record.
    pub fn open(gateway: &Gateway, transaction: Transaction, exchange: Exchange) -> Self {
        let audit = gateway.audit.clone();
        Self { audit, transaction, exchange, caller: None, closed: false }
    }

    /// Notes who asks, for what.
    pub fn caller(&mut self, caller: &Caller) {
        self.exchange.humans.extend(caller.user().map(|user| Human {
            user_id: user.name_id.clone(),
            alias: user.subject_id.clone().unwrap_or_default(),
            issuer: user.issuer.clone(),
            roles: user.roles.clone(),
        }));
        self.caller = Some(caller.clone());
    }

    /// Who asks, once that is known.
    pub fn known(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// Closes the record with its parts, and waits until they are on disk.
    pub async fn close(mut self, parts: Vec<Part>) -> Result<(), Denied> {
        self.closed = true;
        for part in parts {
            let event = self.event(part);
            self.audit.record(event).await.map_err(|error| {
                tracing::error!(%error, "the audit record could not be written, so the exchange is not answered");
                Denied::NotRecorded
            })?;
        }
        Ok(())
    }

    fn event(&self, part: Part) -> Event {
        let mut event = Event::of(self.transaction, self.exchange.clone());
        event.action = part.action.unwrap_or(event.action);
        event.outcome = part.outcome;
        event.reason = part.reason.map(|reason| format!("{reason} (trace {})", self.exchange.trace));
        event.objects = part.objects;
        if let Some(caller) = &self.caller {
            event.purposes = caller.purposes().to_vec();
            event.replay = caller.replay().map(|(key, expires)| ReplayKey { key, expires });
        }
        event
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.closed {
            let event = self.event(Part::failure(Vec::new(), "the exchange was cut off before it was answered"));
            self.audit.submit(event);
        }
    }
}
