//! What a named user does by command, for the audit trail: one record for each patient who was seen or changed, and one
//! for a command that names no patient (DICOM PS3.15 A.5.3.10, A.5.3.11). No command answers before its records are on
//! disk. A change owes them: they are stored with it, so a crash leaves none that nobody did ([`crate::storage::owed`]).

use std::fmt::Display;
use std::future::Future;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::OperationError;
use crate::atna::{AccessPoint, Action, Alert, Event, Human, Object, Occasion, Outcome, Participant};
use crate::gateway::Gateway;
use crate::id::{PatientId, Timestamp, TraceId};
use crate::storage::owed::Debt;

/// Who did what to whom, and when.
#[derive(Clone, Deserialize, Serialize)]
pub struct Deed {
    user: SmolStr,
    at: Timestamp,
    trace: TraceId,
    /// The command, without anything of a patient.
    what: String,
    /// The patients, and what was done to each.
    patients: Vec<(Action, PatientId)>,
}

impl Deed {
    /// What a user begins to do, of no patient in particular so far.
    pub fn new(gateway: &Gateway, user: &str, what: impl Into<String>) -> Result<Self, OperationError> {
        let user = user.trim();
        if user.is_empty() {
            return Err(OperationError::new("name the user who does this"));
        }
        let (at, trace) = (gateway.clock.now(), TraceId::new());
        Ok(Self { user: user.into(), at, trace, what: what.into(), patients: Vec::new() })
    }

    /// A patient whom it concerns.
    #[must_use]
    pub fn of(mut self, action: Action, patient: &PatientId) -> Self {
        self.patients.push((action, patient.clone()));
        self
    }

    /// The name of the user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// When it is done.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// What a write that does it owes.
    pub fn debt(&self) -> Result<Debt, OperationError> {
        let record = serde_json::to_vec(self).map_err(OperationError::new)?;
        Ok(Debt { trace: self.trace, record })
    }

    /// Records that somebody was shown something, or why not. What cannot be recorded is not shown.
    pub async fn seen<R>(self, gateway: &Gateway, shown: Result<R, OperationError>) -> Result<R, OperationError> {
        self.record(gateway, shown.as_ref().err()).await?;
        shown
    }

    /// Does a change that owes the record of it, and pays.
    pub async fn change<R, E: Display>(
        &self,
        gateway: &Gateway,
        work: impl Future<Output = Result<R, E>>,
    ) -> Result<R, OperationError> {
        let done = work.await.map_err(OperationError::new);
        self.record(gateway, done.as_ref().err()).await?;
        if done.is_ok()
            && let Err(error) = gateway.owed.paid(&gateway.tenant, self.trace).await
        {
            tracing::warn!(%error, trace = %self.trace, "a command is recorded again at the next start");
        }
        done
    }

    /// Records it, as done or with the reason why it was not.
    pub async fn record(&self, gateway: &Gateway, refused: Option<&OperationError>) -> Result<(), OperationError> {
        let events = self.events(gateway, refused).into_iter().map(|event| gateway.audit.record(event));
        let recorded = try_join_all(events).await;
        recorded.map(drop).map_err(|error| {
            tracing::error!(%error, trace = %self.trace, "what a user did could not be recorded");
            OperationError::new("this cannot be recorded at the moment")
        })
    }

    fn events(&self, gateway: &Gateway, refused: Option<&OperationError>) -> Vec<Event> {
        let occasion = Occasion { at: self.at, trace: self.trace, tenant: gateway.tenant.clone() };
        let mut events = Vec::with_capacity(self.patients.len().max(1));
        for (action, id) in &self.patients {
            let host = AccessPoint::of_host(crate::pipeline::soap::host(&gateway.community.public_url));
            let user_id = self.user.clone();
            let person = Participant { user_id, access_point: Some(host), ..Participant::default() };
            let patient = Object::patient(id).detail("Command", &self.what);
            events.push(Event::patient_record(occasion.clone(), "causeway", *action, person, patient));
        }
        if self.patients.is_empty() {
            let what = format!("{} by {}", self.what, self.user);
            let mut event = Event::alert(occasion, Alert::RestrictedFunction, "causeway", "commands", &what);
            event.participants.push(Human { user_id: self.user.clone(), ..Human::default() }.into());
            events.push(event);
        }
        if let Some(reason) = refused {
            let failed = |event: Event| event.outcome(Outcome::SeriousFailure, reason.to_string());
            events = events.into_iter().map(failed).collect();
        }
        events
    }
}

/// Records what changes of an earlier run still owe.
pub async fn settle(gateway: &Gateway) -> Result<usize, OperationError> {
    let owed = gateway.owed.all(&gateway.tenant).map_err(OperationError::new)?;
    for record in &owed {
        let deed: Deed = serde_json::from_slice(record).map_err(OperationError::new)?;
        deed.record(gateway, None).await?;
        gateway.owed.paid(&gateway.tenant, deed.trace).await.map_err(OperationError::new)?;
    }
    Ok(owed.len())
}
