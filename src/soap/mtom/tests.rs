use proptest::prelude::*;

use super::*;
use crate::testing;

const HEADER: &str = "multipart/related; boundary=b; start=\"<r@x>\"; type=\"application/xop+xml\"";

fn header(text: &str) -> ContentType {
    ContentType::parse(text).unwrap()
}

fn read(body: impl AsRef<[u8]>) -> Result<Package, MtomError> {
    read_all(body.as_ref(), &header(HEADER), Limits::default())
}

/// Root, then parts, each as `id=content`.
#[track_caller]
fn check(body: impl AsRef<[u8]>, parts: &[&str]) {
    let package = read(body.as_ref()).unwrap();
    let found: Vec<String> = std::iter::once(&package.root).chain(&package.parts).map(told).collect();
    assert_eq!(found, parts, "{}", String::from_utf8_lossy(body.as_ref()));
}

fn told(part: &Part) -> String {
    let id = part.headers.content_id.as_deref().unwrap_or("-");
    format!("{id}={}", String::from_utf8_lossy(&part.content))
}

/// What a reader gives for a body in pieces of these sizes (the last one repeats).
fn in_pieces(boundary: &str, body: &[u8], sizes: &[usize]) -> Result<Vec<(PartHeaders, Vec<u8>)>, MtomError> {
    let mut reader = Reader::new(boundary, Limits::default())?;
    let (mut parts, mut rest, mut sizes) = (Vec::new(), body, sizes.iter().cycle());
    let (mut done, mut finished) = (false, false);
    loop {
        while let Some(event) = reader.next()? {
            match event {
                Event::PartStart(headers) => parts.push((headers, Vec::new())),
                Event::Data(data) => parts.last_mut().unwrap().1.extend_from_slice(&data),
                Event::PartEnd => {}
                Event::End => done = true,
            }
        }
        if done {
            return Ok(parts);
        }
        if rest.is_empty() {
            assert!(!finished, "a finished body has an end or an error");
            reader.finish();
            finished = true;
            continue;
        }
        let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap().max(&1)));
        reader.push(piece);
        rest = after;
    }
}

const PACKAGE: &str = "before\r\n--b\r\nContent-Type: application/xop+xml\r\nContent-ID: <r@x>\r\n\r\n<e/>\r\n\
    --b \r\ncontent-id: <1@x>\r\n\r\none\r\n\r\n--bee\r\n--b\r\nContent-ID: <2@x>\r\n\
    Content-Transfer-Encoding: base64\r\n\r\ndHdv\r\nIQ==\r\n--b--\r\nafter";

#[test]
fn parts_are_what_stands_between_delimiters() {
    check(PACKAGE, &["r@x=<e/>", "1@x=one\r\n\r\n--bee", "2@x=two!"]);
}

#[test]
fn no_byte_position_of_a_network_read_changes_the_result() {
    let whole = in_pieces("b", PACKAGE.as_bytes(), &[PACKAGE.len()]).unwrap();
    assert_eq!(whole.len(), 3);
    for at in 1..PACKAGE.len() {
        assert_eq!(in_pieces("b", PACKAGE.as_bytes(), &[at, PACKAGE.len()]).as_ref(), Ok(&whole), "split at {at}");
        assert_eq!(in_pieces("b", PACKAGE.as_bytes(), &[at]).as_ref(), Ok(&whole), "pieces of {at}");
    }
}

/// ihe-soap 11.1: what partners really send.
#[test]
fn bodies_of_live_partners_are_forgiven() {
    // Line ends of LF alone; a CR before the delimiter is content then.
    check("--b\nContent-ID: <r@x>\n\n<e/>\n--b\nContent-ID: <1@x>\n\none\r\n--b--\n", &["r@x=<e/>", "1@x=one\r"]);
    // The sample of ITI TF-2: V.8 closes without `--`.
    for tail in ["", "\r\n", " \r\n\r\n", "\n"] {
        check(format!("--b\r\nContent-ID: <r@x>\r\n\r\n<e/>\r\n--b{tail}"), &["r@x=<e/>"]);
    }
    // Text stuck to the last delimiter.
    check("--b\r\n\r\n<e/>\r\n--b--and a log line", &["-=<e/>"]);
    // No `<>`, other case of header names, folded header, percent-encoded id.
    check("--b\r\nCONTENT-ID:\r\n  r%40x\r\n\r\n<e/>\r\n--b--", &["r@x=<e/>"]);
    // The root need not come first, and a start that names nothing means the first.
    check(
        "--b\r\nContent-ID: <1@x>\r\n\r\none\r\n--b\r\nContent-ID: <r@x>\r\n\r\n<e/>\r\n--b--",
        &["r@x=<e/>", "1@x=one"],
    );
    check(
        "--b\r\nContent-ID: <q@x>\r\n\r\n<e/>\r\n--b\r\nContent-ID: <1@x>\r\n\r\none\r\n--b--",
        &["q@x=<e/>", "1@x=one"],
    );
    // Parts without content, with and without the blank line.
    check(
        "--b\r\n\r\n<e/>\r\n--b\r\nContent-ID: <1@x>\r\n\r\n--b\r\nContent-ID: <2@x>\r\n--b--",
        &["-=<e/>", "1@x=", "2@x="],
    );
    // Quoted-printable.
    check(
        "--b\r\nContent-Transfer-Encoding: Quoted-Printable\r\n\r\n<e a=3D\"1\"/>=\r\n\r\n--b--",
        &["-=<e a=\"1\"/>"],
    );
}

#[test]
fn content_is_kept_byte_for_byte() {
    let content: &[u8] = b"\xEF\xBB\xBFcaf\xE9\0\xFF--b\r\n--b\x0B\r\n --b\r\n\n--bb\r\n\r\n";
    let body = [b"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n", content, b"\r\n--b--"].concat();
    let package = read(&body).unwrap();
    assert_eq!(&package.root.content[..], content);
    assert_eq!(package.root.headers.content_type.as_deref(), Some("text/plain; charset=iso-8859-1"));
}

#[test]
fn a_package_inside_a_part_stays_bytes() {
    let inner = "--inner\r\nContent-ID: <r@x>\r\n\r\nnested\r\n--inner--\r\n";
    let body = format!(
        "--b\r\nContent-ID: <r@x>\r\n\r\n<e/>\r\n--b\r\nContent-Type: multipart/mixed; boundary=inner\r\n\r\n{inner}\r\n--b--"
    );
    check(body, &["r@x=<e/>", &format!("-={inner}")]);
}

/// ITI TF-2: V.8; ihe-soap 11.4: an ITI-39 answer that is not multipart at all.
#[test]
fn a_plain_envelope_is_a_package_of_one_part() {
    for claimed in [HEADER, "application/soap+xml", "multipart/related"] {
        let package = read_all(b"<?xml version='1.0'?><e/>", &header(claimed), Limits::default()).unwrap();
        assert_eq!(&package.root.content[..], b"<?xml version='1.0'?><e/>", "{claimed}");
        assert!(package.parts.is_empty());
    }
    let package = read_all(&PACKAGE.as_bytes()[8..], &header("application/soap+xml"), Limits::default()).unwrap();
    assert_eq!(package.parts.len(), 2);
}

#[test]
fn what_is_cut_short_is_not_taken_for_a_package() {
    let body = "--b\r\nContent-ID: <r@x>\r\n\r\n<e/>\r\n--b\r\nContent-ID: <1@x>\r\n\r\none\r\n--b--";
    for length in 1..body.len() {
        let found = in_pieces("b", &body.as_bytes()[..length], &[7]);
        let expected = match &body[..length] {
            // Before the delimiter is complete no part has begun.
            cut if cut.len() < 3 => Err(MtomError::NoParts),
            "--b" | "--b\r" | "--b\r\n" => Err(MtomError::NoParts),
            // A delimiter at a clean end: only its `--` is missing.
            cut if ["--b", "--b\r", "--b\r\n"].iter().any(|end| cut.ends_with(end)) => Ok(()),
            _ => Err(MtomError::Truncated),
        };
        let expected = if length == 4 && body.as_bytes()[3] == b'-' { Err(MtomError::NoParts) } else { expected };
        assert_eq!(found.map(|_| ()), expected, "{:?}", &body[..length]);
    }
}

#[test]
fn references_and_ids_are_compared_decoded_and_in_their_own_case() {
    for (href, id) in [
        ("cid:1@x", "<1@x>"),
        ("cid:1%40x", "1@x"),
        ("CID:1@x", "<1%40x>"),
        (" cid:<1@x> ", " <1@x> "),
        ("cid:0.urn:uuid:3D4B@apache.org", "<0.urn%3Auuid%3A3D4B@apache.org>"),
        ("cid:100%", "<100%>"),
        ("cid:%zz", "<%zz>"),
    ] {
        assert_eq!(cid_of(href), content_id(id), "{href} {id}");
        assert!(cid_of(href).is_some());
    }
    assert_ne!(cid_of("cid:A@x"), content_id("<a@x>"));
    for href in ["", "cid:", "cid:<>", "http://x", "1@x", "cié:1"] {
        assert_eq!(cid_of(href), None, "{href}");
    }
}

#[test]
fn hostile_bodies_cost_no_more_than_the_limits() {
    let limits = Limits { header_bytes: 100, parts: 3, preamble_bytes: 50 };
    let long = "x".repeat(200);
    let lines = "X: y\r\n".repeat(40);
    for (body, error) in [
        (format!("--b\r\nX: {long}"), MtomError::HeadersTooLong(100)),
        (format!("--b\r\n{lines}\r\n"), MtomError::HeadersTooLong(100)),
        (format!("--b\r\n{}x", " ".repeat(200)), MtomError::HeadersTooLong(100)),
        ("--b\r\n\r\nx\r\n".repeat(5), MtomError::TooManyParts(3)),
        ("--b\r\n".repeat(500), MtomError::TooManyParts(3)),
        (format!("{long}\r\n--b\r\n"), MtomError::PreambleTooLong(50)),
        (long.clone(), MtomError::PreambleTooLong(50)),
        ("--b--".into(), MtomError::NoParts),
        (String::new(), MtomError::NoParts),
        ("--b\r\nContent-Transfer-Encoding: gzip64\r\n\r\n".into(), MtomError::UnknownEncoding),
        ("--b\r\nContent-Transfer-Encoding: base64\r\n\r\n<e/>\r\n--b--".into(), MtomError::BadBase64),
        (
            "--b\r\nContent-ID: <1@x>\r\n\r\n\r\n--b\r\nContent-ID: 1%40x\r\n\r\n--b--".into(),
            MtomError::DuplicateContentId,
        ),
    ] {
        for size in [1, 13, body.len().max(1)] {
            let mut reader = Reader::new("b", limits).unwrap();
            let mut found = None;
            for piece in body.as_bytes().chunks(size) {
                reader.push(piece);
                while found.is_none() {
                    match reader.next() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(error) => found = Some(error),
                    }
                }
            }
            reader.finish();
            while found.is_none() {
                match reader.next() {
                    Ok(event) => assert!(event.is_some(), "no end: {body:?}"),
                    Err(error) => found = Some(error),
                }
            }
            assert_eq!(found.as_ref(), Some(&error), "{body:?} in pieces of {size}");
            assert_eq!(reader.next(), Err(error.clone()), "an error stays");
        }
    }
    for boundary in ["", " ", "a\r\nb", &long.repeat(2)] {
        assert_eq!(Reader::new(boundary, limits).err(), Some(MtomError::NoBoundary), "{boundary:?}");
    }
}

#[test]
fn a_long_document_passes_through_a_small_window() {
    let mut reader = Reader::new("b", Limits::default()).unwrap();
    reader.push(b"--b\r\n\r\n");
    let piece = b"\r\n--almost\r\n--".repeat(1000);
    let mut seen = 0;
    for round in 1..=100 {
        reader.push(&piece);
        while let Some(event) = reader.next().unwrap() {
            if let Event::Data(data) = event {
                seen += data.len();
            }
        }
        let held = round * piece.len() - seen;
        assert!(held < 20, "{held} bytes are held back");
    }
}

/// Each capture of the corpus: how many parts it has, and that every reference in its envelope finds one.
#[test]
fn captures_of_the_corpus_are_read() {
    const FILES: [(&str, usize); 12] = [
        ("mtom/epd-iti-41_request.mime.txt", 0),
        ("mtom/epd-iti-41_request_raw.mime.txt", 2),
        ("mtom/epd-iti-41_response_raw.mime.txt", 1),
        ("mtom/nist-data-httpparser-http-mtom-pnr.txt", 2),
        ("mtom/nist-data-httpparser-http-simple.txt", 1),
        ("mtom/nist-pnrxop-xop-body.txt", 2),
        ("mtom/openhim-pnr_e2e_mtom.mime.txt", 2),
        ("mtom/openhim-pnrbasicmtom.mime.txt", 2),
        ("mtom/openhim-pnrmodifiedmtom.mime.txt", 2),
        ("mtom/openhim-pnrresponse_e2e.mime.txt", 2),
        ("mtom/openhim-pnrresponse_wsoap.mime.txt", 2),
        ("mtom/openhim-retrieveresponse_wsoap.mime.txt", 2),
    ];
    let manifest = testing::manifest("mtom/");
    for (path, count) in FILES {
        let Some(file) = testing::corpus(path) else { return };
        assert!(manifest.iter().any(|row| row[0] == path), "{path} is in the manifest");
        let (value, body) = http_message(&file);
        let found = read_all(body, &header(&value), Limits::default());
        if count == 0 {
            // Printed with line numbers, so it has no delimiter at the beginning of a line.
            assert_eq!(found.err(), Some(MtomError::PreambleTooLong(4096)), "{path}");
            continue;
        }
        let package = found.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(1 + package.parts.len(), count, "{path}");
        let envelope = String::from_utf8(package.root.content.to_vec()).unwrap();
        assert!(envelope.contains("Envelope>") || path.contains("basic") || path.contains("modified"), "{path}");
        for (at, _) in envelope.match_indices("href=\"cid:") {
            let href = envelope[at + 6..].split('"').next().unwrap();
            // One capture is an envelope alone, whose reference leads nowhere.
            let alone = path.ends_with("http-simple.txt");
            assert_eq!(package.part(href).is_none(), alone, "{path}: {href}");
        }
        for size in [1, 64, 1000] {
            let Ok(Shape::Multipart { boundary }) = sniff(&header(&value), body) else { break };
            assert_eq!(in_pieces(&boundary, body, &[size]).unwrap().len(), count, "{path} in pieces of {size}");
        }
    }
    assert_eq!(manifest.len(), FILES.len(), "every capture of the manifest is read");
}

/// Content-Type and body of a capture with HTTP headers; of one without, what its first line says.
fn http_message(file: &[u8]) -> (String, &[u8]) {
    let text = String::from_utf8_lossy(file);
    if text.starts_with("--") {
        return ("multipart/related".into(), file);
    }
    let line = text.lines().find_map(|line| Some(line[line.find("Content-Type: ")? + 14..].to_owned())).unwrap();
    // A capture with line numbers has no blank line.
    let body_at = memchr::memmem::find(file, b"\n\n").map_or(0, |at| at + 2);
    (line, &file[body_at..])
}

#[test]
fn no_content_reaches_a_log() {
    let package = read("--b\r\nContent-ID: <1@x>\r\n\r\nCanary\r\n--b\r\n\r\nCanary\r\n--b--").unwrap();
    let text = format!("{package:?} {:?} {:?}", package.parts, Event::Data(Bytes::from_static(b"Canary")));
    assert!(!text.contains("Canary") && !text.contains("67, 97"), "{text}");
}

/// Bytes that are often a delimiter or nearly one.
fn nearly_multipart() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(b"\r\n--b".to_vec()),
        Just(b"\n--b".to_vec()),
        Just(b"--b\r\n".to_vec()),
        Just(b"--b--".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\n\n".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        Just(b" ".to_vec()),
        Just(b"-".to_vec()),
        Just(b"Content-ID: <1>\r\n".to_vec()),
        Just(b"Content-Transfer-Encoding: base64\r\n".to_vec()),
        Just(b"Content-Transfer-Encoding: quoted-printable\n".to_vec()),
        Just(b"=0A=\r\n".to_vec()),
        Just(b"QUJD".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn pieces_never_change_the_result(body in nearly_multipart(), sizes in proptest::collection::vec(1_usize..20, 1..6)) {
        prop_assert_eq!(in_pieces("b", &body, &sizes), in_pieces("b", &body, &[body.len()]));
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300), value: String) {
        let _ = read(&body);
        if let Ok(content_type) = ContentType::parse(&value) {
            let _ = read_all(&body, &content_type, Limits::default());
        }
        let _ = (cid_of(&value), decode_base64(&value));
    }

    #[test]
    fn any_content_survives_a_package(content: Vec<u8>, text in "[ -~]{0,40}") {
        let id = ContentId::random();
        let (value, body) = write_all(Some("urn:a"), &text, &[(id.clone(), "a/b", &content)]);
        let package = read_all(&body, &header(&value), Limits::default()).unwrap();
        prop_assert_eq!(&package.root.content[..], text.as_bytes());
        prop_assert_eq!(&package.part(&id.href()).unwrap().content[..], &content[..]);
    }
}
