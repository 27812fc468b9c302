//! Files of patients in every form: read to their end, and from any place where a reader stopped with the same result.
#![no_main]

use std::io::Cursor;

use causeway::bulk::csv::Options;
use causeway::bulk::{Format, Reader, Rules};
use causeway::storage::identities::Place;
use causeway_fuzz::DOMAINS;
use libfuzzer_sys::fuzz_target;

fn read(format: Format, bytes: &[u8], from: Place) -> Vec<(u64, u64, u64, bool, Place)> {
    let rules = Rules { domains: DOMAINS.clone(), default_authority: None, table: Options::default() };
    let Ok(mut reader) = Reader::open(format, Cursor::new(bytes), from, rules) else { return Vec::new() };
    let mut pieces = Vec::new();
    while let Some(piece) = reader.next_piece().expect("memory is readable") {
        assert!(piece.from <= piece.to && piece.to <= bytes.len() as u64);
        pieces.push((piece.line, piece.from, piece.to, piece.content.is_ok(), reader.place()));
    }
    pieces
}

fuzz_target!(|bytes: &[u8]| {
    for format in [Format::of(bytes), Format::Csv, Format::Hl7v2, Format::FhirBundle, Format::Ndjson] {
        let pieces = read(format, bytes, Place::default());
        let middle = pieces.len() / 2;
        if let Some((.., place)) = pieces.get(middle) {
            assert_eq!(read(format, bytes, *place), pieces[middle + 1..], "{format:?}");
        }
    }
});
