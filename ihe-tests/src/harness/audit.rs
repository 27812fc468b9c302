//! The audit trail of a gateway, as the tests look at it.

use causeway::atna::chain::Kind;
use causeway::atna::journal::{Position, read_from};
use causeway::atna::message::{self, Message};
use causeway::atna::{Audit, Outcome};
use causeway::gateway::Gateway;
use causeway::storage::seal::Purpose;
use causeway::xml::Limits;

use super::schema;

/// Reads what a gateway has recorded.
#[derive(Clone, Copy)]
pub struct Trail<'g>(&'g Audit);

impl<'g> Trail<'g> {
    /// The trail of a gateway.
    pub fn of(gateway: &'g Gateway) -> Self {
        Self(&gateway.audit)
    }

    /// The records that contain a text (a user, a trace, a patient), each valid by the DICOM schema.
    pub fn about(self, text: &str) -> Vec<Message> {
        let durable = *self.0.durable().borrow();
        let entries = read_from(self.0.directory(), Position::default(), durable, u64::MAX).unwrap();
        let records = entries.into_iter().filter(|(entry, _)| entry.header.kind == Kind::Record).map(|(entry, _)| {
            let bytes = self.0.sealer().open(&entry.header.tenant, Purpose::Audit, &entry.payload).unwrap();
            String::from_utf8(bytes.into_owned()).unwrap()
        });
        let found: Vec<String> = records.filter(|record| record.contains(text)).collect();
        schema::check_audit(&found);
        found.iter().map(|record| message::decode(record, &Limits::default()).unwrap()).collect()
    }

    /// The records about a text, each in a line: transaction, action, outcome, and what it is about.
    pub fn lines(self, text: &str) -> Vec<String> {
        self.about(text).iter().map(line).collect()
    }
}

/// `ITI-38 E success patient query`
fn line(record: &Message) -> String {
    let kind = record.types.first().map_or(record.id.code.as_str(), |kind| kind.code.as_str());
    let action = record.action.map_or("-", |action| action.code());
    let outcome = match record.outcome {
        Some(Outcome::Success) => "success",
        Some(_) => "failure",
        None => "-",
    };
    let objects = record.objects.iter().map(|object| match (object.kind, object.role) {
        (_, Some(1)) => "patient",
        (_, Some(3)) => "document",
        (_, Some(20)) => "submission",
        (_, Some(24)) => "query",
        _ => "other",
    });
    [kind, action, outcome].into_iter().chain(objects).collect::<Vec<_>>().join(" ")
}
