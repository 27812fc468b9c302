use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::id::patient::{MultipleBirth, TelecomSystem};
use crate::id::{Address, Demographics, Domain, Dtm, Gender, PatientId, PersonName, Telecom};
use crate::pix::feed_v2::Pair;

fn authority(oid: &str) -> AssigningAuthority {
    AssigningAuthority::new(oid, "ISO").unwrap()
}

fn rules() -> Rules {
    let domain = |namespace: &str, oid: &str| Domain { namespace: namespace.into(), authority: authority(oid) };
    Rules {
        domains: Domains::new(vec![domain("NORTH", "2.999.10"), domain("WEST", "2.999.20")]),
        default_authority: Some(authority("2.999.10")),
        table: csv::Options::default(),
    }
}

/// Every piece of a file: its line and what it tells, in short.
fn pieces_from(format: Format, text: &[u8], from: Place, rules: Rules) -> (Vec<String>, Vec<Place>) {
    let mut reader = Reader::open(format, Cursor::new(text.to_vec()), from, rules).unwrap();
    let (mut found, mut places) = (Vec::new(), Vec::new());
    while let Some(piece) = reader.next_piece().unwrap() {
        let told = match &piece.content {
            Ok(told) if told.is_empty() => "nothing".to_owned(),
            Ok(told) => told.iter().map(|told| short(&told.change)).collect::<Vec<_>>().join(", "),
            Err(unread) => unread.to_string(),
        };
        found.push(format!("{}: {told}", piece.line));
        places.push(reader.place());
        assert!(piece.to >= piece.from && piece.to <= text.len() as u64);
    }
    (found, places)
}

fn pieces(format: Format, text: &str) -> Vec<String> {
    let (found, places) = pieces_from(format, text.as_bytes(), Place::default(), rules());
    // From any place where a reader stopped, another goes on with the same.
    for (at, place) in places.iter().enumerate() {
        assert_eq!(pieces_from(format, text.as_bytes(), *place, rules()).0, found[at + 1..], "from {place:?}");
    }
    assert_eq!(Format::of(text.as_bytes()), format);
    found
}

fn short(change: &FeedRequest) -> String {
    let names: Vec<&str> = change.ids().map(PatientId::id).collect();
    let ids = names.join(" ");
    match change {
        FeedRequest::Add { demographics, .. } => {
            let name = demographics.names.first().map(|name| format!("{} {}", name.given.join(" "), name.family));
            format!("add {ids} {}", name.unwrap_or_default().trim()).trim_end().to_owned()
        }
        FeedRequest::Revise { .. } => format!("revise {ids}"),
        FeedRequest::Merge(_) => format!("merge {ids}"),
        FeedRequest::ChangeId(_) => format!("change {ids}"),
        FeedRequest::Link(..) => format!("link {ids}"),
        FeedRequest::Unlink(..) => format!("unlink {ids}"),
    }
}

#[test]
fn tables_of_other_systems_are_read() {
    let text = "\u{FEFF}MRN;Last Name;First Name;DOB;Zip Code\r\n007;Okafor;Ada;1987-03-12;02134\r\n\r\n\
                8;\"O;Neil\";\"Eve\nMay\";19600101;\r\n# rejected, line 9: why\n9;Reed;;;\n10;Reed\n11;Reed;Al;1.1.60;\n";
    assert_eq!(
        pieces(Format::Csv, text),
        [
            "2: add 007 Ada Okafor",
            "4: add 8 Eve\nMay O;Neil",
            "7: add 9 Reed",
            "8: 2 fields where the table has 5 columns",
            "9: birth_date is no date of the form that --dates tells",
        ]
    );
}

#[test]
fn a_column_that_is_not_known_is_refused_until_it_is_explained() {
    let open = |header: &str, columns: &[(&str, &str)]| {
        let columns = columns.iter().map(|(name, field)| ((*name).to_owned(), (*field).to_owned())).collect();
        let rules = Rules { table: csv::Options { columns, ..csv::Options::default() }, ..rules() };
        Reader::open(Format::Csv, Cursor::new(format!("{header}\n")), Place::default(), rules)
            .map(drop)
            .map_err(|error| error.to_string().split(';').next().unwrap_or_default().to_owned())
    };
    for (header, columns, expected) in [
        ("id,family,shoe size", &[][..], Err("these columns are not known: shoe size")),
        ("id,family,shoe size", &[("shoe size", "")], Ok(())),
        ("key,family", &[("key", "id")], Ok(())),
        ("id,family", &[("kex", "id")], Err("--column names kex, which is no column of the file")),
        ("id,family", &[("family", "surnaem")], Err("--column names the field surnaem, which does not exist")),
        ("id,family,last_name", &[], Err("two columns are both family")),
        ("family,given", &[], Err("no column has the patient identifier")),
        ("id,family,family_2,birth_date_2", &[], Err("these columns are not known: birth_date_2")),
        ("", &[], Err("the file is empty")),
    ] {
        assert_eq!(open(header, columns), expected.map_err(str::to_owned), "{header}");
    }
}

#[test]
fn dates_are_read_in_the_order_that_was_told() {
    let birth = |dates, text: &str| {
        let rules = Rules { table: csv::Options { dates, ..csv::Options::default() }, ..rules() };
        let file = format!("id,birth_date\n1,{text}\n");
        let mut reader = Reader::open(Format::Csv, Cursor::new(file), Place::default(), rules).unwrap();
        match reader.next_piece().unwrap().unwrap().content {
            Ok(told) => match &told[0].change {
                FeedRequest::Add { demographics, .. } => demographics.birth.as_ref().map(|dtm| dtm.as_str().to_owned()),
                _ => None,
            },
            Err(_) => None,
        }
    };
    use csv::Dates;
    for (dates, text, expected) in [
        (Dates::Iso, "1987-03-12", Some("19870312")),
        (Dates::Iso, "03/12/1987", None),
        (Dates::Mdy, "03/12/1987", Some("19870312")),
        (Dates::Mdy, "3/2/1987", Some("19870302")),
        (Dates::Mdy, "13/02/1987", None),
        // Nobody knows the century.
        (Dates::Mdy, "03/12/87", None),
        (Dates::Dmy, "12.03.1987", Some("19870312")),
        (Dates::Dmy, "1987-03-12", Some("19870312")),
    ] {
        assert_eq!(birth(dates, text).as_deref(), expected, "{dates:?} {text}");
    }
}

#[test]
fn a_quotation_that_is_not_closed_costs_one_row_and_not_the_rest() {
    let row = format!("2,{}\n", "S".repeat(10_000));
    let text = format!("id,family\n1,\"Okafor\n{}3,Reed\n", row.repeat(LONGEST / row.len() + 2));
    let (found, _) = pieces_from(Format::Csv, text.as_bytes(), Place::default(), rules());
    assert_eq!(found[0], format!("2: {}", Unread::TooLong(LONGEST)));
    assert_eq!(found[1].trim_end_matches('S'), "3: add 2 ");
    assert!(found.last().unwrap().ends_with("add 3 Reed"), "{:?}", found.last());
}

const HEADER: &str = "MSH|^~\\&|ADT|HERE|||20260101120000||ADT^A28^ADT_A05|1|P|2.5\r";

fn message(event: &str, segments: &str) -> String {
    format!("{}EVN||20260101\r{segments}\r", HEADER.replace("A28^ADT_A05", event))
}

/// HL7 2.5 chapter 2.10.3: file and batch segments; MLLP frames; every kind of line end.
#[test]
fn messages_are_found_however_they_were_put_together() {
    let one = message("A28", "PID|||7^^^NORTH||Okafor^Ada||19870312|F\rPV1||N");
    let two = message("A40", "PID|||7^^^NORTH\rMRG|8^^^NORTH");
    let told = |lines: [u64; 2]| [format!("{}: add 7 Ada Okafor", lines[0]), format!("{}: merge 7 8", lines[1])];
    assert_eq!(pieces(Format::Hl7v2, &format!("{one}{two}")), told([1, 5]));
    assert_eq!(pieces(Format::Hl7v2, &format!("{one}{two}").replace('\r', "\r\n")), told([1, 5]));
    assert_eq!(pieces(Format::Hl7v2, &format!("{one}\n\n{two}").replace('\r', "\n")), told([1, 7]));
    assert_eq!(pieces(Format::Hl7v2, &format!("\x0B{one}\x1C\r\x0B{two}\x1C\r")), told([1, 6]));
    let batch = format!("FHS|^~\\&\rBHS|^~\\&\r{one}{two}BTS|2\rFTS|1\r");
    assert_eq!(pieces(Format::Hl7v2, &batch), told([3, 7]));
}

/// ITI TF-2: 3.30.4: what the version of a merge says about identifiers that nobody has, as in a feed.
#[test]
fn a_merge_in_a_file_is_that_of_its_version() {
    let merge = message("A40", "PID|||7^^^NORTH\rMRG|8^^^NORTH");
    for (version, merging) in
        [("2.3.1", MergeRules::BothKnown), ("2.4", MergeRules::BothKnown), ("2.5.1", MergeRules::Lenient)]
    {
        let text = merge.replace("|P|2.5\r", &format!("|P|{version}\r"));
        let mut reader =
            Reader::open(Format::Hl7v2, Cursor::new(text.into_bytes()), Place::default(), rules()).unwrap();
        let told = reader.next_piece().unwrap().unwrap().content.unwrap();
        assert_eq!(told[0].merging, merging, "{version}");
    }
}

#[test]
fn what_is_missing_from_a_batch_is_told() {
    let one = message("A28", "PID|||7^^^NORTH||Okafor^Ada");
    let (add, count) = ("3: add 7 Ada Okafor", "the batch trailer counts 2 messages, and 1 are there");
    let found = pieces(Format::Hl7v2, &format!("FHS|^~\\&\rBHS|^~\\&\r{one}BTS|2\rFTS|1\r"));
    assert!(found[0] == add && found[1].starts_with(&format!("6: {count}")), "{found:?}");
    assert_eq!(
        pieces(Format::Hl7v2, &format!("FHS|^~\\&\rBHS|^~\\&\r{one}")),
        [add, "6: the file ends before it is whole"]
    );
    let stray = pieces(Format::Hl7v2, &format!("{one}\rZZZ|what\r{one}").replace("\r\r", "\r\x1C\r"));
    assert_eq!(stray[1], "5: a line that belongs to no message");
    let unknown = pieces(Format::Hl7v2, &message("A28", "PID|||7^^^SOUTH||Okafor^Ada"));
    assert!(unknown[0].starts_with("1: ") && unknown[0].contains("PID"), "{unknown:?}");
}

#[test]
fn a_message_that_has_no_end_does_not_hide_the_next() {
    let long = format!("{HEADER}PID|||7^^^NORTH||{}\r", "x".repeat(LONGEST));
    let text = format!("{long}{}", message("A28", "PID|||8^^^NORTH||Reed"));
    let (found, _) = pieces_from(Format::Hl7v2, text.as_bytes(), Place::default(), rules());
    assert_eq!(found, [format!("1: {}", Unread::TooLong(LONGEST)), "3: add 8 Reed".to_owned()]);
}

const ADA: &str = r#"{"resourceType":"Patient","identifier":[{"system":"urn:oid:2.999.10","value":"007"}],"name":[{"family":"Okafor","given":["Ada"]}]}"#;

#[test]
fn resources_are_read_line_by_line() {
    let other = r#"{"resourceType":"Observation","id":"1"}"#;
    let foreign = ADA.replace("2.999.10", "2.999.99");
    let merged = r#"{"resourceType":"Patient","active":false,"identifier":[{"system":"urn:oid:2.999.10","value":"8"}],"link":[{"type":"replaced-by","other":{"identifier":{"system":"urn:oid:2.999.10","value":"007"}}}]}"#;
    let unused = merged.split(",\"link\"").next().unwrap().to_owned() + "}";
    let also = ADA.replace(
        "\"name\"",
        r#""link":[{"type":"seealso","other":{"identifier":{"system":"urn:oid:2.999.20","value":"W1"}}}],"name""#,
    );
    let text = format!("{ADA}\n\n{other}\n{foreign}\n{merged}\n{unused}\n{also}\n{{\"resourceType\":\n{ADA}");
    let found = pieces(Format::Ndjson, &text);
    assert_eq!(
        found[..6],
        [
            "1: add 007 Ada Okafor",
            "3: nothing",
            "4: no identifier of a domain that is configured here",
            "5: merge 007 8",
            "6: the record is not in use and names none that replaces it",
            "7: add 007 Ada Okafor, link W1 007",
        ]
    );
    assert!(found[6].starts_with("8: not well-formed JSON"), "{found:?}");
    assert_eq!(found[7], "9: add 007 Ada Okafor");
}

#[test]
fn entries_of_a_bundle_are_read_one_by_one() {
    let entry = format!("{{\"fullUrl\":\"urn:x\",\"resource\":{ADA}}}");
    let noise = r#""meta":{"entry":[1,2]},"note":"\"entry\":[ {","type":"collection""#;
    let bundle = format!(
        "{{\"resourceType\":\"Bundle\",{noise},\n\"entry\":[\n{entry},\n{{\"response\":{{\"status\":\"200\"}}}},\n{}\n],\n\"total\":2}}",
        entry.replace('}', "}\n")
    );
    assert_eq!(pieces(Format::FhirBundle, &bundle), ["3: add 007 Ada Okafor", "4: nothing", "5: add 007 Ada Okafor"]);
    assert_eq!(pieces(Format::FhirBundle, "{\"resourceType\":\"Bundle\"}"), [""; 0]);
    let deletion =
        bundle.replacen("\"fullUrl\"", "\"request\":{\"method\":\"DELETE\",\"url\":\"Patient/1\"},\"fullUrl\"", 1);
    assert_eq!(pieces(Format::FhirBundle, &deletion)[0], "3: a deletion, which an import does not do");
    for cut in [bundle.len() - 1, bundle.len() - 14, bundle.len() - 40, 30, 12] {
        let found = pieces_from(Format::FhirBundle, &bundle.as_bytes()[..cut], Place::default(), rules()).0;
        assert!(
            found.last().is_some_and(|last| last.ends_with("the file ends before it is whole")),
            "{cut}: {found:?}"
        );
    }
    let odd = "{\"resourceType\":\"Bundle\",\"entry\":[7,{}]}";
    assert_eq!(pieces(Format::FhirBundle, odd), ["1: an entry of the Bundle is no object"]);
}

/// The corpus: real resources of a Bulk Data export.
#[test]
fn patients_of_a_bulk_data_export_are_read() {
    let Some(text) = crate::testing::corpus("patients/synthea-patients-a.ndjson") else { return };
    let system = "https://github.com/synthetichealth/synthea";
    let domain = Domain { namespace: "SYNTHEA".into(), authority: AssigningAuthority::new(system, "URI").unwrap() };
    let rules = Rules { domains: Domains::new(vec![domain]), ..Rules::default() };
    let (found, _) = pieces_from(Format::Ndjson, &text, Place::default(), rules);
    assert_eq!(found.len(), 572);
    assert!(found.iter().all(|piece| piece.contains(": add ")), "{found:?}");
}

fn everything() -> Demographics {
    let id = |id: &str, oid: &str| PatientId::new(id, authority(oid)).unwrap();
    let telecom = |system, value: &str, usage: &str| Telecom { system, value: value.into(), usage: usage.into() };
    Demographics {
        names: vec![
            PersonName {
                suffix: "Jr".into(),
                kind: "L".into(),
                ..PersonName::new("Ökafor, \"Bo\"", &["Ada", "Mary Ann"])
            },
            PersonName { kind: "M".into(), ..PersonName::new("#Reed", &["Ada"]) },
            PersonName::new("Third", &[]),
        ],
        gender: Some(Gender::Female),
        birth: Some("19870312".parse::<Dtm>().unwrap()),
        addresses: vec![Address {
            lines: vec!["12 Elm St".into(), "Apt 3".into(), "Rear".into()],
            city: "Lakeside".into(),
            state: "WI".into(),
            postal_code: "02134".into(),
            country: "USA".into(),
            county: "Dane".into(),
            kind: "H".into(),
        }],
        telecoms: vec![
            telecom(TelecomSystem::Phone, "5035550100", "PRN"),
            telecom(TelecomSystem::Email, "ada@example.org", ""),
            telecom(TelecomSystem::Fax, "5035550101", "WPN"),
        ],
        mothers_maiden_name: Some(PersonName::new("Stone", &["Eve"])),
        mothers_ids: vec![id("M-1", "2.999.10")],
        other_ids: vec![id("123-45-6780", crate::mpi::normalize::SSN_OID), id("D-1", "2.999.77")],
        account: Some(id("A-1", "2.999.10")),
        birth_place: Some("Old Ferry".into()),
        multiple_birth: Some(MultipleBirth { multiple: true, order: Some(2) }),
        death: Some("20250101".parse::<Dtm>().unwrap()),
        deceased: Some(true),
        marital_status: Some("M".into()),
        language: Some("en".into()),
        race: Some("2106-3".into()),
        ethnicity: Some("2186-5".into()),
        identity_unknown: true,
    }
}

fn read_one(format: Format, bytes: Vec<u8>) -> Vec<Told> {
    let mut reader = Reader::open(format, Cursor::new(bytes), Place::default(), rules()).unwrap();
    let mut told = Vec::new();
    while let Some(piece) = reader.next_piece().unwrap() {
        told.extend(piece.content.unwrap());
    }
    told
}

/// A table carries every value, in a column of its own or in `record`.
#[test]
fn a_table_has_a_place_for_everything() {
    let at = Timestamp::from_millis(1_760_000_000_123);
    let id = |text: &str| PatientId::new(text, authority("2.999.20")).unwrap();
    for demographics in [Demographics::default(), everything()] {
        let change =
            FeedRequest::Add { ids: vec![id("0^7"), id("8,\"9\"")], demographics: Box::new(demographics.clone()) };
        let mut file = csv::heading();
        file.extend(csv::encode(&change, at, &rules()));
        let told = read_one(Format::Csv, file);
        assert_eq!((told.len(), told[0].at), (1, Some(at)));
        assert!(told[0].change == change, "{}", String::from_utf8_lossy(&csv::encode(&change, at, &rules())));
    }
    let pair = || Pair { survivor: id("1"), subsumed: id("2") };
    for change in [
        FeedRequest::Merge(vec![pair()]),
        FeedRequest::ChangeId(vec![pair()]),
        FeedRequest::Link(id("1"), id("2")),
        FeedRequest::Unlink(id("1"), id("2")),
    ] {
        let mut file = csv::heading();
        file.extend(csv::encode(&change, at, &rules()));
        assert!(read_one(Format::Csv, file)[0].change == change, "{}", short(&change));
        let message = hl7v2::encode(&change, 1, at, &rules().domains);
        assert!(hl7v2::is_whole(&change, &message, &rules().domains), "{}", short(&change));
    }
}

#[test]
fn a_record_that_contradicts_its_columns_is_rejected() {
    let id = PatientId::new("1", authority("2.999.10")).unwrap();
    let change = FeedRequest::Add { ids: vec![id], demographics: Box::new(everything()) };
    let row = String::from_utf8(csv::encode(&change, Timestamp::from_millis(0), &rules())).unwrap();
    let file = [csv::heading(), row.replacen("02134", "02135", 1).into_bytes()].concat();
    let mut reader = Reader::open(Format::Csv, Cursor::new(file), Place::default(), rules()).unwrap();
    let unread = reader.next_piece().unwrap().unwrap().content.unwrap_err();
    assert_eq!(unread, Unread::Row(csv::RowError::Contradiction));
}

#[test]
fn what_a_form_of_file_cannot_carry_is_noticed() {
    let id = PatientId::new("1", authority("2.999.10")).unwrap();
    let at = Timestamp::from_millis(0);
    for (demographics, whole) in [(Demographics::default(), true), (everything(), false)] {
        let change = FeedRequest::Add { ids: vec![id.clone()], demographics: Box::new(demographics) };
        let message = hl7v2::encode(&change, 1, at, &rules().domains);
        assert_eq!(hl7v2::is_whole(&change, &message, &rules().domains), whole);
        let line = fhir::encode(&change, at, &rules().domains).unwrap();
        assert_eq!(fhir::is_whole(&change, &line, &rules().domains), whole);
    }
}

proptest! {
    /// Whatever a file is, it is read to its end without a panic, and from each place the rest is the same.
    #[test]
    fn any_file_is_read_to_its_end(text in "[a-z,;\"\\r\\n{}\\[\\]:|^#MSHBT\\x0B\\x1C ]{0,200}") {
        for format in [Format::Csv, Format::Hl7v2, Format::FhirBundle, Format::Ndjson] {
            let start = match format {
                Format::Csv => "id,family\n",
                Format::Hl7v2 => HEADER,
                Format::FhirBundle => "{\"entry\":[",
                Format::Ndjson => "{\"resourceType\":\"Patient\"}\n",
            };
            let text = format!("{start}{text}");
            let (found, places) = pieces_from(format, text.as_bytes(), Place::default(), rules());
            if let (Some(place), Some(rest)) = (places.first(), found.get(1..)) {
                prop_assert_eq!(&pieces_from(format, text.as_bytes(), *place, rules()).0[..], rest);
            }
        }
    }

    /// Values come back as they were, whatever is in them.
    #[test]
    fn a_table_gives_back_what_it_was_given(family in "\\PC{1,20}", given in "\\PC{0,12}", line in "\\PC{0,20}") {
        let demographics = Demographics {
            names: vec![PersonName { family: family.as_str().into(), given: vec![given.as_str().into()], ..PersonName::default() }],
            addresses: vec![Address { lines: vec![line.as_str().into()], city: "X".into(), ..Address::default() }],
            ..Demographics::default()
        };
        let id = PatientId::new("1", authority("2.999.10")).unwrap();
        let change = FeedRequest::Add { ids: vec![id], demographics: Box::new(demographics) };
        let file = [csv::heading(), csv::encode(&change, Timestamp::from_millis(0), &rules())].concat();
        prop_assert!(read_one(Format::Csv, file)[0].change == change);
    }
}
