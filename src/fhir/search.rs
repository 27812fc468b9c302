//! Search parameters (FHIR R4: `search.html`), from the URL and from a form, as typed values.
//!
//! Decoding goes from the outside in: percent signs, then commas (OR) that no backslash escapes, then `|` and `$` in
//! the same way, and the backslashes last. Repetition of a parameter is AND.

use std::fmt;

use smol_str::{SmolStr, format_smolstr};

use super::outcome::Refusal;
use crate::id::Dtm;

/// The most parameters in one request, and the most values in all of them: nobody asks for more in earnest.
const MOST: usize = 1000;

/// What the caller wants done with parameters that are not known (`Prefer: handling=`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Handling {
    /// Leave them out; the `self` link shows it.
    #[default]
    Lenient,
    /// Refuse the request.
    Strict,
}

impl Handling {
    /// From the values of `Prefer` headers.
    pub fn from_prefer(header: &str) -> Self {
        let preferences = header.split([',', ';']).map(|one| one.trim().replace([' ', '"'], ""));
        let mut strict = preferences.filter(|one| one.eq_ignore_ascii_case("handling=strict"));
        if strict.next().is_some() { Self::Strict } else { Self::Lenient }
    }
}

/// One parameter as it was sent, percent signs resolved.
#[derive(Clone, Eq, PartialEq)]
pub struct Parameter {
    /// The name with its chain, without what follows a colon: `patient.identifier`.
    pub name: SmolStr,
    /// The type that a chain goes through: `Patient` in `patient:Patient.identifier`.
    pub target: Option<SmolStr>,
    /// After the colon at the end: `exact` in `family:exact` and in `author.family:exact`.
    pub modifier: Option<SmolStr>,
    /// The value with its escapes.
    pub value: String,
}

impl Parameter {
    /// The name as it may be shown; others may be shown alike.
    pub fn shown(&self) -> SmolStr {
        printable(&self.name)
    }
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}=…", self.name, self.modifier)
    }
}

/// All parameters of a request in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Parameters(pub Vec<Parameter>);

impl Parameters {
    /// From the query of the URL and, for `_search`, the form in the body; both count.
    pub fn read(query: &str, form: Option<&str>) -> Result<Self, Refusal> {
        let mut list = Vec::new();
        for pair in [query, form.unwrap_or_default()].into_iter().flat_map(|text| text.trim().split('&')) {
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = percent_decoded(name).ok_or(Refusal::Unusable("the name of a parameter".into()))?;
            let unusable = || Refusal::Unusable(format_smolstr!("the parameter {}", printable(&name)));
            let value = percent_decoded(value).ok_or_else(unusable)?;
            // No name has white space, and `to_query` may put another part first.
            let name: String = name.split_whitespace().collect();
            let (name, target, modifier) = split_name(&name);
            list.push(Parameter { name, target, modifier, value });
            if list.len() > MOST {
                return Err(Refusal::Profile("there are too many parameters".into()));
            }
        }
        let values: usize = list.iter().map(|one| one.value.matches(',').count() + 1).sum();
        if values > MOST {
            return Err(Refusal::Profile("there are too many values".into()));
        }
        Ok(Self(list))
    }

    /// The values of a parameter, each repetition a list of alternatives. Empty values count as not sent.
    pub fn all(&self, name: &str) -> impl Iterator<Item = Vec<&str>> {
        let name = name.to_owned();
        self.0
            .iter()
            .filter(move |one| one.name == name)
            .map(|one| alternatives(&one.value))
            .filter(|one| !one.is_empty())
    }

    /// The only value of a parameter; none if it was not sent. Two values are refused.
    pub fn single(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        let mut values = self.all(name).flatten();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(Some(unescaped(value))),
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(Refusal::Unusable(name.into())),
        }
    }

    /// The query again, of those parameters that were understood, for the `self` link.
    pub fn to_query(&self, understood: impl Fn(&Parameter) -> bool) -> String {
        let mut out = String::new();
        for one in self.0.iter().filter(|one| understood(one)) {
            if !out.is_empty() {
                out.push('&');
            }
            match (&one.target, one.name.split_once('.')) {
                (Some(target), Some((first, chain))) => {
                    percent_encode(&mut out, &format!("{first}:{target}.{chain}"));
                }
                _ => percent_encode(&mut out, &one.name),
            }
            if let Some(modifier) = &one.modifier {
                percent_encode(&mut out, &format!(":{modifier}"));
            }
            out.push('=');
            percent_encode(&mut out, &one.value);
        }
        out
    }
}

/// The modifiers of FHIR R4, for refusals.
const MODIFIERS: [&str; 11] =
    ["above", "below", "contains", "exact", "identifier", "in", "missing", "not", "not-in", "of-type", "text"];

/// The types of parameters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Type {
    /// `system|code`
    Token,
    /// Text.
    String,
    /// A date with a prefix.
    Date,
    /// A resource.
    Reference,
    /// A URI, compared as it is.
    Uri,
    /// A number.
    Number,
    /// Values joined by `$`.
    Composite,
    /// About the result and not the search (`_count`, `_format`).
    Result,
}

/// A parameter that a search knows.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Its name, with a chain if it has one.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
}

/// A definition.
pub const fn definition(name: &'static str, kind: Type) -> Definition {
    Definition { name, kind }
}

/// What every search does besides its own parameters. What is not here (`_sort`, `_include`) is not done, and the
/// `self` link says so.
pub const COMMON: &[Definition] =
    &[definition("_count", Type::Result), definition("_format", Type::Result), definition("_page", Type::Result)];

/// Compares a value with text.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Comparison {
    /// Starts with it, whatever the case and accents.
    #[default]
    StartsWith,
    /// `:contains`
    Contains,
    /// `:exact`
    Exact,
}

/// A token. What is absent matches anything; an empty system means "without a system".
#[derive(Clone, Eq, PartialEq)]
pub struct Token {
    /// Before the bar; none if there is no bar.
    pub system: Option<SmolStr>,
    /// After it; none for `system|`.
    pub code: Option<SmolStr>,
}

/// A text and how it compares.
#[derive(Clone, Eq, PartialEq)]
pub struct Text {
    /// The text.
    pub text: SmolStr,
    /// How.
    pub comparison: Comparison,
}

/// The prefixes of dates and numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Prefix {
    /// Within what the value covers.
    #[default]
    Equal,
    /// Not within.
    NotEqual,
    /// After.
    Greater,
    /// Before.
    Less,
    /// Within or after.
    GreaterOrEqual,
    /// Within or before.
    LessOrEqual,
    /// Starts after.
    StartsAfter,
    /// Ends before.
    EndsBefore,
    /// About.
    Approximately,
}

impl Prefix {
    const ALL: [(&str, Self); 9] = [
        ("eq", Self::Equal),
        ("ne", Self::NotEqual),
        ("gt", Self::Greater),
        ("lt", Self::Less),
        ("ge", Self::GreaterOrEqual),
        ("le", Self::LessOrEqual),
        ("sa", Self::StartsAfter),
        ("eb", Self::EndsBefore),
        ("ap", Self::Approximately),
    ];

    fn split(text: &str) -> (Self, &str) {
        let found = text.get(..2).and_then(|head| Self::ALL.iter().find(|(prefix, _)| *prefix == head));
        found.map_or((Self::Equal, text), |(_, prefix)| (*prefix, &text[2..]))
    }

    /// The prefix.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, prefix)| *prefix == self).map_or("eq", |(text, _)| text)
    }
}

/// A date with its prefix.
#[derive(Clone, Eq, PartialEq)]
pub struct When {
    /// How it compares.
    pub prefix: Prefix,
    /// As precise as it was told.
    pub date: Dtm,
}

impl When {
    /// Whether a value meets the condition: each stands for the whole span it covers (FHIR R4 search, "date").
    pub fn matches(&self, value: &Dtm) -> bool {
        let (low, high) = (value.earliest(), value.latest());
        let (from, to) = (self.date.earliest(), self.date.latest());
        match self.prefix {
            Prefix::Equal => from <= low && high <= to,
            Prefix::NotEqual => !(from <= low && high <= to),
            Prefix::Greater => high > to,
            Prefix::Less => low < from,
            Prefix::GreaterOrEqual => high > to || from <= low,
            Prefix::LessOrEqual => low < from || high <= to,
            Prefix::StartsAfter => low > to,
            Prefix::EndsBefore => high < from,
            Prefix::Approximately => low <= to && from <= high,
        }
    }
}

/// One value of a parameter.
#[derive(Clone, Eq, PartialEq)]
pub enum Value {
    /// Of a token.
    Token(Token),
    /// Of a string.
    Text(Text),
    /// Of a date.
    When(When),
    /// Of a reference: a URL, `Type/id` or an id.
    Reference(SmolStr),
    /// `:identifier` of a reference.
    Identifier(Token),
    /// Of a URI or number, or about the result.
    Plain(SmolStr),
    /// Parts of a composite.
    Parts(Vec<SmolStr>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names, dates of birth and identifiers of people are here.
        let kind = match self {
            Self::Token(_) => "Token",
            Self::Text(_) => "Text",
            Self::When(_) => "When",
            Self::Reference(_) => "Reference",
            Self::Identifier(_) => "Identifier",
            Self::Plain(_) => "Plain",
            Self::Parts(_) => "Parts",
        };
        write!(f, "{kind}(…)")
    }
}

/// Hides names, dates of birth and identifiers of people from `{:?}`.
macro_rules! redacted {
    ($($kind:ident),*) => {$(
        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($kind), "(…)"))
            }
        }
    )*};
}

redacted!(Token, Text, When, Search);

/// A condition: one of the values has to match.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Condition {
    /// The name of the definition.
    pub name: &'static str,
    /// The alternatives, at least one.
    pub values: Vec<Value>,
}

/// A search that was understood: all conditions have to hold.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Search {
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// The query of the `self` link: without the parameters that were left out.
    pub understood: String,
    /// The same without what is about pages, for the `next` link.
    pub unpaged: String,
    /// `_count`
    pub count: Option<usize>,
}

impl Search {
    /// Types the parameters by the table of a search and the common one.
    pub fn read(parameters: &Parameters, known: &[Definition], handling: Handling) -> Result<Self, Refusal> {
        let find = |one: &Parameter| known.iter().chain(COMMON).find(|definition| definition.name == one.name);
        let mut search = Self {
            understood: parameters.to_query(|one| find(one).is_some()),
            unpaged: parameters.to_query(|one| find(one).is_some() && !matches!(one.name.as_str(), "_count" | "_page")),
            ..Self::default()
        };
        for one in &parameters.0 {
            let Some(definition) = find(one) else {
                if handling == Handling::Strict {
                    return Err(Refusal::UnknownParameter(one.shown()));
                }
                continue;
            };
            let values = typed(one, definition)?;
            // FHIR: a parameter without a value is as if it were not there.
            if !values.is_empty() {
                search.conditions.push(Condition { name: definition.name, values });
            }
        }
        if let Some(count) = search.plain("_count") {
            search.count = Some(count.parse().map_err(|_| Refusal::Unusable("_count".into()))?);
        }
        Ok(search)
    }

    /// The alternatives of every condition of a name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[Value]> {
        let name = name.to_owned();
        self.conditions.iter().filter(move |one| one.name == name).map(|one| one.values.as_slice())
    }

    /// The first plain value of a name.
    pub fn plain(&self, name: &str) -> Option<&str> {
        self.all(name).flatten().find_map(|value| match value {
            Value::Plain(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The tokens of every condition of a name.
    pub fn tokens(&self, name: &str) -> Vec<Vec<Token>> {
        self.pick(name, |value| match value {
            Value::Token(token) | Value::Identifier(token) => Some(token.clone()),
            _ => None,
        })
    }

    /// The texts of every condition of a name.
    pub fn texts(&self, name: &str) -> Vec<Vec<Text>> {
        self.pick(name, |value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// The dates of every condition of a name.
    pub fn dates(&self, name: &str) -> Vec<Vec<When>> {
        self.pick(name, |value| match value {
            Value::When(when) => Some(when.clone()),
            _ => None,
        })
    }

    fn pick<T>(&self, name: &str, one: impl Fn(&Value) -> Option<T>) -> Vec<Vec<T>> {
        let lists = self.all(name).map(|values| values.iter().filter_map(&one).collect::<Vec<_>>());
        lists.filter(|list| !list.is_empty()).collect()
    }
}

fn typed(one: &Parameter, definition: &Definition) -> Result<Vec<Value>, Refusal> {
    let unusable = || Refusal::Unusable(definition.name.into());
    // The type in a chain (`patient:Patient.identifier`) is left alone: there is only one that fits.
    let modifier = one.modifier.as_deref();
    let unsupported = || {
        // Whoever puts a value in the wrong place is not quoted.
        let known = MODIFIERS.iter().find(|known| modifier == Some(**known));
        Refusal::UnknownParameter(format_smolstr!("{}:{}", definition.name, known.unwrap_or(&"…")))
    };
    let value = |raw: &str| {
        Ok(match (definition.kind, modifier) {
            (Type::Token, None) => Value::Token(token(raw)),
            (Type::Reference, Some("identifier")) => Value::Identifier(token(raw)),
            (Type::String, modifier) => {
                let comparison = match modifier {
                    None => Comparison::StartsWith,
                    Some("contains") => Comparison::Contains,
                    Some("exact") => Comparison::Exact,
                    Some(_) => return Err(unsupported()),
                };
                Value::Text(Text { text: unescaped(raw).into(), comparison })
            }
            (Type::Date, None) => {
                let text = unescaped(raw);
                let (prefix, rest) = Prefix::split(&text);
                Value::When(When { prefix, date: Dtm::lenient(rest).map_err(|_| unusable())? })
            }
            (Type::Reference, None) => Value::Reference(unescaped(raw).into()),
            // `subject:Patient=7` is `subject=Patient/7`.
            (Type::Reference, Some(kind)) if kind.starts_with(|c: char| c.is_ascii_uppercase()) => {
                Value::Reference(format_smolstr!("{kind}/{}", unescaped(raw)))
            }
            (Type::Composite, None) => {
                Value::Parts(split(raw, '$').into_iter().map(|part| unescaped(part).into()).collect())
            }
            (Type::Uri | Type::Number, None) | (Type::Result, _) => Value::Plain(unescaped(raw).into()),
            (Type::Token | Type::Date | Type::Reference | Type::Uri | Type::Number | Type::Composite, Some(_)) => {
                return Err(unsupported());
            }
        })
    };
    alternatives(&one.value).into_iter().map(value).collect()
}

fn token(raw: &str) -> Token {
    let part = |text: &str| SmolStr::from(unescaped(text).trim());
    let filled = |text: SmolStr| Some(text).filter(|text| !text.is_empty());
    match split(raw, '|').as_slice() {
        [code] => Token { system: None, code: filled(part(code)) },
        // A bar in the value that was not escaped belongs to it.
        [system, ..] => Token { system: Some(part(system)), code: filled(part(&raw[system.len() + 1..])) },
        [] => Token { system: None, code: None },
    }
}

/// The name with its chain, the type that the chain goes through, the modifier at the end:
/// `patient:Patient.family:exact` is `patient.family`, `Patient` and `exact`.
fn split_name(name: &str) -> (SmolStr, Option<SmolStr>, Option<SmolStr>) {
    let colon = |text: &str| match text.split_once(':') {
        Some((name, after)) => (SmolStr::from(name), Some(SmolStr::from(after))),
        None => (text.into(), None),
    };
    match name.split_once('.') {
        None => {
            let (name, modifier) = colon(name);
            (name, None, modifier)
        }
        Some((first, chain)) => {
            let ((first, target), (chain, modifier)) = (colon(first), colon(chain));
            (format_smolstr!("{first}.{chain}"), target, modifier)
        }
    }
}

fn alternatives(value: &str) -> Vec<&str> {
    split(value, ',').into_iter().filter(|one| !one.trim().is_empty()).collect()
}

/// Splits at a separator that no backslash escapes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == separator => {
                parts.push(&text[from..at]);
                from = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

/// Resolves `\,` `\|` `\$` `\\`; any other backslash is one.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\\', Some(&next)) if matches!(next, ',' | '|' | '$' | '\\') => {
                out.push(next);
                rest.next();
            }
            _ => out.push(c),
        }
    }
    out
}

/// A value with its special characters escaped.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ',' | '|' | '$' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A token as a value: `system|code`.
pub fn write_token(system: &str, code: &str) -> String {
    format!("{}|{}", escaped(system), escaped(code))
}

/// A form-encoded text. None if a percent sign has no two digits after it, or the bytes are no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    path_decoded(&text.replace('+', " "))
}

/// A segment of a path, where a plus sign is one.
pub fn path_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digit =
                    |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(bytes.next())? << 4 | digit(bytes.next())?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

/// Encodes for a query. The characters that FHIR uses itself stay readable, where a URL allows them.
pub fn percent_encode(out: &mut String, text: &str) {
    use fmt::Write;
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':' | b'/' | b',' | b'$') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// A name that may be shown: letters, digits and what FHIR has in names, not too long.
fn printable(name: &str) -> SmolStr {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':')).take(64).collect()
}

#[cfg(test)]
mod tests;
