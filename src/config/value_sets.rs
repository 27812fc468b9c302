//! The file of an affinity domain's value sets: for each attribute the codes that submissions may carry.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use smol_str::SmolStr;

use crate::directory::{Problem, Problems};
use crate::id::Code;
use crate::metadata::affinity::{ValueSet, ValueSets};

/// The file. Codes are written `code|coding scheme|display name`; an attribute that is left out is not checked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// classCode
    pub class_code: Option<Vec<String>>,
    /// typeCode
    pub type_code: Option<Vec<String>>,
    /// formatCode
    pub format_code: Option<Vec<String>>,
    /// confidentialityCode
    pub confidentiality_code: Option<Vec<String>>,
    /// healthcareFacilityTypeCode
    pub healthcare_facility_type_code: Option<Vec<String>>,
    /// practiceSettingCode
    pub practice_setting_code: Option<Vec<String>>,
    /// eventCodeList
    pub event_code: Option<Vec<String>>,
    /// contentTypeCode of submission sets
    pub content_type_code: Option<Vec<String>>,
    /// codeList of folders
    pub folder_code: Option<Vec<String>>,
    /// mimeType, such as `text/xml`
    pub mime_type: Option<Vec<String>>,
}

/// Reads the file.
pub fn load(path: &Path) -> Result<ValueSets, Vec<Problem>> {
    match fs::read_to_string(path) {
        Ok(text) => read(path, &text),
        Err(error) => Err(vec![Problem {
            file: path.to_owned(),
            line: None,
            key: String::new(),
            text: format!("cannot be read: {error}"),
            remedy: "give the path of a file that the gateway's user may read in documents.value_sets".into(),
        }]),
    }
}

/// Reads its text.
pub fn read(path: &Path, text: &str) -> Result<ValueSets, Vec<Problem>> {
    let (file, mut problems) = Problems::read::<File>(path, text);
    let mut set = |key: &str, codes: &Option<Vec<String>>| {
        codes.as_ref().map(|codes| {
            let each = codes.iter().enumerate();
            each.filter_map(|(at, text)| code(&format!("{key}[{at}]"), text, &mut problems)).collect::<ValueSet>()
        })
    };
    let sets = ValueSets {
        class_code: set("class_code", &file.class_code),
        type_code: set("type_code", &file.type_code),
        format_code: set("format_code", &file.format_code),
        confidentiality_code: set("confidentiality_code", &file.confidentiality_code),
        healthcare_facility_type_code: set("healthcare_facility_type_code", &file.healthcare_facility_type_code),
        practice_setting_code: set("practice_setting_code", &file.practice_setting_code),
        event_code: set("event_code", &file.event_code),
        content_type_code: set("content_type_code", &file.content_type_code),
        folder_code: set("folder_code", &file.folder_code),
        mime_type: file.mime_type.map(|types| {
            types.iter().map(|kind| SmolStr::from(kind.trim().to_ascii_lowercase())).collect::<HashSet<_>>()
        }),
    };
    if problems.is_empty() { Ok(sets) } else { Err(problems.into_list()) }
}

fn code(key: &str, text: &str, problems: &mut Problems) -> Option<Code> {
    let mut parts = text.splitn(3, '|').map(str::trim);
    let (code, scheme) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if code.is_empty() || scheme.is_empty() {
        problems.add(key, "is not a code with its coding scheme", "write code|coding scheme|display name");
        return None;
    }
    Some(Code::new(code, scheme, parts.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../config/hospital/value-sets.toml");

    #[test]
    fn the_example_is_read_whole() {
        let sets = read(Path::new("value-sets.toml"), EXAMPLE).unwrap();
        assert!(sets.class_code.is_some() && sets.mime_type.is_some() && sets.event_code.is_none());
    }

    #[test]
    fn what_is_no_code_is_told_with_its_place() {
        for (text, expected) in [
            ("class_code = [\"34133-9\"]", "class_code[0]"),
            ("type_code = [\"a|b\", \"|b\"]", "type_code[1]"),
            ("class_codes = []", "class_codes"),
        ] {
            let problems = read(Path::new("value-sets.toml"), text).unwrap_err();
            let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
            assert_eq!(keys, [expected], "{text}");
        }
    }
}
