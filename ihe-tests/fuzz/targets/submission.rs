//! A whole ITI-41 or ITI-80 as it comes over HTTP: package, envelope, metadata, documents, whom it is for, and what waits in
//! the queue of it. The input is that of `package`.
#![no_main]

use bytes::Bytes;
use causeway::id::{Code, TraceId};
use causeway::metadata::DocumentEntry;
use causeway::routing::package::{BodyError, read};
use causeway::soap::envelope::Envelope;
use causeway::soap::mtom::content_id;
use causeway::xdr::recipient::recipient;
use causeway::xdr::{Enclosed, Parcel};
use causeway::xds::provide::{Content, Request, home_of_header, xdr_rules};
use causeway::xml::{Limits, decode_text, parse};
use futures_util::{FutureExt, StreamExt, stream};
use libfuzzer_sys::fuzz_target;

const LONGEST_ENVELOPE: usize = 64 << 10;

/// Reads a submission with the sizes of the attachments that it refers to.
async fn submission(header: Option<&str>, pieces: Vec<Result<Bytes, BodyError>>) -> Option<(Request, Vec<u64>)> {
    let mut package = read(header, stream::iter(pieces).boxed(), LONGEST_ENVELOPE).await.ok()?;
    let text = decode_text(&package.root, package.charset.as_deref()).ok()?;
    let tree = parse(&text, &Limits::default()).ok()?;
    let envelope = Envelope::read(&tree).ok()?;
    let home = envelope.header.and_then(home_of_header);
    assert!(home.is_none_or(|home| !home.to_string().is_empty()), "a community has a name");
    let request = Request::decode(envelope.body, xdr_rules(envelope.header, true)).ok()?;
    let mut sizes = Vec::new();
    while let Ok(Some(part)) = package.attachments.next_part().await {
        let meant = request.documents.iter().any(|document| match &document.content {
            Content::Attached(cid) => content_id(cid) == part.content_id,
            Content::Inline(_) => false,
        });
        let mut size = 0;
        while let Ok(Some(piece)) = package.attachments.next_piece().await {
            size += piece.len() as u64;
        }
        if meant {
            sizes.push(size);
        }
    }
    Some((request, sizes))
}

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else { return };
    let header = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let header = Some(header.as_str()).filter(|header| !header.is_empty());
    let pieces = causeway_fuzz::pieces(&bytes[end + 1..]).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let read = submission(header, pieces).now_or_never().expect("everything is there, so nothing waits");
    let Some((request, sizes)) = read else { return };
    let mut submission = request.registration.submission;
    for intended in &submission.set.intended_recipients {
        assert!(recipient(&[], intended).is_none(), "nobody is meant where nobody is");
    }
    submission.assign_ids();
    let enclosed = |(entry, size): (&DocumentEntry, &u64)| Enclosed {
        entry: entry.id.clone(),
        sha256: "00".into(),
        size: *size,
    };
    let documents = submission.entries.iter().zip(&sizes).map(enclosed).collect();
    let code = Code::new("TREATMENT", "2.999.9", "");
    let (sender, user) = ("lab".into(), "someone".into());
    let home = request.registration.home;
    let parcel = Parcel { submission, documents, home, sender, user, role: code.clone(), purpose: code };
    let draft = parcel.draft("recipient/ward".into(), TraceId::new()).expect("what was read can be kept");
    let kept: Parcel = serde_json::from_slice(&draft.body).expect("what was kept can be read");
    assert_eq!(kept.fingerprint().ok(), parcel.fingerprint().ok(), "a parcel is the same after it waited");
});
