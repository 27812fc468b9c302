//! ITI-42 Register Document Set-b and ITI-61 Register On-Demand Document Entry (ITI TF-2: 3.42, 3.61). The answer is
//! `ebxml::RegistryResponse`.

use crate::ebxml::rim::{decode_slots, first_value, write_slots};
use crate::ebxml::{DecodeError, ErrorCode, Item, RegistryError, RegistryResponse, Slot};
use crate::id::HomeCommunityId;
use crate::metadata::{Rules, Submission};
use crate::xml::{Element, Writer, ns};

/// A submission to be registered. It keeps the rules that it was read with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// What is submitted.
    pub submission: Submission,
    /// `homeCommunityId` of the request's slots: the community that XDR and XCDR address.
    pub home: Option<HomeCommunityId>,
}

/// Why a submission was refused before anything was stored.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Not the message it should be.
    #[error("the submission cannot be read: {cause}")]
    Malformed {
        /// What is wrong with it; part of the text, because partners read it.
        cause: DecodeError,
        /// The code for it.
        code: ErrorCode,
    },
    /// Metadata that breaks the rules, all of it.
    #[error("the metadata has {} problems", .0.len())]
    Metadata(Vec<RegistryError>),
}

impl Refusal {
    /// Malformed, under the code of the transaction's rules.
    pub fn malformed(rules: Rules, cause: impl Into<DecodeError>) -> Self {
        Self::Malformed { cause: cause.into(), code: rules.metadata_error() }
    }

    /// The errors to answer with.
    pub fn errors(&self) -> Vec<RegistryError> {
        match self {
            Self::Malformed { code, .. } => vec![RegistryError::new(code.clone(), self.to_string())],
            Self::Metadata(errors) => errors.clone(),
        }
    }
}

impl From<Refusal> for RegistryResponse {
    fn from(refusal: Refusal) -> Self {
        Self { errors: refusal.errors() }
    }
}

impl Request {
    /// Reads `lcm:SubmitObjectsRequest` and holds it to rules.
    pub fn decode(element: Element<'_>, rules: Rules) -> Result<Self, Refusal> {
        let malformed = |cause| Refusal::malformed(rules, cause);
        let element = element.expect(ns::LCM, "SubmitObjectsRequest").map_err(|e| malformed(e.into()))?;
        let list = element.only_child(ns::RIM, "RegistryObjectList").map_err(|e| malformed(e.into()))?;
        let items = Item::decode_list(list).map_err(malformed)?;
        let slots = element.child(ns::RS, "RequestSlotList").map(decode_slots).unwrap_or_default();
        let home = first_value(&slots, HOME_SLOT).and_then(|text| HomeCommunityId::lenient(&text).ok());
        let submission = Submission::decode(items, rules).map_err(Refusal::Metadata)?;
        Ok(Self { submission, home })
    }

    /// The element, with its namespaces.
    pub fn encode(&self) -> String {
        let mut w = Writer::new();
        self.write(&mut w);
        w.finish()
    }

    /// Writes the element, with its namespaces.
    pub fn write(&self, w: &mut Writer) {
        w.start("lcm:SubmitObjectsRequest").attribute("xmlns:lcm", ns::LCM).attribute("xmlns:rim", ns::RIM);
        if let Some(home) = &self.home {
            w.start("rs:RequestSlotList").attribute("xmlns:rs", ns::RS);
            write_slots(w, &[Slot { name: HOME_SLOT.into(), values: vec![home.to_string().into()] }]);
            w.end();
        }
        w.start("rim:RegistryObjectList");
        for item in self.submission.to_items() {
            item.write(w);
        }
        w.end().end();
    }
}

const HOME_SLOT: &str = "homeCommunityId";

#[cfg(test)]
pub(crate) mod tests;
