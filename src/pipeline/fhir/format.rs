//! JSON or XML: what a body is in, what an answer is wanted in (ITI TF-2: Appendix Z.6; FHIR R4 `http.html`, "Content
//! Types and encodings").

use serde_json::Value;

use super::{Answer, AnswerBody, Content, Reply};
use crate::fhir::json;
use crate::fhir::outcome::Refusal;
use crate::fhir::xml::{self as fhir_xml, FhirXmlError};
use crate::id::TraceId;
use crate::routing::exchange::CallBody;
use crate::xml;

/// A format of resources.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// `application/fhir+json`
    #[default]
    Json,
    /// `application/fhir+xml`
    Xml,
}

/// What a media type says about a body.
enum Kind {
    Resource(Format),
    Form,
}

impl Format {
    /// The media type that is written.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/fhir+json; charset=utf-8",
            Self::Xml => "application/fhir+xml; charset=utf-8",
        }
    }

    /// The format that a caller wants: `_format` goes before `Accept`, and JSON is written if nothing is said. None if
    /// neither can be written.
    pub fn wanted(parameter: Option<&str>, accept: Option<&str>) -> Option<Self> {
        match (parameter.map(str::trim).filter(|text| !text.is_empty()), accept) {
            // In a query `+` is a space, and some do not escape it.
            (Some(text), _) => Self::of(&text.replace(' ', "+")),
            (None, Some(accept)) if !accept.trim().is_empty() => Self::accepted(accept),
            (None, _) => Some(Self::default()),
        }
    }

    /// Of a media type or its short name.
    fn of(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let format = match parts.next()?.to_ascii_lowercase().as_str() {
            "json" | "application/json" | "application/fhir+json" | "text/json" => Self::Json,
            "xml" | "application/xml" | "application/fhir+xml" | "text/xml" => Self::Xml,
            _ => return None,
        };
        // Only R4 is spoken here.
        let other_version = parts.any(|one| match one.split_once('=') {
            Some((name, version)) if name.trim().eq_ignore_ascii_case("fhirversion") => {
                !matches!(version.trim().trim_matches('"'), "4.0" | "4.0.1")
            }
            _ => false,
        });
        (!other_version).then_some(format)
    }

    /// The format with the highest weight of an `Accept` header, the first of those with the same (RFC 9110, 12.5.1).
    fn accepted(header: &str) -> Option<Self> {
        let mut best: Option<(Self, f32)> = None;
        for range in header.split(',') {
            let weight = range.split(';').skip(1).find_map(|one| {
                let (name, value) = one.split_once('=')?;
                name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().ok())?
            });
            let weight = weight.unwrap_or(1.0_f32);
            let kind = range.split(';').next().unwrap_or_default().trim();
            let format = match kind {
                "*/*" | "application/*" | "*" => Some(Self::default()),
                _ => Self::of(range),
            };
            if let Some(format) = format
                && weight > 0.0
                && best.is_none_or(|(_, other)| weight > other)
            {
                best = Some((format, weight));
            }
        }
        best.map(|(format, _)| format)
    }

    /// Writes an answer.
    pub fn reply(self, answer: Answer, trace: TraceId) -> Reply {
        let Answer { status, mut headers, body } = answer;
        // What is answered is about patients: no cache keeps it.
        headers.push(("Cache-Control", "no-store".to_owned()));
        headers.push(("X-Content-Type-Options", "nosniff".to_owned()));
        match body {
            AnswerBody::Nothing => Reply { status, headers, body: CallBody::Bytes(Default::default()) },
            AnswerBody::Bytes { content_type, content } => {
                headers.push(("Content-Type", content_type));
                Reply { status, headers, body: content }
            }
            AnswerBody::Resource(resource) => match self.write(&resource) {
                Ok(text) => {
                    headers.push(("Content-Type", self.media_type().to_owned()));
                    Reply { status, headers, body: CallBody::Bytes(text.into()) }
                }
                Err(error) => {
                    tracing::error!(%error, %trace, "an answer could not be written");
                    let refusal = Refusal::Internal;
                    let headers = vec![("Content-Type", Self::Json.media_type().to_owned())];
                    let body = CallBody::Bytes(refusal.body(trace).to_string().into());
                    Reply { status: refusal.status(), headers, body }
                }
            },
        }
    }

    fn write(self, resource: &Value) -> Result<String, FhirXmlError> {
        match self {
            Self::Json => Ok(resource.to_string()),
            Self::Xml => fhir_xml::write(resource),
        }
    }
}

/// Reads the body of a request by its media type.
pub fn read(content_type: Option<&str>, bytes: &[u8], limits: &xml::Limits) -> Result<Content, Refusal> {
    if bytes.is_empty() {
        return Ok(Content::Nothing);
    }
    match kind(content_type)? {
        Kind::Form => {
            let text = std::str::from_utf8(bytes);
            let text = text.map_err(|_| Refusal::Unreadable("the form is not in UTF-8".into()))?;
            Ok(Content::Form(text.to_owned()))
        }
        Kind::Resource(Format::Json) => {
            let limits = json::Limits { bytes: limits.bytes, depth: limits.depth };
            Ok(Content::Resource(json::read(bytes, &limits)?))
        }
        Kind::Resource(Format::Xml) => Ok(Content::Resource(fhir_xml::read(bytes, limits)?)),
    }
}

fn kind(content_type: Option<&str>) -> Result<Kind, Refusal> {
    let header = content_type.ok_or(Refusal::UnsupportedMediaType)?;
    let charset = header.split(';').skip(1).find_map(|one| {
        let (name, value) = one.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    });
    // ITI TF-2: Appendix Z.6: UTF-8 and nothing else.
    if charset.is_some_and(|charset| !matches!(charset.as_str(), "utf-8" | "utf8" | "us-ascii")) {
        return Err(Refusal::UnsupportedMediaType);
    }
    let essence = header.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(Kind::Form);
    }
    Format::of(header).map(Kind::Resource).ok_or(Refusal::UnsupportedMediaType)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_goes_before_accept_and_json_before_nothing() {
        use Format::{Json, Xml};
        for (parameter, accept, expected) in [
            (None, None, Some(Json)),
            (None, Some(""), Some(Json)),
            (None, Some("*/*"), Some(Json)),
            (None, Some("application/fhir+xml"), Some(Xml)),
            (None, Some("application/fhir+json; fhirVersion=4.0"), Some(Json)),
            (None, Some("application/fhir+json; fhirVersion=3.0"), None),
            (None, Some("application/json;q=0.5, application/xml;q=0.9"), Some(Xml)),
            (None, Some("application/xml;q=0, */*;q=0.1"), Some(Json)),
            (None, Some("text/html"), None),
            (None, Some("text/html, application/xhtml+xml, */*;q=0.8"), Some(Json)),
            (None, Some("application/xml;q=nonsense"), Some(Xml)),
            (Some("xml"), Some("application/fhir+json"), Some(Xml)),
            (Some("application/fhir xml"), None, Some(Xml)),
            (Some("application/fhir+json"), Some("text/html"), Some(Json)),
            (Some(""), Some("application/fhir+xml"), Some(Xml)),
            (Some("turtle"), Some("application/fhir+json"), None),
            (Some("%00"), None, None),
        ] {
            assert_eq!(Format::wanted(parameter, accept), expected, "{parameter:?} {accept:?}");
        }
    }

    #[test]
    fn bodies_are_read_by_their_media_type_and_in_utf_8_only() {
        let limits = xml::Limits { bytes: 1000, depth: 8 };
        let patient = br#"{"resourceType":"Patient"}"#;
        for (content_type, body, told) in [
            (Some("application/fhir+json"), &patient[..], "resource"),
            (Some("application/fhir+json; charset=UTF-8"), patient, "resource"),
            (Some("application/fhir+json; charset=iso-8859-1"), patient, "the media type of the body is not supported"),
            (Some("text/plain"), patient, "the media type of the body is not supported"),
            (None, patient, "the media type of the body is not supported"),
            (None, b"", "nothing"),
            (Some("application/fhir+xml"), br#"<Patient xmlns="http://hl7.org/fhir"/>"#, "resource"),
            (Some("application/x-www-form-urlencoded"), b"family=x", "form"),
            (Some("application/x-www-form-urlencoded"), b"\xff", "the body cannot be read: the form is not in UTF-8"),
        ] {
            let read = match read(content_type, body, &limits) {
                Ok(Content::Nothing) => "nothing".to_owned(),
                Ok(Content::Form(_)) => "form".to_owned(),
                Ok(Content::Resource(resource)) => {
                    assert_eq!(json::resource_type(&resource), "Patient");
                    "resource".to_owned()
                }
                Err(refusal) => refusal.to_string(),
            };
            assert_eq!(read, told, "{content_type:?}");
        }
        let long = vec![b' '; 1001];
        for content_type in ["application/fhir+json", "application/fhir+xml"] {
            assert_eq!(read(Some(content_type), &long, &limits).err(), Some(Refusal::TooLarge(1000)));
        }
    }
}
