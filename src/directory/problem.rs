//! What is wrong in a configuration file, told so that an operator can mend it: file, line, key, text and remedy.
//!
//! A file is read to its end whatever it contains, so that all problems come at once and not one at each start.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing to mend.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The file it is in.
    pub file: PathBuf,
    /// The line, from 1; none when the key is absent and so is the table that would hold it.
    pub line: Option<usize>,
    /// The key, such as `community.home_community_id` or `sources[2].name` (from 0); empty for the whole file.
    pub key: String,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.text)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, " ({})", self.remedy) }
    }
}

/// Collects the problems of one file and knows on which line each key is.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    file: PathBuf,
    lines: HashMap<String, usize>,
    list: Vec<Problem>,
}

impl Problems {
    /// Reads a file's text into `T`, leaving out each key that does not fit: it becomes a problem and has its default.
    ///
    /// `T` gives every key a default (`#[serde(default)]`) and refuses unknown ones; `resolve` says what is missing.
    pub fn read<T: DeserializeOwned + Default>(file: &Path, text: &str) -> (T, Self) {
        let mut problems = Self { file: file.to_owned(), ..Self::default() };
        let (mut table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let line = error.span().map(|span| line_of(text, span.start));
            problems.push(line, String::new(), first_line(error.message()), "see https://toml.io for the syntax");
        }
        if !errors.is_empty() {
            return (T::default(), problems);
        }
        index(text, "", table.get_ref(), &mut problems.lines);
        loop {
            let error = match T::deserialize(toml::Deserializer::from(table.clone())) {
                Ok(value) => return (value, problems),
                Err(error) => error,
            };
            let key = error.span().and_then(|span| prune(table.get_mut(), &span, ""));
            let line = error.span().map(|span| line_of(text, span.start));
            let remedy = "see the commented example for the keys and what they take";
            problems.push(line, key.clone().unwrap_or_default(), first_line(error.message()), remedy);
            if key.is_none() {
                return (T::default(), problems);
            }
        }
    }

    /// Adds a problem with a key.
    pub fn add(&mut self, key: impl Into<String>, text: impl Into<String>, remedy: impl Into<String>) {
        let key = key.into();
        self.push(self.line(&key), key, text.into(), remedy);
    }

    /// Parses a value, or adds why it cannot be parsed.
    pub fn parse<T>(&mut self, key: &str, text: &str, remedy: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(key, format!("{text:?} cannot be used: {error}"), remedy);
                None
            }
        }
    }

    /// Parses a value that must be there.
    pub fn require<T>(&mut self, key: &str, text: &str, remedy: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        if text.trim().is_empty() {
            self.add(key, "is missing", remedy);
            return None;
        }
        self.parse(key, text, remedy)
    }

    /// Parses each value of a list, leaving out those that cannot be parsed.
    pub fn parse_all<T>(&mut self, key: &str, texts: &[String], remedy: &str) -> Vec<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let mut parsed = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            parsed.extend(self.parse(&format!("{key}[{at}]"), text, remedy));
        }
        parsed
    }

    /// Whether there is nothing to mend.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The problems, by line.
    pub fn into_list(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|problem| problem.line);
        self.list
    }

    /// The line of a key, or of the nearest table around it.
    pub fn line(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(line) = self.lines.get(key) {
                return Some(*line);
            }
            key = &key[..key.rfind(['.', '['])?];
        }
    }

    fn push(&mut self, line: Option<usize>, key: String, text: String, remedy: impl Into<String>) {
        self.list.push(Problem { file: self.file.clone(), line, key, text, remedy: remedy.into() });
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn index(text: &str, path: &str, table: &DeTable<'_>, lines: &mut HashMap<String, usize>) {
    for (key, value) in table {
        let path = join(path, key.get_ref());
        lines.insert(path.clone(), line_of(text, key.span().start));
        match value.get_ref() {
            DeValue::Table(inner) => index(text, &path, inner, lines),
            DeValue::Array(values) => {
                for (at, value) in values.iter().enumerate() {
                    let path = format!("{path}[{at}]");
                    lines.insert(path.clone(), line_of(text, value.span().start));
                    if let DeValue::Table(inner) = value.get_ref() {
                        index(text, &path, inner, lines);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Takes the entry at a span out of a table and tells its key. An element of an array takes the array with it.
fn prune(table: &mut DeTable<'_>, span: &Range<usize>, path: &str) -> Option<String> {
    let mut at = None;
    for (key, value) in table.iter_mut() {
        let path = join(path, key.get_ref());
        if let Some(inside) = prune_inside(value, span, &path) {
            return Some(inside);
        }
        if key.span() == *span || value.span() == *span || holds(value, span) {
            at = Some((key.clone(), path));
            break;
        }
    }
    let (key, path) = at?;
    table.remove(&key);
    Some(path)
}

fn prune_inside(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>, path: &str) -> Option<String> {
    match value.get_mut() {
        DeValue::Table(inner) => prune(inner, span, path),
        DeValue::Array(values) => values.iter_mut().enumerate().find_map(|(at, value)| match value.get_mut() {
            DeValue::Table(inner) => prune(inner, span, &format!("{path}[{at}]")),
            _ => None,
        }),
        _ => None,
    }
}

fn holds(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    matches!(value.get_ref(), DeValue::Array(values) if values.iter().any(|value| value.span() == *span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct File {
        name: String,
        inner: Inner,
        list: Vec<Inner>,
    }

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        count: u8,
        words: Vec<String>,
    }

    #[test]
    fn every_key_that_does_not_fit_is_told_at_once_with_its_line() {
        let text = "name = 3\nnames = \"x\"\n\n[inner]\ncount = 300\nword = []\nwords = [\"a\", 2]\n\n[[list]]\ncount = 7\n\n[[list]]\nconut = 8\n";
        let (file, problems) = Problems::read::<File>(Path::new("a.toml"), text);
        let told: Vec<_> =
            problems.into_list().into_iter().map(|problem| (problem.line.unwrap(), problem.key)).collect();
        let expected = [
            (1, "name"),
            (2, "names"),
            (5, "inner.count"),
            (6, "inner.word"),
            (7, "inner.words"),
            (13, "list[1].conut"),
        ];
        assert_eq!(told, expected.map(|(line, key)| (line, key.to_owned())));
        assert_eq!((file.name.as_str(), file.inner.words.len(), file.list[0].count), ("", 0, 7));
    }

    #[test]
    fn bad_syntax_is_told_with_its_line() {
        let (_, problems) = Problems::read::<File>(Path::new("a.toml"), "name = \"a\"\n[inner\n");
        let list = problems.into_list();
        assert_eq!(list[0].line, Some(2), "{list:?}");
    }

    #[test]
    fn a_problem_with_an_absent_key_points_at_its_table() {
        let (_, mut problems) = Problems::read::<File>(Path::new("a.toml"), "\n[inner]\ncount = 1\n");
        problems.add("inner.words", "is missing", "add it");
        let list = problems.into_list();
        assert_eq!(list[0].to_string(), "a.toml:2: inner.words: is missing (add it)");
    }
}
