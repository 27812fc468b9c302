//! Clinical documents: what they are, and their headers.
#![no_main]

use causeway::cda::{Limits, check_required, header, sniff};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    sniff(bytes).media_type();
    let Ok(header) = header::read(bytes, &Limits::default()) else { return };
    check_required(&header);
    header.document_type();
    header.release();
    header.format_code();
    header.unique_id();
});
