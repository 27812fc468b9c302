//! Three communities on loopback, each a complete gateway with its own configuration, and a query across them: what a
//! person sees first, and what tests start from.

pub mod samples;
mod setup;
mod source;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{App, Running};
use crate::atna::verify::{Report, verify};
use crate::config;
use crate::hl7v2::{self, Ack, AckCode, Deframer, Hd, Header, mllp};
use crate::id::{Clock, PatientId};
use crate::operations::{self, Account, Errand, Imported, Operation, Outcome, PatientSought};
use crate::pix::feed_v2::{Event, encode_adt};
use samples::{Community, DocumentKind, SamplePatient, SampleRecord};

pub use setup::{Site, leaf_of};

/// Why the sandbox did not come about: a sentence for whoever started it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SandboxError(pub String);

impl SandboxError {
    fn about(what: &str, error: impl std::fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// Three gateways that serve.
pub struct Sandbox {
    /// Where everything is.
    pub folder: PathBuf,
    /// The hospital, which asks.
    pub hospital: Running,
    /// The clinic of another network, which answers for itself.
    pub valley: Running,
    /// The hub, which answers for its members.
    pub hub: Running,
    patients: Vec<SamplePatient>,
}

/// What was fed and provided.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loaded {
    /// Patients acknowledged over MLLP.
    pub patients: usize,
    /// Documents kept.
    pub documents: usize,
}

impl Sandbox {
    /// Writes everything that the gateways need into a folder, and starts them.
    pub async fn start(folder: &Path) -> Result<Self, SandboxError> {
        let folder = setup::write(folder)?;
        let hospital = serve(&folder, Site::Hospital).await?;
        let valley = serve(&folder, Site::Valley).await?;
        let hub = serve(&folder, Site::Hub).await?;
        Ok(Self { folder, hospital, valley, hub, patients: samples::patients() })
    }

    /// Feeds the patients of each community to its gateway, and gives the other communities their documents.
    pub async fn load(&self) -> Result<Loaded, SandboxError> {
        let mut loaded = Loaded::default();
        for patient in &self.patients {
            for record in &patient.records {
                feed(self.of(record.community), record).await?;
                loaded.patients += 1;
            }
        }
        let valley: Vec<&SampleRecord> = self.records(Community::Valley).collect();
        for (number, record) in valley.into_iter().enumerate() {
            loaded.documents += import(&self.valley, &self.folder, record, number).await?;
        }
        let members = self.records(Community::Harbor).chain(self.records(Community::Summit));
        loaded.documents += source::provide(&self.folder, &self.hub, members.collect()).await?;
        Ok(loaded)
    }

    /// Fetches the records of one of the hospital's patients from everywhere.
    pub async fn fetch(&self, local_id: &str, out: &Path) -> Result<Account, SandboxError> {
        let errand = Errand {
            user: "nora.field@hospital.example.org".into(),
            purpose: "T-TRTMNT".into(),
            partners: Vec::new(),
            deadline: None,
        };
        let patient =
            PatientSought::Known { id: format!("{local_id}^^^&{}&ISO", Community::Hospital.patient_domain()) };
        let operation = Operation::Fetch { errand, patient, out: out.to_owned() };
        match operations::run(&self.hospital.gateway, operation).await {
            Outcome::Account(account) => Ok(account),
            Outcome::Failed(reason) => Err(SandboxError(reason)),
            _ => Err(SandboxError("the hospital's gateway gave another answer than an account".into())),
        }
    }

    /// The hospital's patients, those whom most other communities know first.
    pub fn hospital_patients(&self) -> Vec<&SamplePatient> {
        let mut patients: Vec<&SamplePatient> =
            self.patients.iter().filter(|patient| patient.at(Community::Hospital).is_some()).collect();
        patients.sort_by_key(|patient| std::cmp::Reverse(patient.records.len()));
        patients
    }

    /// Proves the audit trail of each gateway.
    pub fn verify_audit(&self) -> Result<Vec<(Site, Report)>, SandboxError> {
        Site::ALL
            .into_iter()
            .map(|site| {
                let certificate = std::fs::read(self.folder.join(site.name()).join("certificates/gateway.pem"))
                    .map_err(|error| SandboxError::about("certificate", error))?;
                let certificate = setup::leaf_of(&certificate)?;
                let report = verify(&self.folder.join(site.name()).join("data/audit"), &[certificate])
                    .map_err(|error| SandboxError::about("audit trail", error))?;
                Ok((site, report))
            })
            .collect()
    }

    /// Stops the gateways.
    pub async fn stop(self) {
        tokio::join!(self.hospital.stop(), self.valley.stop(), self.hub.stop());
    }

    fn records(&self, community: Community) -> impl Iterator<Item = &SampleRecord> {
        self.patients.iter().filter_map(move |patient| patient.at(community))
    }

    fn of(&self, community: Community) -> &Running {
        match community {
            Community::Hospital => &self.hospital,
            Community::Valley => &self.valley,
            Community::Harbor | Community::Summit => &self.hub,
        }
    }
}

async fn serve(folder: &Path, site: Site) -> Result<Running, SandboxError> {
    let file = folder.join(site.name()).join("causeway.toml");
    let settings = config::load(&file)
        .map_err(|problems| SandboxError(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let app = App::open(settings, Clock::system()).map_err(|error| SandboxError::about(site.name(), error))?;
    app.serve().await.map_err(|error| SandboxError::about(site.name(), error))
}

/// Registers a patient by ADT^A04, as a registration system would.
async fn feed(gateway: &Running, record: &SampleRecord) -> Result<(), SandboxError> {
    let id = patient_id(record)?;
    let header = Header {
        sending_application: Hd::named("ADT"),
        sending_facility: Hd::named(&record.community.name().to_uppercase()),
        receiving_application: Hd::named("CAUSEWAY"),
        receiving_facility: Hd::named(record.community.name()),
        control_id: uuid::Uuid::new_v4().simple().to_string()[..20].into(),
        processing_id: "P".into(),
        version: "2.3.1".into(),
        ..Header::default()
    };
    let domains = &gateway.gateway.domains;
    let now = gateway.gateway.clock.now();
    let message = encode_adt(Event::A04, &[id], &record.demographics, header, now, domains);
    let address = gateway.mllp.first().ok_or_else(|| SandboxError("the gateway has no MLLP listener".into()))?;
    let answer = exchange(*address, &message).await.map_err(|error| SandboxError::about("MLLP", error))?;
    let parsed = hl7v2::Message::parse(&answer, &hl7v2::Limits::default());
    match parsed.ok().as_ref().and_then(Ack::read) {
        Some((_, AckCode::Accept, _)) => Ok(()),
        Some((_, code, text)) => Err(SandboxError(format!("a patient was answered with {}: {text}", code.code()))),
        None => Err(SandboxError("a patient was not acknowledged".into())),
    }
}

/// Sends one message over MLLP and waits for the answer.
async fn exchange(address: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&mllp::frame(message)).await?;
    let mut deframer = Deframer::new(mllp::Limits::default());
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        deframer.push(&piece[..count]);
        match deframer.next() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// Puts a patient's documents into a folder and has the gateway import it, as an operator would.
async fn import(gateway: &Running, folder: &Path, record: &SampleRecord, number: usize) -> Result<usize, SandboxError> {
    let id = patient_id(record)?;
    let drop_folder = folder.join("valley/incoming").join(record.local_id);
    let write = |name: &str, bytes: &[u8]| {
        std::fs::create_dir_all(&drop_folder)?;
        std::fs::write(drop_folder.join(name), bytes)
    };
    let at = gateway.gateway.clock.now();
    let document_id = format!("{}.9.{}", record.community.oid(), 100 + number);
    let summary = samples::clinical_document(DocumentKind::Summary, record, &document_id, at);
    let letter = samples::letter(&["Green Valley Clinic", "The laboratory results are on their way."]);
    write("summary.xml", summary.as_bytes())
        .and_then(|()| write("letter.pdf", &letter))
        .map_err(|error| SandboxError::about("documents", error))?;
    let operation = Operation::ImportDocuments {
        user: "records.office@valley.example.org".into(),
        patient: id.to_cx(),
        paths: vec![drop_folder],
    };
    match operations::run(&gateway.gateway, operation).await {
        Outcome::Imported(Imported { documents, refused }) if refused.is_empty() => Ok(documents.len()),
        Outcome::Imported(Imported { refused, .. }) => Err(SandboxError(format!(
            "documents were refused: {}",
            refused.into_iter().map(|(_, why)| why).collect::<Vec<_>>().join("; ")
        ))),
        Outcome::Failed(reason) => Err(SandboxError(reason)),
        _ => Err(SandboxError("the clinic's gateway gave another answer than an import".into())),
    }
}

fn patient_id(record: &SampleRecord) -> Result<PatientId, SandboxError> {
    let cx = format!("{}^^^&{}&ISO", record.local_id, record.community.patient_domain());
    PatientId::from_cx(&cx).map_err(|error| SandboxError::about("patient identifier", error))
}
