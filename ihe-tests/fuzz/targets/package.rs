//! A SOAP message taken from a body that comes in pieces, plain or multipart, with its documents.
//!
//! The input is a Content-Type, a line feed, a byte that says how the body is cut, and the body.
#![no_main]

use bytes::Bytes;
use causeway::routing::package::{BodyError, read};
use futures_util::{FutureExt, StreamExt, stream};
use libfuzzer_sys::fuzz_target;

const LONGEST_ENVELOPE: usize = 64 << 10;

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else { return };
    let header = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let pieces: Vec<Result<Bytes, BodyError>> =
        causeway_fuzz::pieces(&bytes[end + 1..]).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let reading = async {
        let header = Some(header.as_str()).filter(|header| !header.is_empty());
        let Ok(mut package) = read(header, stream::iter(pieces).boxed(), LONGEST_ENVELOPE).await else { return };
        assert!(package.root.len() <= LONGEST_ENVELOPE, "an envelope within its limit");
        while let Ok(Some(_)) = package.attachments.next_part().await {
            while let Ok(Some(piece)) = package.attachments.next_piece().await {
                assert!(!piece.is_empty(), "a piece has bytes");
            }
        }
    };
    reading.now_or_never().expect("everything is there, so nothing waits");
});
