//! The syntax of parameter values (ITI TF-2: 3.18.4.1.2.3.5): strings in quotes, lists in parentheses.
//!
//! Reading takes what live partners send: values without quotes, double quotes, a single value in parentheses or a
//! list without them, a list spread over several values. Writing follows the framework to the letter.

use smol_str::{SmolStr, format_smolstr};

use super::{AllOf, QueryError, WantedCode};
use crate::ebxml::Slot;
use crate::id::{Dtm, PatientId};

/// The longest `rim:Value` that the schema allows.
const LONGEST_VALUE: usize = 256;

/// The parameters of a query as received.
pub(super) struct Parameters<'s>(pub(super) &'s [Slot]);

impl Parameters<'_> {
    /// The values of each slot of a name: OR within a slot, AND between slots.
    pub(super) fn groups(&self, name: &str) -> AllOf<SmolStr> {
        self.0
            .iter()
            .filter(|slot| slot.name == name)
            .map(|slot| slot.values.iter().flat_map(|value| split(value)).collect::<Vec<_>>())
            .filter(|group| !group.is_empty())
            .collect()
    }

    /// All values of a name.
    pub(super) fn list(&self, name: &str) -> Vec<SmolStr> {
        self.groups(name).into_iter().flatten().collect()
    }

    /// The value of a parameter that has one at most.
    pub(super) fn single(&self, name: &'static str) -> Result<Option<SmolStr>, QueryError> {
        let mut values = self.list(name).into_iter();
        let first = values.next();
        if values.next().is_some() { Err(QueryError::NotSingle(name)) } else { Ok(first) }
    }

    /// Values of an enumeration, which must be given; those that mean nothing here are ignored as long as one does.
    pub(super) fn required<T>(&self, name: &'static str, read: fn(&str) -> Option<T>) -> Result<Vec<T>, QueryError> {
        let texts = self.list(name);
        if texts.is_empty() {
            return Err(QueryError::Missing(name));
        }
        let values: Vec<T> = texts.iter().filter_map(|text| read(text)).collect();
        if values.is_empty() { Err(QueryError::NoUsableValue(name)) } else { Ok(values) }
    }

    /// Values of an enumeration; those that mean nothing here are ignored.
    pub(super) fn known<T>(&self, name: &str, read: fn(&str) -> Option<T>) -> Vec<T> {
        self.list(name).iter().filter_map(|text| read(text)).collect()
    }

    /// Patient ids.
    pub(super) fn patients(&self, name: &str) -> Result<Vec<PatientId>, QueryError> {
        let read = |text: SmolStr| PatientId::from_cx(&text).map_err(|_| QueryError::UnreadablePatientId);
        self.list(name).into_iter().map(read).collect()
    }

    /// The patient id of a query for one patient.
    pub(super) fn patient(&self, name: &'static str) -> Result<PatientId, QueryError> {
        let text = self.single(name)?.ok_or(QueryError::Missing(name))?;
        PatientId::from_cx(&text).map_err(|_| QueryError::UnreadablePatientId)
    }

    /// Codes.
    pub(super) fn codes(&self, name: &str) -> AllOf<WantedCode> {
        let code = |text: &SmolStr| {
            let mut parts = text.split('^');
            let code = parts.next().unwrap_or_default();
            WantedCode::new(code, parts.nth(1).unwrap_or_default())
        };
        self.groups(name).iter().map(|group| group.iter().map(code).collect()).collect()
    }

    /// A time under its present name, or under one that older senders use.
    pub(super) fn time(&self, name: &'static str, older: &'static str) -> Result<Option<Dtm>, QueryError> {
        let text = match self.single(name)? {
            None => self.single(older)?,
            found => found,
        };
        text.map(|text| Dtm::lenient(&text).map_err(|_| QueryError::Unreadable(name))).transpose()
    }
}

/// The values in one `rim:Value`.
fn split(text: &str) -> Vec<SmolStr> {
    let text = text.trim();
    let inner = text.strip_prefix('(').unwrap_or(text);
    let inner = inner.strip_suffix(')').filter(|_| inner.len() < text.len() || !text.contains('(')).unwrap_or(inner);
    let mut values = Vec::new();
    let mut rest = inner.trim();
    while !rest.is_empty() {
        let (value, after) = match rest.chars().next() {
            Some(quote @ ('\'' | '"')) => quoted(&rest[1..], quote),
            _ => {
                // Without quotes a comma ends a value, in a list or not: no identifier or code has one.
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        if !value.is_empty() {
            values.push(value.into());
        }
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    values
}

/// Text up to the closing quote, a doubled quote standing for one; and what follows. A quote that is never closed
/// ends with the text.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut value = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(quote) {
        value.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix(quote) {
            Some(more) => {
                value.push(quote);
                rest = more;
            }
            None => return (value.trim().to_owned(), after_junk(rest)),
        }
    }
    value.push_str(rest);
    (value.trim().to_owned(), "")
}

/// What follows a closing quote up to the next comma means nothing.
fn after_junk(rest: &str) -> &str {
    rest.find(',').map_or("", |at| &rest[at..])
}

/// Builds the slots of a query.
#[derive(Default)]
pub(super) struct Builder(pub(super) Vec<Slot>);

impl Builder {
    /// One text.
    pub(super) fn text(&mut self, name: &'static str, value: &str) {
        self.0.push(Slot { name: name.into(), values: vec![quote(value)] });
    }

    /// A number or a time, if there is one.
    pub(super) fn number(&mut self, name: &'static str, value: Option<&Dtm>) {
        if let Some(value) = value {
            self.0.push(Slot { name: name.into(), values: vec![value.as_str().into()] });
        }
    }

    /// A list, if it is not empty; spread over as many values as the schema's length wants.
    pub(super) fn list(&mut self, name: &'static str, values: impl IntoIterator<Item = impl AsRef<str>>) {
        let mut packed: Vec<String> = Vec::new();
        for value in values {
            let value = quote(value.as_ref());
            match packed.last_mut() {
                Some(last) if last.chars().count() + value.chars().count() + 2 < LONGEST_VALUE => {
                    last.push(',');
                    last.push_str(&value);
                }
                _ => packed.push(value.into()),
            }
        }
        if !packed.is_empty() {
            let values = packed.into_iter().map(|list| format_smolstr!("({list})")).collect();
            self.0.push(Slot { name: name.into(), values });
        }
    }

    /// A slot for each list.
    pub(super) fn groups(&mut self, name: &'static str, groups: &AllOf<SmolStr>) {
        for group in groups {
            self.list(name, group);
        }
    }

    /// A slot for each list of codes.
    pub(super) fn codes(&mut self, name: &'static str, groups: &AllOf<WantedCode>) {
        let code = |code: &WantedCode| match &code.scheme {
            Some(scheme) => format!("{}^^{scheme}", code.code),
            None => code.code.to_string(),
        };
        for group in groups {
            self.list(name, group.iter().map(code));
        }
    }
}

fn quote(text: &str) -> SmolStr {
    format_smolstr!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_partners_send_are_read() {
        for (text, values) in [
            ("'B-0815^^^&2.999.1&ISO'", vec!["B-0815^^^&2.999.1&ISO"]),
            ("B-0815^^^&2.999.1&ISO", vec!["B-0815^^^&2.999.1&ISO"]),
            ("('B-0815^^^&2.999.1&ISO')", vec!["B-0815^^^&2.999.1&ISO"]),
            ("'O''Hara'", vec!["O'Hara"]),
            ("20260101", vec!["20260101"]),
            ("('a','b')", vec!["a", "b"]),
            ("( 'a' , 'b' )", vec!["a", "b"]),
            ("('a, the first','b')", vec!["a, the first", "b"]),
            ("(urn:uuid:1,urn:uuid:2)", vec!["urn:uuid:1", "urn:uuid:2"]),
            ("(\"urn:uuid:1\",\"urn:uuid:2\")", vec!["urn:uuid:1", "urn:uuid:2"]),
            ("('Smith (Jr)')", vec!["Smith (Jr)"]),
            // Lists that are cut anywhere between values.
            ("('a',", vec!["a"]),
            ("'b')", vec!["b"]),
            ("()", vec![]),
            ("''", vec![]),
            ("", vec![]),
            ("('a", vec!["a"]),
        ] {
            assert_eq!(split(text), values, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_strict_and_fits_the_schema() {
        let mut builder = Builder::default();
        builder.text("$a", "O'Hara");
        builder.list("$b", (0..40).map(|n| format!("2.999.{n}.12345")));
        assert_eq!(builder.0[0].values, ["'O''Hara'"]);
        assert!(builder.0[1].values.len() > 1);
        for value in &builder.0[1].values {
            assert!(value.len() <= LONGEST_VALUE && value.starts_with("('") && value.ends_with("')"), "{value}");
        }
        assert_eq!(Parameters(&builder.0).list("$b").len(), 40);
    }
}
