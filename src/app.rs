//! Builds the gateway, opens and drains its listeners, and keeps certificates, partners and audit forwarding going.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::atna::forward::{Collector, Forwarder, Patience};
use crate::atna::{self, AccessPoint, Alert, Audit, Event, Occasion, Signer};
use crate::authenticate::{FeedSource, ReplayCache};
use crate::config::{self, Settings, check};
use crate::directory::{self, Directory};
use crate::endpoints::{self, Mllp};
use crate::gateway::{
    Community, Continuations, External, Gateway, ImportDefaults, Limits, Member, OnDemand, Subscriber,
};
use crate::hl7v2;
use crate::id::{Clock, Tenant, TraceId};
use crate::metadata::affinity::ValueSets;
use crate::mpi::Thresholds;
use crate::net::{OnRefused, control, dial, https, messenger, mllp};
use crate::operations::{self, deed};
use crate::pipeline::delivery;
use crate::policy::Policy;
use crate::routing::call::{Ourselves, SoapClient};
use crate::storage::deliveries::Deliveries;
use crate::storage::documents::Documents;
use crate::storage::engine::{self, Engine};
use crate::storage::files::Files;
use crate::storage::identities::{Identities, Interest};
use crate::storage::owed::Owed;
use crate::storage::seal::Sealer;
use crate::storage::traces::Traces;
use crate::trust::{Tls, Trust};
use crate::xml::signature::{Known, SigningKey};

/// The name of this program in audit records.
const APPLICATION: &str = "causeway";
/// How often files are looked at for changes.
const WATCH: Duration = Duration::from_secs(2);

/// Days before the end of a certificate from which the log says so, and how often.
const EXPIRY_DAYS: i64 = 30;
const EXPIRY_EACH: Duration = Duration::from_secs(86_400);

/// Why a gateway did not start: sentences for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct StartError(pub Vec<String>);

impl StartError {
    fn about(what: &str, error: impl std::fmt::Display) -> Self {
        Self(vec![format!("{what}: {error}")])
    }
}

/// A gateway with its stores open and nothing listening yet.
pub struct App {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    settings: Settings,
    tls: Arc<Tls>,
}

impl App {
    /// Opens stores, keys and directory.
    pub fn open(settings: Settings, clock: Clock) -> Result<Self, StartError> {
        let networks = settings.trust.networks.clone();
        let trust = Trust::open(&settings.trust.folder, networks).map_err(|e| StartError::about("trust store", e))?;
        let tls = Tls::open(trust.clone(), &settings.tls.certificate, &settings.tls.key)
            .map_err(|e| StartError::about("TLS certificate", e))?;
        let key = Arc::new(signing_key(&settings)?);
        let (snapshot, problems) = directory::load(&settings.partners);
        if !problems.is_empty() {
            return Err(StartError(problems.iter().map(ToString::to_string).collect()));
        }
        let store = engine::Settings { cache: settings.store.cache, ..engine::Settings::default() };
        let engine = Engine::open(&settings.store.folder, &store).map_err(|e| StartError::about("store", e))?;
        let sealer = Sealer::plain();
        let files =
            Files::open(&settings.store.folder, sealer.clone()).map_err(|e| StartError::about("documents", e))?;
        let documents = Documents::new(engine.clone(), sealer.clone());
        let deliveries = Deliveries::new(engine.clone(), sealer.clone());
        let (audit, replay) = open_audit(&settings, &clock, &key)?;
        let limits = limits(&settings);
        let dialer = dial::Dialer::new(dial::Settings::default(), clock.clone(), tls.clone());
        let outgoing = SoapClient::new(
            Arc::new(dialer),
            key.clone(),
            ourselves(&settings, &key),
            clock.clone(),
            (limits.xml, limits.skew, limits.message),
        )
        .with_lifetime(settings.limits.assertion);
        let owed = Owed::new(engine.clone(), sealer.clone());
        let identities = Identities::new(engine.clone(), sealer);
        let identities = identities.telling(interests(&settings), clock.clone(), deliveries.wake());
        let tenant = Tenant::default();
        let names = identities.names(&tenant).map_err(|e| StartError::about("store", e))?;
        let gateway = Gateway {
            community: community(&settings),
            tenant,
            clock: clock.clone(),
            trust,
            directory: Directory::new(snapshot),
            policy: Policy::new(settings.rules.clone()),
            domains: settings.domains.clone(),
            sources: settings.sources.iter().map(source).collect(),
            clients: settings.clients.iter().cloned().map(Arc::new).collect(),
            thresholds: Thresholds { release: settings.matching.release_bits(), ..Thresholds::default() },
            default_role: settings.initiator.role.clone(),
            correlation_days: settings.matching.correlation_days,
            default_user: settings.initiator.user.clone(),
            default_purpose: settings.initiator.purpose.clone(),
            import: import_defaults(&settings.import),
            value_sets: value_sets(&settings)?,
            on_demand: settings.documents.on_demand.as_ref().map(on_demand),
            external: external(&settings.documents.external),
            names,
            identities,
            documents,
            files,
            traces: Traces::new(engine),
            audit,
            owed,
            continuations: Continuations::default(),
            replay,
            known: Known::default(),
            audiences: audiences(&settings),
            outgoing,
            messenger: Arc::new(messenger::Dialer::new(clock, tls.clone())),
            deliveries,
            patience: settings.patience,
            subscribers: settings.subscribers.clone(),
            recipients: settings.recipients.clone(),
            limits,
        };
        Ok(Self { gateway: Arc::new(gateway), settings, tls })
    }

    /// Closes the stores of a gateway that does not serve.
    pub async fn close(self) {
        close(self.gateway).await;
    }

    /// Removes what a crash left of uploads. Only before anything is served.
    fn sweep(&self) -> Result<(), StartError> {
        let gateway = &self.gateway;
        // What cannot be looked up stays: only bytes that certainly belong to nothing go.
        let named = |tenant: &Tenant, sha256: &str| gateway.documents.keeps(tenant, sha256).unwrap_or(true);
        let removed = gateway.files.sweep(named).map_err(|e| StartError::about("documents", e))?;
        if removed > 0 {
            tracing::info!(removed, "document files without metadata were removed");
        }
        Ok(())
    }

    /// Indexes patients anew whom another version of the program stored, and records what commands of an earlier run
    /// still owe the audit trail. Only before anything is served or searched.
    pub async fn prepare(&self) -> Result<(), StartError> {
        let gateway = &self.gateway;
        let owed = deed::settle(gateway).await.map_err(|e| StartError::about("audit trail", e))?;
        if owed > 0 {
            tracing::warn!(owed, "commands that a crash cut off from their audit records were recorded");
        }
        let indexed =
            gateway.identities.reindex(&gateway.tenant).await.map_err(|e| StartError::about("patients", e))?;
        if let Some(patients @ 1..) = indexed {
            tracing::info!(patients, "the search index was made anew for this version");
        }
        Ok(())
    }

    /// Opens the listeners and everything that runs beside them.
    pub async fn serve(self) -> Result<Running, StartError> {
        self.sweep()?;
        self.prepare().await?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (forward_stop, forward_stopped) = watch::channel(false);
        let on_refused = on_refused(&self.gateway);
        let bind = async |address: SocketAddr| {
            TcpListener::bind(address).await.map_err(|e| StartError::about(&format!("listening at {address}"), e))
        };

        let listener = bind(self.settings.listen.https).await?;
        let https_address = listener.local_addr().map_err(|e| StartError::about("listener", e))?;
        let https = https::Listener {
            tls: self.tls.clone(),
            limits: https::Limits {
                connections: self.settings.limits.connections,
                handshake: self.settings.limits.handshake,
                headers: self.settings.limits.header,
                idle: self.settings.limits.idle,
                ..https::Limits::default()
            },
            on_refused: on_refused.clone(),
            clock: self.gateway.clock.clone(),
        };
        tasks.spawn(https::serve(listener, https, endpoints::router(self.gateway.clone()), stop.clone()));

        let mut mllp_addresses = Vec::new();
        for wanted in &self.settings.listen.mllp {
            let listener = bind(wanted.address).await?;
            let address = listener.local_addr().map_err(|e| StartError::about("listener", e))?;
            mllp_addresses.push(address);
            let frame = hl7v2::mllp::Limits { message_bytes: self.settings.limits.mllp };
            let settings = mllp::Listener {
                tls: wanted.tls.then(|| self.tls.clone()),
                limits: mllp::Limits { frame, handshake: self.settings.limits.handshake, ..mllp::Limits::default() },
                on_refused: on_refused.clone(),
                clock: self.gateway.clock.clone(),
            };
            let limits = hl7v2::Limits { bytes: self.settings.limits.mllp, ..hl7v2::Limits::default() };
            let handler = Mllp { gateway: self.gateway.clone(), endpoint: address.ip().to_string(), limits };
            tasks.spawn(mllp::serve(listener, settings, Arc::new(handler), stop.clone()));
        }

        for collector in &self.settings.audit.collectors {
            let forwarder = self.forwarder(collector)?;
            let stopped = forward_stopped.clone();
            tasks.spawn(async move { forwarder.run(stopped).await });
        }
        tasks.spawn(delivery::run(self.gateway.clone(), endpoints::carry, stop.clone()));
        tasks.spawn(watch_files(self.gateway.clone(), self.tls.clone(), self.settings.partners.clone(), stop.clone()));
        tasks.spawn(warn_of_expiry(self.settings.clone(), self.gateway.clone(), stop.clone()));
        let control =
            control::listen(&self.settings.store.folder).map_err(|e| StartError::about("control socket", e))?;
        tasks.spawn(operations::patients::look_for_pairs(self.gateway.clone(), stop.clone()));
        tasks.spawn(operations::serve(control, self.gateway.clone(), stop.clone()));

        record(&self.gateway, Event::application_start(occasion(&self.gateway), APPLICATION)).await?;
        tracing::info!(https = %https_address, mllp = ?mllp_addresses, "serving");
        Ok(Running { gateway: self.gateway, https: https_address, mllp: mllp_addresses, stop, forward_stop, tasks })
    }

    fn forwarder(&self, wanted: &crate::config::settings::Collector) -> Result<Forwarder, StartError> {
        let about =
            |error: &dyn std::fmt::Display| StartError::about(&format!("audit collector {}", wanted.host), error);
        let server_name = wanted.server_name.to_string();
        let collector = Collector {
            name: format!("{}-{}", wanted.host, wanted.port),
            address: format!("{}:{}", wanted.host, wanted.port),
            server_name: server_name.try_into().map_err(|e| about(&e))?,
            tls: self.tls.client(&wanted.network).map_err(|e| about(&e))?,
        };
        let sender = atna::syslog::Sender::new(&self.settings.audit.source_id, APPLICATION);
        Forwarder::new(&self.gateway.audit, collector, sender, Patience::default()).map_err(|e| about(&e))
    }
}

/// A gateway that serves.
pub struct Running {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// Where it listens for SOAP.
    pub https: SocketAddr,
    /// Where it listens for HL7 v2, in the order of the configuration.
    pub mllp: Vec<SocketAddr>,
    stop: CancellationToken,
    forward_stop: watch::Sender<bool>,
    tasks: TaskTracker,
}

impl Running {
    /// Lets running requests end, closes the stores and the audit trail.
    pub async fn stop(self) {
        self.stop.cancel();
        // An error says that the forwarders are gone already.
        let _ = self.forward_stop.send(true);
        self.tasks.close();
        self.tasks.wait().await;
        if let Err(error) = record(&self.gateway, Event::application_stop(occasion(&self.gateway), APPLICATION)).await {
            tracing::error!(%error, "the end could not be recorded");
        }
        close(self.gateway).await;
    }
}

/// Writes what is waiting and closes the audit trail, which joins a thread.
async fn close(gateway: Arc<Gateway>) {
    if tokio::task::spawn_blocking(move || gateway.audit.close()).await.is_err() {
        tracing::error!("the audit trail did not close well");
    }
}

fn occasion(gateway: &Gateway) -> Occasion {
    Occasion { at: gateway.clock.now(), trace: TraceId::new(), tenant: gateway.tenant.clone() }
}

async fn record(gateway: &Gateway, event: Event) -> Result<(), StartError> {
    gateway.audit.record(event).await.map(drop).map_err(|error| StartError::about("audit trail", error))
}

/// Logs and records every connection that was refused, with its named reason (ITI TF-2: 3.19.6.1.3).
fn on_refused(gateway: &Arc<Gateway>) -> OnRefused {
    let gateway = gateway.clone();
    Arc::new(move |address, refusal| {
        tracing::warn!(%address, %refusal, "a connection was refused");
        let peer = AccessPoint::from(address.ip());
        let reason = refusal.to_string();
        gateway.audit.submit(Event::node_authentication_failure(occasion(&gateway), APPLICATION, peer, &reason));
    })
}

/// Takes up new certificates, anchors, revocation lists and partners when their files change. What cannot be read
/// changes nothing, and is said in the log until it is mended.
async fn watch_files(gateway: Arc<Gateway>, tls: Arc<Tls>, partners: std::path::PathBuf, stop: CancellationToken) {
    let mut seen = directory_stamp(&partners);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(WATCH) => {}
        }
        let (trust, watched) = (gateway.trust.clone(), tls.clone());
        let folder = partners.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let trust = trust.changed().then(|| trust.reload().map_err(|e| e.to_string()));
            let identity = watched.changed().then(|| watched.reload().map_err(|e| e.to_string()));
            (trust, identity, directory_stamp(&folder))
        });
        let Ok((trust, identity, stamp)) = looked.await else { continue };
        let partners_changed = (stamp != seen).then(|| {
            gateway
                .directory
                .reload(&partners)
                .map(drop)
                .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        });
        seen = stamp;
        let changes = [("trust store", trust), ("certificate", identity), ("partners", partners_changed)];
        for (what, result) in changes.into_iter().filter_map(|(what, result)| Some((what, result?))) {
            match result {
                Ok(()) => tracing::info!(what, "read again"),
                Err(error) => tracing::error!(what, error, "could not be read again; what was read before stays"),
            }
            let event =
                Event::alert(occasion(&gateway), Alert::SecurityConfiguration, APPLICATION, what, "files changed");
            gateway.audit.submit(event);
        }
    }
}

/// Says each day which certificates end within a month.
async fn warn_of_expiry(settings: Settings, gateway: Arc<Gateway>, stop: CancellationToken) {
    loop {
        for warning in check::expiring(&settings, &gateway.trust, gateway.clock.now(), EXPIRY_DAYS) {
            tracing::warn!("{warning}");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EXPIRY_EACH) => {}
        }
    }
}

/// Names, sizes and times of the partners' files.
fn directory_stamp(folder: &Path) -> BTreeMap<std::path::PathBuf, (u64, Option<std::time::SystemTime>)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let data = entry.metadata().ok()?;
            Some((entry.path(), (data.len(), data.modified().ok())))
        })
        .collect()
}

fn value_sets(settings: &Settings) -> Result<ValueSets, StartError> {
    let Some(path) = &settings.documents.value_sets else { return Ok(ValueSets::default()) };
    config::value_sets::load(path).map_err(|problems| StartError(problems.iter().map(ToString::to_string).collect()))
}

fn external(settings: &config::settings::External) -> External {
    External {
        registry: settings.registry.clone(),
        repositories: settings.repositories.clone(),
        submissions: settings.submissions.clone(),
    }
}

fn on_demand(settings: &config::settings::OnDemand) -> OnDemand {
    OnDemand {
        program: settings.program.clone(),
        arguments: settings.arguments.clone(),
        time: settings.time,
        persist: settings.persist,
    }
}

fn signing_key(settings: &Settings) -> Result<SigningKey, StartError> {
    let read = |path: &Path| std::fs::read(path).map_err(|e| StartError::about(&path.display().to_string(), e));
    let (key, chain) = (zeroize::Zeroizing::new(read(&settings.signing.key)?), read(&settings.signing.certificate)?);
    SigningKey::from_pem(&key, &chain).map_err(|e| StartError::about("signing key", e))
}

fn open_audit(settings: &Settings, clock: &Clock, key: &Arc<SigningKey>) -> Result<(Audit, ReplayCache), StartError> {
    let source =
        atna::Source { id: settings.audit.source_id.clone(), enterprise: Some(settings.audit.enterprise_site.clone()) };
    let signer_key = key.clone();
    let signer = Signer::new(move |bytes| signer_key.sign(bytes).unwrap_or_default(), key.certificate_der().to_vec());
    let folder = settings.store.folder.join("audit");
    let (audit, opened) = Audit::open(&folder, atna::Settings::new(source), clock.clone(), Some(signer))
        .map_err(|e| StartError::about("audit trail", e))?;
    for problem in &opened.problems {
        tracing::error!(problem, "the audit trail is not as it was left");
    }
    let replay = ReplayCache::default();
    for seen in opened.replay {
        replay.note(&seen.key, seen.expires, clock.now());
    }
    Ok((audit, replay))
}

fn ourselves(settings: &Settings, key: &SigningKey) -> Ourselves {
    Ourselves {
        home: settings.community.home.clone(),
        organization: settings.community.organization.clone(),
        organization_id: format!("urn:oid:{}", settings.community.organization_id).into(),
        npi: settings.community.npi.clone(),
        tin: settings.initiator.tin.clone(),
        issuer: crate::trust::subject_of(key.certificate_der()).into(),
    }
}

fn community(settings: &Settings) -> Community {
    let ours = &settings.community;
    Community {
        name: ours.name.clone(),
        home: ours.home.clone(),
        repository: ours.repository.clone(),
        public_url: settings.listen.public_url.to_string().trim_end_matches('/').into(),
        members: ours
            .members
            .iter()
            .map(|member| Member {
                name: member.name.clone(),
                home: member.home.clone(),
                repository: member.repository.clone(),
                authorities: member.authorities.clone(),
            })
            .collect(),
    }
}

fn source(source: &crate::config::settings::Source) -> FeedSource {
    FeedSource {
        name: source.name.clone(),
        application: source.application.clone(),
        facility: source.facility.clone(),
        authorities: source.domains.iter().map(|domain| domain.authority.clone()).collect(),
        certificate: source.certificate,
        addresses: source.addresses.clone(),
        default_authority: source.fill_missing_authority.as_ref().map(|domain| domain.authority.clone()),
    }
}

fn interests(settings: &Settings) -> Vec<Interest> {
    let interest = |one: &Subscriber| Interest { name: one.name.clone(), authorities: one.authorities.clone() };
    settings.subscribers.iter().map(interest).collect()
}

fn import_defaults(import: &crate::config::settings::Import) -> ImportDefaults {
    ImportDefaults {
        class_code: import.class_code.clone(),
        facility_type: import.facility_type.clone(),
        practice_setting: import.practice_setting.clone(),
        confidentiality: import.confidentiality.clone(),
        language: import.language.clone(),
    }
}

/// The names under which partners may address assertions to us: our URLs, and the URN of our community.
fn audiences(settings: &Settings) -> Vec<String> {
    let url = settings.listen.public_url.to_string();
    let base = url.trim_end_matches('/').to_owned();
    let services = endpoints::services().map(|service| format!("{base}/{service}"));
    services.chain([base.clone(), settings.community.home.to_string()]).collect()
}

fn limits(settings: &Settings) -> Limits {
    let ours = &settings.limits;
    Limits {
        xml: ours.xml,
        fhir: ours.fhir,
        document: ours.message,
        message: ours.message,
        skew: ours.clock_skew,
        assertion_lifetime: ours.longest_assertion,
        fan_out: ours.fan_out,
        requests: ours.requests,
        idle: ours.idle,
    }
}
