//! What we ask of others: one errand, carried to many partners, each part of it recorded like any exchange.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::{Call, Denied};
use crate::atna::{AccessPoint, Event, Exchange, Human, Object, Outcome, Party, Side};
use crate::directory::{Partner, ServiceUrl};
use crate::gateway::Gateway;
use crate::id::{Code, ExchangePurpose, TraceId, Transaction as Iti};
use crate::routing::call::Errand;
use crate::routing::fan_out::{Leg, State, fan_out};

/// A user's errand: who wants it, for what, until when.
#[derive(Clone)]
pub struct Errands {
    /// The user.
    pub user: smol_str::SmolStr,
    /// The user's role.
    pub role: Code,
    /// What for, in the user's words; each partner gets its own network's code.
    pub purpose: ExchangePurpose,
    /// How long the user waits for all partners together.
    pub deadline: Duration,
    /// The name of the exchange.
    pub trace: TraceId,
}

/// Something that a partner is asked for.
pub trait Asked {
    /// Who is asked.
    fn partner(&self) -> &Arc<Partner>;
}

impl Asked for Arc<Partner> {
    fn partner(&self) -> &Arc<Partner> {
        self
    }
}

/// What the audit record tells of one partner's part.
pub struct Told {
    /// What was touched.
    pub objects: Vec<Object>,
    /// How it went.
    pub outcome: Outcome,
    /// Why.
    pub reason: Option<String>,
}

impl Told {
    /// What a state comes to.
    pub fn of<T>(state: &State<T>) -> Self {
        let outcome = if state.is_complete() { Outcome::Success } else { Outcome::SeriousFailure };
        let reason = match (state.reason(), state.is_complete()) {
            (Some(reason), _) => Some(format!("{}: {reason}", state.name())),
            (None, true) => None,
            (None, false) => Some(state.name().to_string()),
        };
        Self { objects: Vec::new(), outcome, reason }
    }
}

impl Errands {
    /// The errand of a consumer of our own: its user, its purpose. None when it stated no purpose.
    pub fn on_behalf_of<R>(gateway: &Gateway, call: &Call<R>) -> Option<Self> {
        let user = call.permitted.caller().user();
        Some(Self {
            user: user.map(|user| user.name_id.clone()).or_else(|| gateway.default_user.clone())?,
            role: user.and_then(|user| user.roles.first().cloned()).unwrap_or_else(|| gateway.default_role.clone()),
            purpose: call.permitted.purposes().first().cloned()?,
            deadline: gateway.limits.fan_out,
            trace: call.trace,
        })
    }

    /// Asks for each item at once, under its partner's own purpose code; a partner that does not answer the purpose, or
    /// has no address for the transaction, is not asked.
    pub async fn fan_out<I, T, F>(
        &self,
        gateway: &Arc<Gateway>,
        transaction: Iti,
        items: Vec<I>,
        ask: impl Fn(&I, ServiceUrl, Errand) -> F,
    ) -> Vec<Leg<I, T>>
    where
        I: Asked,
        F: Future<Output = State<T>>,
    {
        let ask_one = |item: &I| {
            let prepared = self.prepare(gateway, transaction, item.partner());
            let asked = prepared.map(|(url, errand)| ask(item, url, errand));
            async move {
                match asked {
                    Ok(asked) => asked.await,
                    Err(reason) => State::Skipped(reason),
                }
            }
        };
        let legs = fan_out(items, self.deadline, |item| item.partner().timeout(transaction), ask_one).await;
        for leg in &legs {
            let partner = leg.partner.partner();
            if matches!(leg.state, State::TimedOut) {
                gateway.outgoing.gave_up(partner);
            }
            tracing::info!(
                trace = %self.trace, partner = %partner.key, transaction = transaction.code(),
                state = %leg.state.name(), milliseconds = leg.took.as_millis() as u64, "partner asked"
            );
        }
        legs
    }

    /// The address and the errand for one partner, or why it is not asked.
    pub fn prepare(
        &self,
        gateway: &Gateway,
        transaction: Iti,
        partner: &Partner,
    ) -> Result<(ServiceUrl, Errand), String> {
        let url = partner.url(transaction).cloned();
        let url = url.ok_or_else(|| format!("its entry has no address for {transaction}"))?;
        let rules = gateway.policy.rules();
        let purpose = rules.outgoing(transaction, partner, &self.purpose).map_err(|error| error.to_string())?;
        Ok((url, Errand { user: self.user.clone(), role: self.role.clone(), purpose }))
    }

    /// What the audit record says of the two ends.
    pub fn exchange(&self, gateway: &Gateway, transaction: Iti, partner: &Partner) -> Exchange {
        let url = partner.url(transaction);
        Exchange {
            side: Side::Client,
            client: Party {
                user_id: gateway.community.public_url.clone(),
                access_point: Some(AccessPoint::of_host(super::soap::host(&gateway.community.public_url))),
            },
            server: Party {
                user_id: url.map(|url| url.to_string().into()).unwrap_or_default(),
                access_point: url.map(|url| AccessPoint::of_host(url.host())),
            },
            humans: vec![Human {
                user_id: self.user.clone(),
                alias: "".into(),
                issuer: gateway.outgoing.ourselves().issuer.clone(),
                roles: vec![self.role.clone()],
            }],
            at: gateway.clock.now(),
            trace: self.trace,
            message_id: None,
            tenant: gateway.tenant.clone(),
        }
    }

    /// Records one partner's part. What cannot be recorded must not be told to the user.
    pub async fn record(
        &self,
        gateway: &Gateway,
        transaction: Iti,
        partner: &Partner,
        told: Told,
    ) -> Result<(), Denied> {
        let exchange = self.exchange(gateway, transaction, partner);
        let mut event = Event::of(transaction, exchange);
        event.outcome = told.outcome;
        event.reason = told.reason;
        event.objects = told.objects;
        event.purposes = vec![self.purpose.to_code()];
        gateway.audit.record(event).await.map(drop).map_err(|error| {
            tracing::error!(%error, trace = %self.trace, "the audit record of a request to a partner could not be written");
            Denied::NotRecorded
        })
    }
}
