//! A document source behind the hub: sends documents by ITI-41, with its own certificate, as a clinic's system would.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use super::samples::{self, DocumentKind, SampleRecord};
use super::setup::Site;
use super::{SandboxError, patient_id};
use crate::app::Running;
use crate::directory;
use crate::ebxml::RegistryResponse;
use crate::id::{Clock, Code, DocumentUniqueId, HomeCommunityId, NhinPurpose, Oid, Transaction as Iti};
use crate::metadata::{
    Association, AssociationKind, DocumentEntry, DocumentKind as Stability, Membership, Submission, SubmissionSet,
};
use crate::net::dial::{Dialer, Settings};
use crate::routing::call::{Errand, Letter, Ourselves, SoapClient};
use crate::routing::package::Document;
use crate::soap::mtom::ContentId;
use crate::trust::{Tls, Trust, subject_of};
use crate::xds::provide::{Content, ProvidedDocument, Request};
use crate::xds::register;
use crate::xds::repository::PROVIDE_ACTION;
use crate::xml::signature::SigningKey;

/// Sends two documents for each patient; gives the number of those accepted.
pub async fn provide(folder: &Path, hub: &Running, patients: Vec<&SampleRecord>) -> Result<usize, SandboxError> {
    let home = folder.join("document-source");
    let client = client(&home)?;
    let file = home.join("hub.toml");
    let text = std::fs::read_to_string(&file).map_err(|error| SandboxError::about("document source", error))?;
    let (partner, problems) = directory::read(&file, &text);
    let partner = partner.ok_or_else(|| SandboxError(format!("document source: {problems:?}")))?;
    let url = partner.url(Iti::Iti41).ok_or_else(|| SandboxError("the hub has no address for ITI-41".into()))?;
    let errand = Errand {
        user: "documents.bayside.example.org".into(),
        role: Code::new("224608005", "2.16.840.1.113883.6.96", "Administrative healthcare staff"),
        purpose: NhinPurpose::Treatment.into(),
    };
    let mut sent = 0;
    for (number, record) in patients.into_iter().enumerate() {
        for kind in [DocumentKind::Summary, DocumentKind::Discharge] {
            let letter = letter(record, kind, number, hub)?;
            let read =
                |body: crate::xml::Element<'_>| RegistryResponse::decode(body).map_err(|error| error.to_string());
            let (response, _) = client
                .send(&partner, url, letter, &errand, read)
                .await
                .map_err(|error| SandboxError::about("providing a document", error))?;
            if let Some(error) = response.errors.first() {
                return Err(SandboxError(format!(
                    "a document was refused: {}: {}",
                    error.code.as_str(),
                    error.context
                )));
            }
            sent += 1;
        }
    }
    Ok(sent)
}

fn client(home: &Path) -> Result<SoapClient, SandboxError> {
    let about = |error: &dyn std::fmt::Display| SandboxError::about("document source", error);
    let trust = Trust::open(&home.join("trust-store"), BTreeMap::new()).map_err(|e| about(&e))?;
    let (certificate, key) = (home.join("source.pem"), home.join("source.key"));
    let tls = Tls::open(trust, &certificate, &key).map_err(|e| about(&e))?;
    let read = |path: &Path| std::fs::read(path).map_err(|e| about(&e));
    let key = SigningKey::from_pem(&read(&key)?, &read(&certificate)?).map_err(|e| about(&e))?;
    let clock = Clock::system();
    let community: HomeCommunityId = format!("urn:oid:{}", Site::Hub.oid()).parse().map_err(|e| about(&e))?;
    let ourselves = Ourselves {
        organization_id: community.to_string().into(),
        home: community,
        organization: "Bayside document archive".into(),
        npi: None,
        tin: None,
        issuer: subject_of(key.certificate_der()).into(),
    };
    let dialer = Dialer::new(Settings::default(), clock.clone(), tls);
    let limits = (crate::xml::Limits::default(), std::time::Duration::from_secs(300), 64 << 20);
    Ok(SoapClient::new(Arc::new(dialer), Arc::new(key), ourselves, clock, limits))
}

fn letter(record: &SampleRecord, kind: DocumentKind, number: usize, hub: &Running) -> Result<Letter, SandboxError> {
    let now = hub.gateway.clock.now();
    let id = format!("{}.9.{}{}", record.community.oid(), 100 + number, kind as usize);
    let content = samples::clinical_document(kind, record, &id, now);
    let oid: Oid = id.parse().map_err(|error| SandboxError::about("document", error))?;
    let submission = submission(record, kind, oid.into(), now)?;
    let part = ContentId::random();
    let document =
        ProvidedDocument { id: submission.entries[0].id.clone(), content: Content::Attached(part.to_string()) };
    let request = Request { registration: register::Request { submission, home: None }, documents: vec![document] };
    let bytes = Bytes::from(content.into_bytes());
    Ok(Letter {
        transaction: Iti::Iti41,
        action: PROVIDE_ACTION,
        body: request.encode().xml,
        headers: String::new(),
        mtom: true,
        documents: vec![Document {
            id: part,
            media_type: "text/xml".into(),
            content: stream::iter([Ok(bytes)]).boxed(),
        }],
        patient: None,
    })
}

fn submission(
    record: &SampleRecord,
    kind: DocumentKind,
    unique_id: DocumentUniqueId,
    now: crate::id::Timestamp,
) -> Result<Submission, SandboxError> {
    let patient = patient_id(record)?;
    let code = kind.code();
    let mut entry = DocumentEntry::new("document", Stability::Stable, unique_id, "text/xml");
    entry.patient_id = Some(patient.clone());
    entry.source_patient_id = crate::metadata::Cx::from_wire(&patient.to_cx());
    entry.title = Some(kind.title().into());
    entry.type_code = Some(code.clone());
    entry.class_code = Some(code.clone());
    entry.format_code =
        Some(Code::new("urn:hl7-org:sdwg:ccda-structuredBody:2.1", "1.3.6.1.4.1.19376.1.2.3", "C-CDA R2.1"));
    entry.confidentiality = vec![Code::new("N", "2.16.840.1.113883.5.25", "Normal")];
    entry.facility_type = Some(Code::new("394777002", "2.16.840.1.113883.6.96", "Health encounter site"));
    entry.practice_setting = Some(Code::new("394802001", "2.16.840.1.113883.6.96", "General medicine"));
    entry.language = Some("en-US".into());
    entry.creation_time = now.to_dtm().parse().ok();
    let set_id: Oid = uuid::Uuid::new_v4().into();
    let mut set = SubmissionSet::new("set", set_id.into());
    set.patient_id = Some(patient);
    set.source_id = Some(record.community.oid().into());
    set.submission_time = now.to_dtm().parse().ok();
    set.content_type = Some(code);
    let mut member = Association::new("member", AssociationKind::HasMember, set.id.clone(), entry.id.clone());
    member.membership = Some(Membership::Original);
    Ok(Submission { set, entries: vec![entry], folders: Vec::new(), associations: vec![member] })
}
