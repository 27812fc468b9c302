//! A SOAP message as it comes over HTTP, request or answer: the envelope in memory, the documents as a stream behind
//! it. Parts that come before the envelope wait in memory, within the same limit.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};

use super::exchange::CallBody;
use crate::soap::mtom::{
    ContentId, ContentType, Event, Limits as MtomLimits, MtomError, PartHeaders, Reader, SNIFF_BYTES, Shape, Writer,
    root_of, sniff,
};

/// A body as it comes.
pub type Pieces = BoxStream<'static, Result<Bytes, BodyError>>;

/// Why a body broke off, in words for people: the two ends of a connection have different reasons.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(pub String);

/// Why a message could not be taken from its body.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PackageError {
    /// The body itself.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The multipart frame.
    #[error(transparent)]
    Mtom(#[from] MtomError),
    /// The envelope, with what came before it, is longer than the limit.
    #[error("the envelope is longer than {0} bytes")]
    TooLong(usize),
    /// Nothing came.
    #[error("the body is empty")]
    Empty,
}

/// A message, its documents still on their way.
pub struct Package {
    /// The envelope.
    pub root: Bytes,
    /// The charset of the envelope's media type.
    pub charset: Option<String>,
    /// Whether the message came as a multipart package.
    pub multipart: bool,
    /// What comes after it.
    pub attachments: Attachments,
}

/// The documents behind an envelope, read in their order.
pub struct Attachments {
    early: VecDeque<(PartHeaders, Bytes)>,
    open: Option<Bytes>,
    rest: Option<(Reader, Pieces)>,
}

impl Attachments {
    /// No documents.
    pub fn none() -> Self {
        Self { early: VecDeque::new(), open: None, rest: None }
    }

    /// The next document; what is left of the one before is skipped. None when there are no more.
    pub async fn next_part(&mut self) -> Result<Option<PartHeaders>, PackageError> {
        self.open = None;
        if let Some((headers, content)) = self.early.pop_front() {
            self.open = Some(content);
            return Ok(Some(headers));
        }
        let Some((reader, pieces)) = &mut self.rest else { return Ok(None) };
        loop {
            match event(reader, pieces).await? {
                Event::PartStart(headers) => return Ok(Some(headers)),
                Event::Data(_) | Event::PartEnd => {}
                Event::End => {
                    read_out(pieces).await?;
                    self.rest = None;
                    return Ok(None);
                }
            }
        }
    }

    /// The next piece of the document that [`Self::next_part`] named; none at its end.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, PackageError> {
        if let Some(content) = self.open.take() {
            return Ok(Some(content).filter(|content| !content.is_empty()));
        }
        let Some((reader, pieces)) = &mut self.rest else { return Ok(None) };
        match event(reader, pieces).await? {
            Event::Data(data) => Ok(Some(data)),
            Event::PartEnd | Event::PartStart(_) => Ok(None),
            Event::End => {
                read_out(pieces).await?;
                self.rest = None;
                Ok(None)
            }
        }
    }
}

/// `Content-Type` of plain SOAP 1.2.
pub const PLAIN: &str = "application/soap+xml; charset=UTF-8";

/// A document to be sent behind an envelope that refers to it.
pub struct Document {
    /// What the envelope calls it.
    pub id: ContentId,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub content: BoxStream<'static, std::io::Result<Bytes>>,
}

/// Packs an envelope and its documents as MTOM. Documents are streamed, one after the other, as the receiver takes them.
pub fn compose(action: &str, envelope: String, documents: Vec<Document>) -> (String, CallBody) {
    let frame = Writer::new(Some(action));
    let content_type = frame.content_type();
    let head = [frame.root_head(), Bytes::from(envelope)];
    if documents.is_empty() {
        let whole: Vec<u8> = head.into_iter().chain([frame.end()]).flatten().collect();
        return (content_type, CallBody::Bytes(whole.into()));
    }
    let parts: Vec<_> = documents
        .into_iter()
        .map(|document| {
            let part_head = frame.part_head(&document.id, &document.media_type);
            stream::iter([Ok(part_head)]).chain(document.content)
        })
        .collect();
    let end = frame.end();
    let body = stream::iter(head.map(Ok)).chain(stream::iter(parts).flatten()).chain(stream::iter([Ok(end)]));
    (content_type, CallBody::Stream(body.boxed()))
}

/// Takes a message from a body: plain SOAP or multipart by what the bytes are, whatever the header claims.
pub async fn read(content_type: Option<&str>, pieces: Pieces, limit: usize) -> Result<Package, PackageError> {
    // A package that ends early is asked for more than it has, by whoever looks for its documents.
    let mut pieces = pieces.fuse().boxed();
    let content_type = content_type.and_then(|text| ContentType::parse(text).ok());
    let content_type = match content_type {
        Some(known) => known,
        None => ContentType::parse("application/soap+xml")?,
    };
    let first = first_bytes(&mut pieces).await?;
    match sniff(&content_type, &first)? {
        Shape::Plain => {
            let charset = content_type.charset().map(str::to_owned);
            let root = collect(first, &mut pieces, limit).await?;
            Ok(Package { root, charset, multipart: false, attachments: Attachments::none() })
        }
        Shape::Multipart { boundary } => {
            let mut reader = Reader::new(&boundary, MtomLimits::default())?;
            reader.push(&first);
            multipart(&content_type, reader, pieces, limit).await
        }
    }
}

async fn multipart(
    content_type: &ContentType,
    mut reader: Reader,
    mut pieces: Pieces,
    limit: usize,
) -> Result<Package, PackageError> {
    let mut early: VecDeque<(PartHeaders, Bytes)> = VecDeque::new();
    let mut open: Option<(PartHeaders, BytesMut)> = None;
    let mut held = 0;
    loop {
        match event(&mut reader, &mut pieces).await? {
            Event::PartStart(headers) => open = Some((headers, BytesMut::new())),
            Event::Data(data) => {
                held += data.len();
                if held > limit {
                    return Err(PackageError::TooLong(limit));
                }
                if let Some((_, content)) = &mut open {
                    content.extend_from_slice(&data);
                }
            }
            Event::PartEnd => {
                let Some((headers, content)) = open.take() else { continue };
                if is_root(content_type, &headers, early.is_empty()) {
                    return Ok(package(headers, content.freeze(), early, Some((reader, pieces))));
                }
                early.push_back((headers, content.freeze()));
            }
            Event::End => {
                read_out(&mut pieces).await?;
                // No part is named as the root, and none looks like one: the first is it.
                let ids = early.iter().map(|(headers, _)| headers.content_id.as_deref());
                let at = root_of(content_type.start(), ids);
                let (headers, content) = early.remove(at).ok_or(MtomError::NoParts)?;
                return Ok(package(headers, content, early, None));
            }
        }
    }
}

/// Whether a part is the envelope: the one that `start` names, or a first part whose media type says so, since
/// partners send a `start` that names no part.
fn is_root(content_type: &ContentType, headers: &PartHeaders, first: bool) -> bool {
    let named = content_type.start().is_some_and(|start| {
        crate::soap::mtom::content_id(start).is_some_and(|id| headers.content_id.as_deref() == Some(&*id))
    });
    let kind = headers.content_type.as_deref().unwrap_or_default().trim_start().to_ascii_lowercase();
    let soap = kind.starts_with("application/xop+xml") || kind.starts_with("application/soap+xml");
    named || (first && (soap || content_type.start().is_none()))
}

fn package(
    headers: PartHeaders,
    root: Bytes,
    early: VecDeque<(PartHeaders, Bytes)>,
    rest: Option<(Reader, Pieces)>,
) -> Package {
    let kind = headers.content_type.as_deref().and_then(|text| ContentType::parse(text).ok());
    let charset = kind.and_then(|kind| kind.charset().map(str::to_owned));
    Package { root, charset, multipart: true, attachments: Attachments { early, open: None, rest } }
}

/// The reader's next event, feeding it from the body.
async fn event(reader: &mut Reader, pieces: &mut Pieces) -> Result<Event, PackageError> {
    loop {
        if let Some(event) = reader.next()? {
            return Ok(event);
        }
        match pieces.next().await {
            Some(piece) => reader.push(&piece?),
            None => reader.finish(),
        }
    }
}

/// Reads what stands behind the last delimiter, and the end of the body itself: a connection whose message was not read
/// to its end cannot be used again, and a message whose end never came is not complete.
async fn read_out(pieces: &mut Pieces) -> Result<(), PackageError> {
    while let Some(piece) = pieces.next().await {
        piece?;
    }
    Ok(())
}

async fn first_bytes(pieces: &mut Pieces) -> Result<Bytes, PackageError> {
    let mut first = Bytes::new();
    while first.len() < SNIFF_BYTES {
        match pieces.next().await {
            // The first piece is mostly enough, and often all there is.
            Some(piece) if first.is_empty() => first = piece?,
            Some(piece) => first = [first, piece?].concat().into(),
            None if first.is_empty() => return Err(PackageError::Empty),
            None => break,
        }
    }
    Ok(first)
}

async fn collect(first: Bytes, pieces: &mut Pieces, limit: usize) -> Result<Bytes, PackageError> {
    if first.len() > limit {
        return Err(PackageError::TooLong(limit));
    }
    let Some(second) = pieces.next().await else { return Ok(first) };
    let mut whole = BytesMut::from(first);
    whole.extend_from_slice(&second?);
    while whole.len() <= limit {
        match pieces.next().await {
            Some(piece) => whole.extend_from_slice(&piece?),
            None => return Ok(whole.freeze()),
        }
    }
    Err(PackageError::TooLong(limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap::mtom::{ContentId, write_all};

    fn body(bytes: &[u8], size: usize) -> Pieces {
        let pieces: Vec<_> = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        futures_util::stream::iter(pieces).boxed()
    }

    async fn documents(mut attachments: Attachments) -> Result<Vec<Vec<u8>>, PackageError> {
        let mut all = Vec::new();
        while attachments.next_part().await?.is_some() {
            let mut document = Vec::new();
            while let Some(piece) = attachments.next_piece().await? {
                document.extend_from_slice(&piece);
            }
            all.push(document);
        }
        Ok(all)
    }

    fn sample() -> (String, Bytes) {
        let parts: Vec<_> = [b"one".to_vec(), vec![0xFF; 100_000], Vec::new()]
            .into_iter()
            .map(|content| (ContentId::random(), "text/plain", content))
            .collect();
        let parts: Vec<_> = parts.iter().map(|(id, kind, content)| (id.clone(), *kind, content.as_slice())).collect();
        write_all(None, "<envelope/>", &parts)
    }

    #[tokio::test]
    async fn the_envelope_comes_first_and_the_documents_follow_in_pieces() {
        let (content_type, bytes) = sample();
        for size in [1, 7, 4096, usize::MAX] {
            let package = read(Some(&content_type), body(&bytes, size), 1000).await.unwrap();
            assert_eq!(&package.root[..], b"<envelope/>");
            assert!(package.multipart);
            let documents = documents(package.attachments).await.unwrap();
            assert_eq!(documents.iter().map(Vec::len).collect::<Vec<_>>(), [3, 100_000, 0], "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn plain_soap_is_read_whatever_the_header_says() {
        let (multipart, _) = sample();
        for content_type in [Some("application/soap+xml"), Some(&*multipart), Some("nonsense"), None] {
            let package = read(content_type, body(b"<envelope/>", 3), 1000).await.unwrap();
            assert_eq!(&package.root[..], b"<envelope/>", "{content_type:?}");
            assert!(!package.multipart);
        }
    }

    #[tokio::test]
    async fn envelopes_without_end_are_refused_and_truncated_packages_are_noticed() {
        let endless = body(&[b' '; 5000], 100);
        assert_eq!(read(None, endless, 1000).await.err(), Some(PackageError::TooLong(1000)));
        assert_eq!(read(None, body(b"", 1), 1000).await.err(), Some(PackageError::Empty));
        let (content_type, bytes) = sample();
        let package = read(Some(&content_type), body(&bytes[..bytes.len() / 2], 100), 1000).await.unwrap();
        assert_eq!(documents(package.attachments).await, Err(PackageError::Mtom(MtomError::Truncated)));
    }

    #[tokio::test]
    async fn a_package_is_read_to_the_end_of_its_body() {
        let (content_type, bytes) = sample();
        let broken = BodyError("the connection ended".into());
        let pieces = [Ok(bytes), Ok(Bytes::from_static(b"\r\n")), Err(broken.clone())];
        let pieces = futures_util::stream::iter(pieces).boxed();
        let package = read(Some(&content_type), pieces, 1000).await.unwrap();
        assert_eq!(documents(package.attachments).await, Err(PackageError::Body(broken)));
    }

    #[tokio::test]
    async fn an_envelope_behind_its_documents_is_found() {
        let text = "--b\r\nContent-ID: <doc>\r\n\r\nearly\r\n--b\r\nContent-ID: <root>\r\n\r\n<envelope/>\r\n--b--";
        let content_type = "multipart/related; boundary=b; start=\"<root>\"";
        let package = read(Some(content_type), body(text.as_bytes(), 5), 1000).await.unwrap();
        assert_eq!(&package.root[..], b"<envelope/>");
        assert_eq!(documents(package.attachments).await.unwrap(), [b"early".to_vec()]);
    }
}
