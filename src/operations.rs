//! What a user or an operator asks of a gateway, whether through its socket or in the same process: find a patient's
//! records, look at past exchanges, take documents in. Each is audited with the user's name.

pub mod deed;
mod deliver;
mod documents;
mod fetch;
pub mod patients;
mod show;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::bulk::import::Watch;
use crate::bulk::{export, import};
use crate::gateway::Gateway;
use crate::id::{Demographics, Dtm, ExchangePurpose, Gender, HomeCommunityId, PatientId, PersonName, TraceId};
use crate::net::control::{self, Control};
use crate::pipeline::outgoing::Errands;
use crate::storage::deliveries::{Delivery, State};
use crate::storage::identities::{Import, Resolution};
use crate::storage::traces::{Step, Trace};
use crate::xcpd::initiating_gateway::Sought;

pub use deliver::Consignment;
pub use documents::{Imported, ImportedDocument, Listed};
pub use fetch::{Account, DocumentAccount, MatchAccount};
pub use show::{Clinical, Shown, Viewed};

/// Something to be done.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "operation", rename_all = "kebab-case")]
pub enum Operation {
    /// Ask partners whether they know a patient.
    Discover {
        /// Whose errand.
        errand: Errand,
        /// Whom to look for.
        patient: PatientSought,
    },
    /// And ask those who do for their documents.
    Query {
        /// Whose errand.
        errand: Errand,
        /// Whose documents.
        patient: PatientSought,
    },
    /// And bring the documents home.
    Fetch {
        /// Whose errand.
        errand: Errand,
        /// Whose documents.
        patient: PatientSought,
        /// Where to put them.
        out: PathBuf,
    },
    /// Bring named documents home.
    Retrieve {
        /// Whose errand.
        errand: Errand,
        /// The community that holds them.
        home: HomeCommunityId,
        /// Its repository.
        repository: String,
        /// Their unique ids.
        documents: Vec<String>,
        /// Where to put them.
        out: PathBuf,
    },
    /// Take documents into our repository.
    ImportDocuments {
        /// Who does it.
        user: String,
        /// Whose documents.
        patient: String,
        /// Files, and folders of files.
        paths: Vec<PathBuf>,
    },
    /// List documents of our repository.
    ListDocuments {
        /// Who looks.
        user: String,
        /// Whose documents.
        patient: String,
    },
    /// Show what is known of one document of our repository.
    ShowDocument {
        /// Who looks.
        user: String,
        /// Its unique id.
        document: String,
    },
    /// Write one document of our repository to a file for people.
    ViewDocument {
        /// Who looks.
        user: String,
        /// Its unique id.
        document: String,
        /// The file, or the folder for it.
        out: PathBuf,
    },
    /// Take a file of patients in.
    ImportPatients {
        /// Which, and how.
        request: import::Request,
    },
    /// Write all patients into a file.
    ExportPatients {
        /// Which, and how.
        request: export::Request,
    },
    /// Every import of patients, ended or not.
    ListImports,
    /// Find patients and say who is who.
    Patients {
        /// Who does it.
        user: String,
        /// What.
        request: patients::Request,
    },
    /// Send documents to somebody.
    Deliver {
        /// Whose errand.
        errand: Errand,
        /// What, and where.
        consignment: Consignment,
    },
    /// The latest deliveries.
    Deliveries {
        /// Who looks.
        user: String,
        /// In this state only.
        state: Option<State>,
        /// To destinations that begin so.
        to: String,
        /// How many.
        limit: usize,
    },
    /// One delivery.
    Delivery {
        /// Who looks.
        user: String,
        /// Its number.
        number: u64,
    },
    /// Take up a delivery again that was refused or given up.
    Redeliver {
        /// Who does it.
        user: String,
        /// Its number.
        number: u64,
    },
    /// The latest exchanges.
    Traces {
        /// How many.
        limit: usize,
        /// Only those in which this partner was asked.
        #[serde(default)]
        partner: Option<String>,
        /// Only those in which a partner's part, or that partner's, ended so.
        #[serde(default)]
        state: Option<String>,
    },
    /// One exchange.
    Trace {
        /// Its name.
        id: TraceId,
    },
}

/// Whose errand it is, why, and how long it may take.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Errand {
    /// The user's name; empty for the configuration's.
    pub user: String,
    /// The purpose's code; empty for the configuration's.
    pub purpose: String,
    /// Partners to ask, by the names of their files; none for all.
    pub partners: Vec<String>,
    /// The longest wait in seconds; the configuration's otherwise.
    pub deadline: Option<u64>,
}

/// A patient by an identifier known here, or by demographics.
#[derive(Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub enum PatientSought {
    /// `ID^^^&OID&ISO` or `ID^^^NAMESPACE`.
    Known {
        /// The identifier.
        id: String,
    },
    /// Name, birth date and gender.
    Described {
        /// Family name.
        family: String,
        /// Given name.
        given: String,
        /// Date of birth.
        birth: Dtm,
        /// Gender code.
        gender: Option<String>,
    },
}

impl std::fmt::Debug for PatientSought {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Known { .. } => "Known(…)",
            Self::Described { .. } => "Described(…)",
        })
    }
}

/// What came of an operation.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "result", content = "value", rename_all = "kebab-case")]
pub enum Outcome {
    /// Of discovering, querying, retrieving.
    Account(Account),
    /// Of an import.
    Imported(Imported),
    /// Of a list.
    Documents(Vec<Listed>),
    /// Of a look at one document.
    Document(Shown),
    /// Of one that was written to be looked at.
    Viewed(Viewed),
    /// Of finding patients and saying who is who.
    Patients(Box<patients::Reply>),
    /// Of a look at past exchanges.
    Traces(Vec<Trace>),
    /// How far an import or export of patients is; another outcome follows.
    Progress(import::Progress),
    /// Of an import of patients.
    PatientsImported(import::Report),
    /// Of an export of patients.
    PatientsExported(export::Report),
    /// Of a list of imports.
    Imports(Vec<Import>),
    /// Of a look at deliveries.
    Deliveries(Vec<Delivery>),
    /// Of one that was tried.
    Delivery(Box<Delivery>),
    /// It was not done, for this reason.
    Failed(String),
}

/// Why an operation was not done, for whoever asked for it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct OperationError(pub String);

impl OperationError {
    fn new(text: impl ToString) -> Self {
        Self(text.to_string())
    }
}

/// Does it.
pub async fn run(gateway: &Arc<Gateway>, operation: Operation) -> Outcome {
    let watch = Watch { progress: Arc::new(drop), stop: CancellationToken::new() };
    run_watched(gateway, operation, &watch).await
}

/// Does it, and tells how far it is where that takes long.
pub async fn run_watched(gateway: &Arc<Gateway>, operation: Operation, watch: &Watch) -> Outcome {
    let done = match operation {
        Operation::Discover { errand, patient } => fetch::discover(gateway, &errand, &patient).await,
        Operation::Query { errand, patient } => fetch::query(gateway, &errand, &patient).await,
        Operation::Fetch { errand, patient, out } => fetch::fetch(gateway, &errand, &patient, &out).await,
        Operation::Retrieve { errand, home, repository, documents, out } => {
            fetch::retrieve(gateway, &errand, &home, &repository, &documents, &out).await
        }
        Operation::ImportDocuments { user, patient, paths } => {
            documents::import(gateway, &user, &patient, &paths).await.map(Outcome::Imported)
        }
        Operation::ListDocuments { user, patient } => {
            documents::list(gateway, &user, &patient).await.map(Outcome::Documents)
        }
        Operation::ShowDocument { user, document } => {
            show::show(gateway, &user, &document).await.map(Outcome::Document)
        }
        Operation::ViewDocument { user, document, out } => {
            show::view(gateway, &user, &document, &out).await.map(Outcome::Viewed)
        }
        Operation::ImportPatients { request } => {
            import::run(gateway, &request, watch).await.map(Outcome::PatientsImported).map_err(OperationError::new)
        }
        Operation::ExportPatients { request } => {
            export::run(gateway, &request, watch).await.map(Outcome::PatientsExported).map_err(OperationError::new)
        }
        Operation::ListImports => {
            gateway.identities.imports(&gateway.tenant).map(Outcome::Imports).map_err(OperationError::new)
        }
        Operation::Patients { user, request } => {
            patients::run(gateway, &user, request).await.map(|reply| Outcome::Patients(Box::new(reply)))
        }
        Operation::Deliver { errand, consignment } => {
            deliver::deliver(gateway, &errand, &consignment).await.map(|one| Outcome::Delivery(Box::new(one)))
        }
        Operation::Deliveries { user, state, to, limit } => {
            deliver::list(gateway, &user, state, &to, limit).await.map(Outcome::Deliveries)
        }
        Operation::Delivery { user, number } => deliver::show(gateway, &user, number).await.map(Outcome::Deliveries),
        Operation::Redeliver { user, number } => {
            deliver::retry(gateway, &user, number).await.map(|one| Outcome::Delivery(Box::new(one)))
        }
        Operation::Traces { limit, partner, state } => {
            let wanted = |step: &Step| {
                partner.as_ref().is_none_or(|name| step.partner == name.as_str())
                    && state.as_ref().is_none_or(|name| step.state == name.as_str())
            };
            let any = partner.is_none() && state.is_none();
            let found = gateway.traces.latest(limit, |trace| any || trace.steps.iter().any(wanted));
            found.map(Outcome::Traces).map_err(OperationError::new)
        }
        Operation::Trace { id } => match gateway.traces.get(id) {
            Ok(Some(trace)) => Ok(Outcome::Traces(vec![trace])),
            Ok(None) => Err(OperationError::new("there is no such exchange; `trace list` shows the latest")),
            Err(error) => Err(OperationError::new(error)),
        },
    };
    done.unwrap_or_else(|error| Outcome::Failed(error.0))
}

/// Does what callers of the gateway's socket ask, until told to stop.
pub async fn serve(control: Control, gateway: Arc<Gateway>, stop: CancellationToken) {
    loop {
        let mut stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = control.accept() => match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the control socket failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let (gateway, stop) = (gateway.clone(), stop.child_token());
        tokio::spawn(async move {
            let Ok(line) = control::read_line(&mut stream).await else { return };
            if let Err(error) = answer(&mut stream, &line, &gateway, stop).await {
                tracing::debug!(%error, "whoever asked has gone");
            }
        });
    }
}

/// Does what a line asks for. What takes long tells how far it is, and ends when nobody listens any more.
async fn answer(
    stream: &mut tokio::io::BufReader<tokio::net::UnixStream>,
    line: &str,
    gateway: &Arc<Gateway>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let Ok(operation) = serde_json::from_str(line) else {
        return say(stream, &Outcome::Failed("not an operation that this version knows".into())).await;
    };
    let (tell, mut told) = tokio::sync::watch::channel(None);
    // Only the latest matters to whoever listens.
    let watch =
        Watch { progress: Arc::new(move |progress| tell.send(Some(progress)).unwrap_or_default()), stop: stop.clone() };
    let mut done = std::pin::pin!(run_watched(gateway, operation, &watch));
    loop {
        tokio::select! {
            outcome = &mut done => return say(stream, &outcome).await,
            Ok(()) = told.changed() => {
                let progress = *told.borrow_and_update();
                if let Some(progress) = progress
                    && say(stream, &Outcome::Progress(progress)).await.is_err()
                {
                    stop.cancel();
                }
            }
        }
    }
}

async fn say(stream: &mut tokio::io::BufReader<tokio::net::UnixStream>, outcome: &Outcome) -> std::io::Result<()> {
    control::write_line(stream, &serde_json::to_string(outcome)?).await
}

impl Errand {
    fn prepare(&self, gateway: &Gateway) -> Result<Errands, OperationError> {
        let user = match self.user.trim() {
            "" => gateway.default_user.clone(),
            user => Some(user.into()),
        };
        let user = user.ok_or_else(|| {
            OperationError::new(
                "name the user on whose behalf this is done: --user, or initiator.user of the configuration",
            )
        })?;
        let purpose = match self.purpose.trim() {
            "" => gateway.default_purpose.clone(),
            purpose => Some(purpose.parse::<ExchangePurpose>().map_err(OperationError::new)?),
        };
        let purpose = purpose.ok_or_else(|| {
            OperationError::new(
                "say what the records are wanted for: --purpose (such as TREATMENT), or initiator.purpose of the configuration",
            )
        })?;
        Ok(Errands {
            user,
            role: gateway.default_role.clone(),
            purpose,
            deadline: self.deadline.map_or(gateway.limits.fan_out, Duration::from_secs),
            trace: TraceId::new(),
        })
    }
}

/// An identifier as a person writes it, with a namespace or an OID.
fn patient_id(gateway: &Gateway, text: &str) -> Result<PatientId, OperationError> {
    let mut components = text.trim().split('^');
    let id = components.next().unwrap_or_default();
    let authority = components.nth(2).unwrap_or_default();
    let mut parts = authority.split('&').map(str::trim);
    let mut next = || parts.next().unwrap_or_default();
    let (namespace, universal_id, kind) = (next(), next(), next());
    let domain = gateway.domains.resolve(namespace, universal_id, kind).map_err(|error| {
        let known: Vec<&str> = gateway.domains.iter().map(|domain| domain.namespace.as_str()).collect();
        let known = known.join(", ");
        OperationError(format!("{error}: write ID^^^NAMESPACE or ID^^^&OID&ISO, of a domain here ({known})"))
    })?;
    PatientId::new(id, domain.authority.clone()).map_err(OperationError::new)
}

impl PatientSought {
    fn find(&self, gateway: &Gateway) -> Result<Sought, OperationError> {
        match self {
            Self::Known { id } => {
                let id = patient_id(gateway, id)?;
                match gateway.identities.resolve(&gateway.tenant, &id).map_err(OperationError::new)? {
                    Resolution::Active(person) => Ok(Sought::known(person, Some(id))),
                    Resolution::Replaced { by, person } => Ok(Sought::known(person, Some(by))),
                    Resolution::Unknown => Err(OperationError::new("the patient identifier is not known here")),
                }
            }
            Self::Described { family, given, birth, gender } => {
                let gender = gender.as_deref().map(|code| {
                    Gender::from_wire(code).ok_or_else(|| OperationError::new("the gender is none of F, M and O"))
                });
                let demographics = Demographics {
                    names: vec![PersonName::new(family, &[given])],
                    birth: Some(birth.clone()),
                    gender: gender.transpose()?,
                    ..Demographics::default()
                };
                Ok(Sought { person: None, demographics, id: None })
            }
        }
    }
}
