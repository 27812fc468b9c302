//! The value sets of an affinity domain: which codes its documents may carry (ITI TF-3: 4.2.3.1.2). What has no value set
//! is not checked.

use std::collections::HashSet;

use smol_str::SmolStr;

use super::{DocumentEntry, Folder, Problems, Submission, SubmissionSet};
use crate::id::Code;

/// The codes of an attribute, by code and coding scheme.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ValueSet(HashSet<(SmolStr, SmolStr)>);

impl FromIterator<Code> for ValueSet {
    fn from_iter<I: IntoIterator<Item = Code>>(codes: I) -> Self {
        Self(codes.into_iter().map(|code| (code.code, code.scheme)).collect())
    }
}

impl ValueSet {
    fn has(&self, code: &Code) -> bool {
        self.0.contains(&(code.code.clone(), code.scheme.clone()))
    }
}

/// The value sets of an affinity domain.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ValueSets {
    /// classCode
    pub class_code: Option<ValueSet>,
    /// typeCode
    pub type_code: Option<ValueSet>,
    /// formatCode
    pub format_code: Option<ValueSet>,
    /// confidentialityCode
    pub confidentiality_code: Option<ValueSet>,
    /// healthcareFacilityTypeCode
    pub healthcare_facility_type_code: Option<ValueSet>,
    /// practiceSettingCode
    pub practice_setting_code: Option<ValueSet>,
    /// eventCodeList
    pub event_code: Option<ValueSet>,
    /// contentTypeCode of submission sets
    pub content_type_code: Option<ValueSet>,
    /// codeList of folders
    pub folder_code: Option<ValueSet>,
    /// mimeType, in lower case
    pub mime_type: Option<HashSet<SmolStr>>,
}

impl ValueSets {
    /// Notes every code of a submission that is in no value set.
    pub fn check(&self, submission: &Submission, problems: &mut Problems) {
        submission.entries.iter().for_each(|entry| self.check_entry(entry, problems));
        submission.folders.iter().for_each(|folder| self.check_folder(folder, problems));
        self.check_set(&submission.set, problems);
    }

    fn check_entry(&self, entry: &DocumentEntry, problems: &mut Problems) {
        let id = entry.id.to_string();
        for (attribute, allowed, codes) in [
            ("classCode", &self.class_code, entry.class_code.as_slice()),
            ("typeCode", &self.type_code, entry.type_code.as_slice()),
            ("formatCode", &self.format_code, entry.format_code.as_slice()),
            ("confidentialityCode", &self.confidentiality_code, entry.confidentiality.as_slice()),
            ("healthcareFacilityTypeCode", &self.healthcare_facility_type_code, entry.facility_type.as_slice()),
            ("practiceSettingCode", &self.practice_setting_code, entry.practice_setting.as_slice()),
            ("eventCodeList", &self.event_code, entry.event_codes.as_slice()),
        ] {
            check(attribute, allowed.as_ref(), codes, &id, problems);
        }
        // A parameter, such as a charset, makes no other type.
        let kind = entry.mime_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if self.mime_type.as_ref().is_some_and(|allowed| !allowed.contains(kind.as_str())) {
            problems.metadata(&id, "mimeType is none of this affinity domain");
        }
    }

    fn check_folder(&self, folder: &Folder, problems: &mut Problems) {
        check("codeList", self.folder_code.as_ref(), &folder.codes, &folder.id.to_string(), problems);
    }

    fn check_set(&self, set: &SubmissionSet, problems: &mut Problems) {
        let codes = set.content_type.as_slice();
        check("contentTypeCode", self.content_type_code.as_ref(), codes, &set.id.to_string(), problems);
    }
}

/// Codes of some attributes tell what the patient has, so the texts name the attribute alone.
fn check(attribute: &str, allowed: Option<&ValueSet>, codes: &[Code], id: &str, problems: &mut Problems) {
    let Some(allowed) = allowed else { return };
    if codes.iter().any(|code| !allowed.has(code)) {
        problems.metadata(id, format!("{attribute} has a code that is none of this affinity domain"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebxml::ErrorCode;
    use crate::id::DocumentUniqueId;
    use crate::metadata::{DocumentKind, Rules};

    fn code(code: &str, scheme: &str) -> Code {
        Code::new(code, scheme, "any name")
    }

    fn submission() -> Submission {
        let unique = |text: &str| DocumentUniqueId::new(text).unwrap();
        let mut entry =
            DocumentEntry::new("document", DocumentKind::Stable, unique("2.999.1"), "Text/XML; charset=UTF-8");
        entry.class_code = Some(code("A", "S"));
        entry.event_codes = vec![code("E1", "S"), code("E2", "S")];
        let mut set = SubmissionSet::new("set", unique("2.999.2"));
        set.content_type = Some(code("C", "S"));
        let mut folder = Folder::new("folder", unique("2.999.3"));
        folder.codes = vec![code("F", "S")];
        Submission { set, entries: vec![entry], folders: vec![folder], associations: Vec::new() }
    }

    fn told(sets: ValueSets, rules: Rules) -> Vec<String> {
        let mut problems = Problems::new(rules);
        sets.check(&submission(), &mut problems);
        let code = problems.rules.metadata_error();
        assert!(problems.list.iter().all(|error| error.code == code), "{:?}", problems.list);
        problems.list.into_iter().map(|error| format!("{}: {}", error.location.unwrap(), error.context)).collect()
    }

    fn set(codes: &[(&str, &str)]) -> Option<ValueSet> {
        Some(codes.iter().map(|(one, scheme)| code(one, scheme)).collect())
    }

    /// ITI TF-3: 4.2.3.1.2: a code is one only together with its scheme; its name says nothing.
    #[test]
    fn codes_outside_a_value_set_are_told_with_their_attribute() {
        let cases: [(ValueSets, &[&str]); 7] = [
            (ValueSets::default(), &[]),
            (ValueSets { class_code: set(&[("A", "S"), ("B", "S")]), ..ValueSets::default() }, &[]),
            (
                ValueSets { class_code: set(&[("A", "T")]), ..ValueSets::default() },
                &["document: classCode has a code that is none of this affinity domain"],
            ),
            (
                ValueSets { event_code: set(&[("E1", "S")]), ..ValueSets::default() },
                &["document: eventCodeList has a code that is none of this affinity domain"],
            ),
            (
                ValueSets { content_type_code: set(&[]), folder_code: set(&[]), ..ValueSets::default() },
                &[
                    "folder: codeList has a code that is none of this affinity domain",
                    "set: contentTypeCode has a code that is none of this affinity domain",
                ],
            ),
            (ValueSets { mime_type: Some(["text/xml".into()].into()), ..ValueSets::default() }, &[]),
            (
                ValueSets { mime_type: Some(["application/pdf".into()].into()), ..ValueSets::default() },
                &["document: mimeType is none of this affinity domain"],
            ),
        ];
        for (sets, expected) in cases {
            assert_eq!(told(sets, Rules::Register), expected);
        }
        let sets = ValueSets { class_code: set(&[]), ..ValueSets::default() };
        assert_eq!(told(sets, Rules::Provide).len(), 1);
        assert_eq!(Rules::Provide.metadata_error(), ErrorCode::XdsRepositoryMetadataError);
    }
}
