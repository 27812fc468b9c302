use proptest::prelude::*;

use super::*;

const KNOWN: &[Definition] = &[
    definition("family", Type::String),
    definition("identifier", Type::Token),
    definition("birthdate", Type::Date),
    definition("patient", Type::Reference),
    definition("patient.identifier", Type::Token),
    definition("pair", Type::Composite),
    definition("targetSystem", Type::Uri),
];

fn search(query: &str) -> Result<Search, Refusal> {
    Search::read(&Parameters::read(query, None)?, KNOWN, Handling::Lenient)
}

fn one(query: &str) -> Value {
    search(query).unwrap().conditions[0].values[0].clone()
}

fn token_of(system: Option<&str>, code: Option<&str>) -> Token {
    Token { system: system.map(Into::into), code: code.map(Into::into) }
}

#[test]
fn tokens_are_read_in_each_of_their_forms() {
    for (query, system, code) in [
        ("identifier=urn:oid:2.999.10%7CN-44", Some("urn:oid:2.999.10"), Some("N-44")),
        ("identifier=urn:oid:2.999.10|N-44", Some("urn:oid:2.999.10"), Some("N-44")),
        ("identifier=N-44", None, Some("N-44")),
        ("identifier=|N-44", Some(""), Some("N-44")),
        ("identifier=urn:oid:2.999.10|", Some("urn:oid:2.999.10"), None),
        ("identifier=s%5C%7Cx%7Ca%5C,b", Some("s|x"), Some("a,b")),
        ("identifier=http://server.example%7CPatient/123", Some("http://server.example"), Some("Patient/123")),
        ("identifier=s|a|b", Some("s"), Some("a|b")),
        ("identifier=s|100%25+x", Some("s"), Some("100% x")),
    ] {
        assert!(one(query) == Value::Token(token_of(system, code)), "{query}");
    }
    assert!(one("patient.identifier=s|1") == Value::Token(token_of(Some("s"), Some("1"))));
    assert!(one("patient:Patient.identifier=s|1") == Value::Token(token_of(Some("s"), Some("1"))));
    assert!(one("patient:identifier=s|1") == Value::Identifier(token_of(Some("s"), Some("1"))));
}

#[test]
fn repetition_is_and_and_comma_is_or() {
    let search = search("family=a,b&family=c%2Cd&family=e%5C%2Cf&family=").unwrap();
    let texts: Vec<Vec<_>> =
        search.texts("family").iter().map(|list| list.iter().map(|one| one.text.to_string()).collect()).collect();
    assert_eq!(texts, [vec!["a", "b"], vec!["c", "d"], vec!["e,f"]]);
}

#[test]
fn modifiers_change_the_comparison() {
    for (query, comparison) in [
        ("family=x", Comparison::StartsWith),
        ("family:exact=x", Comparison::Exact),
        ("family:contains=x", Comparison::Contains),
    ] {
        assert!(one(query) == Value::Text(Text { text: "x".into(), comparison }), "{query}");
    }
    assert!(one("patient:Patient=7") == Value::Reference("Patient/7".into()));
    assert!(one("pair=a$b%5C$c") == Value::Parts(vec!["a".into(), "b$c".into()]));
    // A modifier that is not known turns the meaning around at worst (`:not`), so it is never left out.
    for query in [
        "family:not=x",
        "identifier:of-type=x",
        "birthdate:exact=2026",
        "birthdate:missing=true",
        "family:missing=false",
        "patient.identifier:not=s|1",
        "patient:Patient.identifier:not=s|1",
    ] {
        assert!(search(query).is_err(), "{query}");
    }
}

#[test]
fn dates_compare_by_the_span_they_cover() {
    for (query, value, matches) in [
        ("1987", "19870312", true),
        ("eq1987-03-12", "1987", false),
        ("ne1987", "1988", true),
        ("gt1987-03", "19870331", false),
        ("gt1987-03", "19870401", true),
        ("gt1987-03-12", "1987", true),
        ("lt1987-03", "198702", true),
        ("ge1987-03", "19870301", true),
        ("le1987-03", "198704", false),
        ("sa1987-03-12", "1987", false),
        ("sa1987-03-12", "19870313", true),
        ("eb1987-03-12", "19870311", true),
        ("ap1987", "198703", true),
    ] {
        let Value::When(when) = one(&format!("birthdate={query}")) else { panic!("{query}") };
        assert_eq!(when.matches(&value.parse().unwrap()), matches, "{query} {value}");
    }
    assert_eq!(search("birthdate=soon"), Err(Refusal::Unusable("birthdate".into())));
}

#[test]
fn unknown_parameters_are_left_out_or_refused_as_the_caller_prefers() {
    let parameters = Parameters::read("family=x&shoe-size=44&_count=5", Some("birthdate=1987")).unwrap();
    let lenient = Search::read(&parameters, KNOWN, Handling::Lenient).unwrap();
    assert_eq!((lenient.understood.as_str(), lenient.count), ("family=x&_count=5&birthdate=1987", Some(5)));
    assert_eq!(lenient.unpaged, "family=x&birthdate=1987");
    let strict = Search::read(&parameters, KNOWN, Handling::Strict);
    assert_eq!(strict, Err(Refusal::UnknownParameter("shoe-size".into())));
    for (header, handling) in [
        ("handling=strict", Handling::Strict),
        ("respond-async, handling=\"strict\"", Handling::Strict),
        ("handling=lenient", Handling::Lenient),
        ("", Handling::Lenient),
    ] {
        assert_eq!(Handling::from_prefer(header), handling, "{header}");
    }
}

/// What is left out takes nothing with it that is shown by the same name: the next page would be of another search.
#[test]
fn a_parameter_that_is_not_known_hides_none_that_is() {
    for unknown in ["%22family%22", "%22family%22:exact", "(family)", "fam%C3%B6ily", "family%22"] {
        let parameters = Parameters::read(&format!("family=x&{unknown}=y"), None).unwrap();
        let search = Search::read(&parameters, KNOWN, Handling::Lenient).unwrap();
        assert_eq!((search.understood.as_str(), search.unpaged.as_str()), ("family=x", "family=x"), "{unknown}");
    }
}

#[test]
fn white_space_is_no_part_of_a_name() {
    for query in
        ["patient.identifier%09:exact=a", "patient.%20identifier:exact=a", "patient%20.%09identifier%20:exact=a"]
    {
        let parameters = Parameters::read(query, None).unwrap();
        assert_eq!(parameters.to_query(|_| true), "patient.identifier:exact=a", "{query:?}");
    }
}

#[test]
fn a_type_in_a_chain_and_a_modifier_behind_it_stay_where_they_are() {
    for (query, name, target, modifier) in [
        ("patient:Patient.identifier=a", "patient.identifier", Some("Patient"), None),
        ("patient.identifier:exact=a", "patient.identifier", None, Some("exact")),
        ("patient:Patient.family:exact=a", "patient.family", Some("Patient"), Some("exact")),
        ("family:exact=a", "family", None, Some("exact")),
        ("family=a", "family", None, None),
    ] {
        let parameters = Parameters::read(query, None).unwrap();
        let one = &parameters.0[0];
        let told = (one.name.as_str(), one.target.as_deref(), one.modifier.as_deref());
        assert_eq!(told, (name, target, modifier), "{query}");
        assert_eq!(parameters.to_query(|_| true), query);
    }
}

#[test]
fn what_is_no_query_is_refused() {
    for query in ["family=%", "family=%4", "family=%GG", "family=%FF", "_count=many", "_count=-1"] {
        assert!(search(query).is_err(), "{query}");
    }
    let flood = "family=x&".repeat(MOST + 1);
    assert!(search(&flood).is_err());
    assert!(search(&format!("family={}", ",x".repeat(MOST))).is_err());
}

#[test]
fn debug_prints_no_values() {
    let search = search("family=Canary&identifier=s|Canary&birthdate=1987").unwrap();
    let parameters = Parameters::read("family=Canary", None).unwrap();
    assert!(!format!("{:?} {parameters:?}", search.conditions).contains("Canary"));
}

proptest! {
    #[test]
    fn any_query_is_read_or_refused(query in "\\PC{0,80}", form in proptest::option::of("[%&=,|\\\\$a-z0-9:.]{0,60}")) {
        if let Ok(parameters) = Parameters::read(&query, form.as_deref()) {
            let _ = Search::read(&parameters, KNOWN, Handling::Lenient);
            let again = Parameters::read(&parameters.to_query(|_| true), None);
            let named = |list: &Parameters| list.0.iter().filter(|one| !one.name.is_empty()).count();
            prop_assert!(again.is_ok_and(|again| named(&again) == named(&parameters)));
        }
    }

    #[test]
    fn tokens_survive_escapes_and_percent_signs(system in "\\PC{1,20}", code in "\\PC{1,20}") {
        prop_assume!(!system.trim().is_empty() && !code.trim().is_empty());
        let mut query = "identifier=".to_owned();
        percent_encode(&mut query, &write_token(&system, &code));
        let expected = Token { system: Some(system.trim().into()), code: Some(code.trim().into()) };
        prop_assert!(one(&query) == Value::Token(expected));
    }
}
