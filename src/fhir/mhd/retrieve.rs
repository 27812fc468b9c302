//! ITI-68 Retrieve Document: the address of a document, which says opaquely where it is (MHD 2:3.68).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use smol_str::SmolStr;

use crate::id::{DocumentUniqueId, HomeCommunityId, RepositoryId};

/// Names a document in all communities.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Handle {
    /// The community, if it is not ours.
    pub home: Option<HomeCommunityId>,
    /// The repository.
    pub repository: RepositoryId,
    /// The document.
    pub unique_id: DocumentUniqueId,
    /// The partner through which the community was found, by its key in the directory.
    pub via: Option<SmolStr>,
    /// The hash that the community told with it (SHA-1 in hexadecimal).
    pub hash: Option<SmolStr>,
    /// The size that the community told with it.
    pub size: Option<u64>,
}

impl Handle {
    /// One segment of a path: base64url of the six with a line feed between them, which none of them has.
    pub fn to_segment(&self) -> String {
        let home = self.home.as_ref().map(ToString::to_string).unwrap_or_default();
        let via = self.via.as_deref().unwrap_or_default();
        let hash = self.hash.as_deref().unwrap_or_default();
        let size = self.size.map(|size| size.to_string()).unwrap_or_default();
        let text = format!("{home}\n{}\n{}\n{via}\n{hash}\n{size}", self.repository, self.unique_id);
        URL_SAFE_NO_PAD.encode(text)
    }

    /// Back from the segment; none for what was not written here.
    pub fn from_segment(segment: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(segment).ok()?).ok()?;
        let mut parts = text.split('\n');
        let (home, repository, unique_id, via) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // Addresses that an earlier version gave out have four parts.
        let (hash, size) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if parts.next().is_some() {
            return None;
        }
        let home = if home.is_empty() { None } else { Some(home.parse().ok()?) };
        Some(Self {
            home,
            repository: RepositoryId::new(repository).ok()?,
            unique_id: DocumentUniqueId::new(unique_id).ok()?,
            via: Some(via).filter(|via| !via.is_empty()).map(Into::into),
            hash: Some(hash).filter(|hash| !hash.is_empty()).map(Into::into),
            size: if size.is_empty() { None } else { Some(size.parse().ok()?) },
        })
    }
}

/// Whether an `Accept` header takes a media type (RFC 9110, 12.5.1); quality zero is a refusal of it. FHIR's own types
/// mean the document wrapped as a Binary resource, which is not offered.
pub fn accepts(header: Option<&str>, mime_type: &str) -> bool {
    let Some(header) = header.map(str::trim).filter(|header| !header.is_empty()) else { return true };
    let bare = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let wanted = bare(mime_type);
    let group = wanted.split('/').next().unwrap_or_default().to_owned();
    let mut best: Option<(u8, bool)> = None;
    for range in header.split(',') {
        let refused = range.split(';').skip(1).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            name.trim().eq_ignore_ascii_case("q") && value.trim().parse::<f32>().is_ok_and(|quality| quality <= 0.0)
        });
        let precision = match bare(range) {
            range if range == wanted => 3,
            range if range == format!("{group}/*") => 2,
            range if range == "*/*" || range == "*" => 1,
            _ => continue,
        };
        if best.is_none_or(|(known, _)| precision > known) {
            best = Some((precision, !refused));
        }
    }
    best.is_some_and(|(_, taken)| taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn handles_come_back_from_their_address() {
        for home in [None, Some("urn:oid:2.999.1".parse().unwrap())] {
            let handle = Handle {
                home,
                repository: RepositoryId::new("2.999.5").unwrap(),
                unique_id: DocumentUniqueId::new("2.999.9.1^a/b c").unwrap(),
                via: Some("north".into()),
                hash: Some("da39a3ee5e6b4b0d3255bfef95601890afd80709".into()),
                size: Some(0),
            };
            let segment = handle.to_segment();
            assert!(segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{segment}");
            assert_eq!(Handle::from_segment(&segment), Some(handle.clone()));
            let text = URL_SAFE_NO_PAD.decode(segment).unwrap();
            let four: Vec<&[u8]> = text.split(|byte| *byte == b'\n').take(4).collect();
            let earlier = Handle::from_segment(&URL_SAFE_NO_PAD.encode(four.join(&b'\n')));
            assert_eq!(earlier, Some(Handle { hash: None, size: None, ..handle }));
        }
    }

    #[test]
    fn accept_headers_are_weighed() {
        for (header, taken) in [
            (None, true),
            (Some(""), true),
            (Some("*/*"), true),
            (Some("text/*;q=0.5"), true),
            (Some("application/pdf"), false),
            (Some("application/fhir+json"), false),
            (Some("text/xml;q=0, */*"), false),
            (Some("application/pdf, text/xml; q=0.1"), true),
        ] {
            assert_eq!(accepts(header, "text/xml; charset=utf-8"), taken, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn any_segment_is_read_or_refused(segment in "\\PC{0,60}", header in "\\PC{0,40}") {
            let _ = Handle::from_segment(&segment);
            let _ = accepts(Some(&header), "text/xml");
        }
    }
}
