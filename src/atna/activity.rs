//! Audit events that belong to no transaction: starts and stops, refused peers and people, changes of configuration,
//! reading of the log (DICOM PS3.15 A.5.3, ITI TF-2: Table 3.20.4.1.1.1-1).

use smol_str::SmolStr;

use super::event::{AccessPoint, Action, Event, EventId, Human, Object, Outcome, Participant, dicom};
use crate::id::{Code, Tenant, Timestamp, TraceId};

/// What happened to the security of the gateway (`EventTypeCode` of a Security Alert).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Alert {
    /// A peer could not prove that it is a node we trust.
    NodeAuthentication,
    /// Somebody claimed emergency access.
    EmergencyOverride,
    /// Addresses or partners changed.
    NetworkConfiguration,
    /// Certificates, trust anchors or rules of access changed.
    SecurityConfiguration,
    /// The program or its configuration changed.
    SoftwareConfiguration,
    /// A restricted function was used.
    RestrictedFunction,
    /// Audit records are no longer written.
    AuditRecordingStopped,
    /// Audit records are written from now on.
    AuditRecordingStarted,
}

impl Alert {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::NodeAuthentication,
        Self::EmergencyOverride,
        Self::NetworkConfiguration,
        Self::SecurityConfiguration,
        Self::SoftwareConfiguration,
        Self::RestrictedFunction,
        Self::AuditRecordingStopped,
        Self::AuditRecordingStarted,
    ];

    fn code(self) -> Code {
        match self {
            Self::NodeAuthentication => dicom("110126", "Node Authentication"),
            Self::EmergencyOverride => dicom("110127", "Emergency Override Started"),
            Self::NetworkConfiguration => dicom("110128", "Network Configuration"),
            Self::SecurityConfiguration => dicom("110129", "Security Configuration"),
            Self::SoftwareConfiguration => dicom("110131", "Software Configuration"),
            Self::RestrictedFunction => dicom("110132", "Use of Restricted Function"),
            Self::AuditRecordingStopped => dicom("110133", "Audit Recording Stopped"),
            Self::AuditRecordingStarted => dicom("110134", "Audit Recording Started"),
        }
    }
}

/// When it happened, and in what exchange.
#[derive(Clone, Debug)]
pub struct Occasion {
    /// When.
    pub at: Timestamp,
    /// The exchange; a new one for what the gateway does by itself.
    pub trace: TraceId,
    /// Whose data it concerns.
    pub tenant: Tenant,
}

impl Event {
    fn activity(occasion: Occasion, id: EventId, action: Action, kind: Option<Code>) -> Self {
        Self {
            id,
            action,
            outcome: Outcome::Success,
            reason: None,
            at: occasion.at,
            types: kind.into_iter().collect(),
            purposes: Vec::new(),
            participants: Vec::new(),
            objects: Vec::new(),
            trace: occasion.trace,
            message_id: None,
            tenant: occasion.tenant,
            replay: None,
        }
    }

    /// The gateway started.
    pub fn application_start(occasion: Occasion, application: &str) -> Self {
        Self::application(occasion, dicom("110120", "Application Start"), application)
    }

    /// The gateway stopped.
    pub fn application_stop(occasion: Occasion, application: &str) -> Self {
        Self::application(occasion, dicom("110121", "Application Stop"), application)
    }

    fn application(occasion: Occasion, kind: Code, application: &str) -> Self {
        let mut event = Self::activity(occasion, EventId::ApplicationActivity, Action::Execute, Some(kind));
        event.participants.push(this_application(application));
        event
    }

    /// A security alert about a resource, by this application.
    pub fn alert(occasion: Occasion, alert: Alert, application: &str, resource: &str, description: &str) -> Self {
        let mut event = Self::activity(occasion, EventId::SecurityAlert, Action::Execute, Some(alert.code()));
        event.participants.push(Participant { requestor: true, ..this_application(application) });
        event.object(Object::security_resource(resource).detail("Alert Description", description))
    }

    /// A peer that was refused at the door: no certificate, or one that we do not trust (ITI TF-2: 3.19.6.1.3).
    pub fn node_authentication_failure(occasion: Occasion, application: &str, peer: AccessPoint, reason: &str) -> Self {
        let node = match &peer {
            AccessPoint::Name(name) => name.clone(),
            AccessPoint::Address(address) => SmolStr::from(address.to_string()),
        };
        let mut event = Self::alert(occasion, Alert::NodeAuthentication, application, &node, reason)
            .outcome(Outcome::SeriousFailure, reason.to_owned());
        event.participants.push(Participant { user_id: node, access_point: Some(peer), ..Participant::default() });
        event
    }

    /// A person whose assertion was refused. What the assertion claims is recorded as claimed.
    pub fn user_authentication_failure(
        occasion: Occasion,
        application: &str,
        claimed: Human,
        from: AccessPoint,
        reason: &str,
    ) -> Self {
        Self::login(occasion, application, claimed, from).outcome(Outcome::SeriousFailure, reason.to_owned())
    }

    /// A person came in.
    pub fn login(occasion: Occasion, application: &str, person: Human, from: AccessPoint) -> Self {
        Self::authentication(occasion, dicom("110122", "Login"), application, person, from)
    }

    /// A person left.
    pub fn logout(occasion: Occasion, application: &str, person: Human, from: AccessPoint) -> Self {
        Self::authentication(occasion, dicom("110123", "Logout"), application, person, from)
    }

    fn authentication(occasion: Occasion, kind: Code, application: &str, person: Human, from: AccessPoint) -> Self {
        let mut event = Self::activity(occasion, EventId::UserAuthentication, Action::Execute, Some(kind));
        let person = Participant { requestor: true, access_point: Some(from), ..Participant::from(person) };
        event.participants.extend([person, this_application(application)]);
        event
    }

    /// Somebody read audit records (DICOM PS3.15 A.5.3.2; ITI-81, ITI-82).
    pub fn audit_log_used(occasion: Occasion, application: &str, reader: Participant, log: &str) -> Self {
        let mut event = Self::activity(occasion, EventId::AuditLogUsed, Action::Read, None);
        event.participants.extend([Participant { requestor: true, ..reader }, this_application(application)]);
        event.object(Object::audit_log(log))
    }

    /// A patient record was touched outside any transaction, such as by an operator who links two records.
    pub fn patient_record(
        occasion: Occasion,
        application: &str,
        action: Action,
        person: Participant,
        patient: Object,
    ) -> Self {
        let mut event = Self::activity(occasion, EventId::PatientRecord, action, None);
        event.participants.extend([Participant { requestor: true, ..person }, this_application(application)]);
        event.object(patient)
    }
}

/// A participant with a role of DICOM's, as `Import` and `Export` want them.
fn with_role(participant: Participant, role: Code) -> Participant {
    Participant { roles: vec![role], ..participant }
}

impl Event {
    /// A file of patients was taken in, in the name of a source (DICOM PS3.15 A.5.3.7).
    pub fn patients_imported(
        occasion: Occasion,
        application: &str,
        person: Participant,
        source: &str,
        file: Object,
    ) -> Self {
        let mut event = Self::activity(occasion, EventId::Import, Action::Create, None);
        let media = Participant { user_id: source.into(), ..Participant::default() };
        event.participants.extend([
            Participant { requestor: true, ..person },
            with_role(media, dicom("110154", "Source Media")),
            with_role(this_application(application), dicom("110152", "Destination Role ID")),
        ]);
        event.object(file)
    }

    /// All patients were written into a file (DICOM PS3.15 A.5.3.6).
    pub fn patients_exported(occasion: Occasion, application: &str, person: Participant, file: Object) -> Self {
        let mut event = Self::activity(occasion, EventId::Export, Action::Read, None);
        let media = Participant { user_id: "file".into(), ..Participant::default() };
        event.participants.extend([
            Participant { requestor: true, ..person },
            with_role(this_application(application), dicom("110153", "Source Role ID")),
            with_role(media, dicom("110155", "Destination Media")),
        ]);
        event.object(file)
    }
}

fn this_application(name: &str) -> Participant {
    let roles = vec![dicom("110150", "Application")];
    Participant { user_id: name.into(), roles, ..Participant::default() }.recorder()
}
