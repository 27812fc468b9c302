//! MTOM packages: a body that comes in pieces of any length has the same parts, or the same error, as at once.
//!
//! The input is a Content-Type, a line feed, a byte that says how the body is cut, and the body.
#![no_main]

use causeway::soap::mtom::{ContentType, Event, Limits, MtomError, PartHeaders, Reader, read_all};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else { return };
    let Ok(content_type) = ContentType::parse(&String::from_utf8_lossy(&bytes[..end])) else { return };
    let cut = &bytes[end + 1..];
    let whole = cut.get(1..).unwrap_or_default();
    let _ = read_all(whole, &content_type, Limits::default());
    let Some(boundary) = content_type.boundary() else { return };
    if Reader::new(boundary, Limits::default()).is_ok() {
        assert_eq!(parts(boundary, causeway_fuzz::pieces(cut)), parts(boundary, [whole]), "pieces make other parts");
    }
});

type Parts = Vec<(PartHeaders, Vec<u8>)>;

fn parts<'b>(boundary: &str, pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<Parts, MtomError> {
    let mut reader = Reader::new(boundary, Limits::default())?;
    let mut parts = Parts::new();
    for piece in pieces {
        reader.push(piece);
        take(&mut reader, &mut parts)?;
    }
    reader.finish();
    take(&mut reader, &mut parts)?;
    Ok(parts)
}

fn take(reader: &mut Reader, parts: &mut Parts) -> Result<(), MtomError> {
    while let Some(event) = reader.next()? {
        match event {
            Event::PartStart(headers) => parts.push((headers, Vec::new())),
            Event::Data(data) => parts.last_mut().expect("content belongs to a part").1.extend_from_slice(&data),
            Event::PartEnd => {}
            Event::End => break,
        }
    }
    Ok(())
}
