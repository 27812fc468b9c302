//! What a demographics query asks for, whatever the dialect (ITI TF-2: 3.21.4.1.2.2, 3.47.4.1.2, 3.78).
//!
//! A query is an example: whoever matches all that it tells is an answer. A text of it may have `*` for any text.

use smol_str::SmolStr;

use super::visit::Visit;
use crate::id::{Demographics, Dtm, PatientId};

/// A query by example.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct PatientQuery {
    /// What the person looks like. Several names are alternatives; of every other list, the person has to match each
    /// element. A date of birth may be a year or a month. `other_ids` is empty: identifiers of all kinds are in `ids`.
    pub person: Demographics,
    /// The date of birth lies in that interval. Only v3 can say it, and only where a single date does not.
    pub birth_between: Option<Interval>,
    /// Identifiers, each of which the person must have: of a patient identifier domain, a social security number, a
    /// licence. In v3 an account number may be among them, because it cannot be told apart there.
    pub ids: Vec<PatientId>,
    /// Names that sound or look alike are welcome (v3 `@use` `SRCH`, `PHON`, `SNDX`). HL7 v2 cannot say it, so there
    /// it is the supplier's choice.
    pub similar_names: bool,
    /// The least confidence of a match, 0 to 100.
    pub minimum_degree: Option<u8>,
    /// The name of a matching algorithm.
    pub algorithm: Option<SmolStr>,
    /// What the visit looks like (ITI-22 only).
    pub visit: Visit,
}

impl std::fmt::Debug for PatientQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PatientQuery(…, {} ids)", self.ids.len())
    }
}

/// A time between two dates, both of which belong to it; absent means open.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Interval {
    /// Not before this.
    pub from: Option<Dtm>,
    /// Not after this.
    pub to: Option<Dtm>,
}

impl std::fmt::Debug for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interval(…)")
    }
}

/// How a text of a query is to be compared.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Intent<'q> {
    /// Equal, apart from case and the like.
    Exact(&'q str),
    /// Of that form.
    Wildcard(Pattern<'q>),
    /// Equal, or close to it in sound or spelling.
    Similar(&'q str),
}

impl PatientQuery {
    /// It asks for nothing, so everybody would match.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
            && self.birth_between.is_none()
            && self.visit == Visit::default()
            && self.person == Demographics::default()
    }

    /// How a part of a name is meant. None: the part is empty or a lone `*`, so anything will do.
    pub fn name_intent<'q>(&self, part: &'q str) -> Option<Intent<'q>> {
        let part = part.trim();
        if part.bytes().all(|byte| byte == b'*') {
            None
        } else if part.contains('*') {
            Some(Intent::Wildcard(Pattern(part)))
        } else if self.similar_names {
            Some(Intent::Similar(part))
        } else {
            Some(Intent::Exact(part))
        }
    }
}

/// A text in which `*` stands for any text, the empty one included.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Pattern<'q>(&'q str);

impl<'q> Pattern<'q> {
    /// This text.
    pub fn new(text: &'q str) -> Self {
        Self(text)
    }

    /// Whether a text is of this form, whatever its case.
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.trim().to_lowercase(), text.trim().to_lowercase());
        let mut pieces = pattern.split('*');
        let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_asterisk_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("JO*", "Jones", true),
            ("jo*", "JO", true),
            ("JO*", "Major", false),
            ("*on*", "Jones", true),
            ("*es", "Jones", true),
            ("J*n*s", "Jones", true),
            ("J*x*s", "Jones", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("Jones", "Jones", true),
            ("Jones", "Joneses", false),
            ("MÜ*", "Müller", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_part_of_a_name_is_meant_exactly_unless_the_query_says_otherwise() {
        let exact = PatientQuery::default();
        let similar = PatientQuery { similar_names: true, ..PatientQuery::default() };
        assert!(exact.name_intent("Jones") == Some(Intent::Exact("Jones")));
        assert!(similar.name_intent("Jones") == Some(Intent::Similar("Jones")));
        assert!(similar.name_intent("Jo*") == Some(Intent::Wildcard(Pattern::new("Jo*"))));
        assert!(exact.name_intent(" * ").is_none() && exact.name_intent("").is_none());
    }

    proptest! {
        #[test]
        fn what_an_asterisk_replaced_is_found(before in ".{0,8}", middle in ".{0,8}", after in ".{0,8}") {
            let text = format!("x{before}{middle}{after}x");
            let pattern = format!("x{}*{}x", before.replace('*', ""), after.replace('*', ""));
            prop_assume!(!before.contains('*') && !after.contains('*'));
            prop_assert!(Pattern::new(&pattern).matches(&text));
        }
    }
}
