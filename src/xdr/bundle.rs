//! A Bundle of documents (ITI-65) as it is sent: made without the documents' bytes, each of which takes its place on the
//! way, read from the disk as base64. However large the documents are, a piece of one is in memory at a time.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// Stands for a document's bytes in a Bundle. No other text has its base64 in it: it is random.
pub struct Placeholder(String);

impl Placeholder {
    /// One that there was never before.
    pub fn random() -> Self {
        // As long as leaves base64 without padding.
        let bytes = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
        Self(STANDARD.encode(&bytes[..24]))
    }

    /// The bytes to make the Bundle with.
    pub fn bytes(&self) -> Bytes {
        STANDARD.decode(&self.0).unwrap_or_default().into()
    }
}

/// The text of a Bundle with each document in the place of what stands for it.
pub fn filled(text: String, documents: Vec<(Placeholder, Pieces)>) -> Pieces {
    let placed = documents.into_iter().filter_map(|(placeholder, content)| {
        let start = text.find(&placeholder.0)?;
        Some((start, start + placeholder.0.len(), content))
    });
    let mut placed: Vec<_> = placed.collect();
    placed.sort_by_key(|(start, ..)| *start);
    let text = Bytes::from(text);
    let mut parts: Vec<Pieces> = Vec::new();
    let mut from = 0;
    for (start, end, content) in placed {
        let before = text.slice(from..start);
        parts.push(stream::iter([Ok(before)]).boxed());
        parts.push(in_base64(content));
        from = end;
    }
    let rest = text.slice(from..);
    parts.push(stream::iter([Ok(rest)]).boxed());
    stream::iter(parts).flatten().boxed()
}

/// Bytes as base64. Three of them at a time become text, so up to two wait for the next piece.
fn in_base64(content: Pieces) -> Pieces {
    let next = |state: Option<(Pieces, Vec<u8>)>| async move {
        let (mut content, mut waiting) = state?;
        match content.next().await {
            Some(Ok(piece)) => {
                waiting.extend_from_slice(&piece);
                let left = waiting.split_off(waiting.len() - waiting.len() % 3);
                Some((Ok(Bytes::from(STANDARD.encode(&waiting))), Some((content, left))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Ok(Bytes::from(STANDARD.encode(&waiting))), None)),
        }
    };
    stream::unfold(Some((content, Vec::new())), next).boxed()
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, TryStreamExt};

    use super::*;

    fn pieces(content: &[u8], length: usize) -> Pieces {
        let pieces: Vec<_> = content.chunks(length).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        stream::iter(pieces).boxed()
    }

    fn sent(pieces: Pieces) -> io::Result<String> {
        let whole: Vec<Bytes> = pieces.try_collect().now_or_never().unwrap()?;
        Ok(String::from_utf8(whole.concat()).unwrap())
    }

    #[test]
    fn documents_are_where_their_placeholders_were_in_whatever_order_they_are_given() {
        let contents: Vec<Vec<u8>> = (0..20).map(|length| (0..length).collect()).collect();
        for length in [1, 2, 3, 7, 64] {
            let placeholders: Vec<_> = contents.iter().map(|_| Placeholder::random()).collect();
            let tokens = placeholders.iter().map(|one| STANDARD.encode(one.bytes()));
            let text: String = tokens.map(|token| format!("{{\"data\":\"{token}\"}}")).collect();
            let expected: String =
                contents.iter().map(|content| format!("{{\"data\":\"{}\"}}", STANDARD.encode(content))).collect();
            let documents = placeholders.into_iter().zip(&contents).rev();
            let documents = documents.map(|(one, content)| (one, pieces(content, length))).collect();
            assert_eq!(sent(filled(text, documents)).unwrap(), expected, "{length}");
        }
    }

    #[test]
    fn a_document_that_breaks_off_breaks_the_bundle_off() {
        let placeholder = Placeholder::random();
        let text = STANDARD.encode(placeholder.bytes());
        let broken = vec![Ok(Bytes::from_static(b"half")), Err(io::Error::other("damaged"))];
        let broken = stream::iter(broken).boxed();
        assert!(sent(filled(text, vec![(placeholder, broken)])).is_err());
    }
}
