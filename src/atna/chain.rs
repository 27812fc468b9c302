//! The hash chain: what an entry of the journal is, and how it holds on to the one before it.
//!
//! An entry is a line of text and its payload:
//!
//! ```text
//! HASH SEQUENCE MILLISECONDS PREVIOUS KIND TENANT TRACE REPLAY EXPIRES LENGTH
//! payload, LENGTH bytes
//! ```
//!
//! `HASH` is the SHA-256 of everything after it, line feed and payload included, so it holds the content, the order
//! (`SEQUENCE`) and, through `PREVIOUS`, all that came before. It also tells a torn entry from a whole one.
//!
//! Behind the last entry there may be zeros, which are room for more and mean nothing.
//!
//! Who can rewrite the files can compute hashes anew. Therefore entries of kind `signature` stand in the chain at
//! least every so many entries and at the end of each closed segment: they carry the gateway's signature over the
//! chain up to there, which cannot be made without its key.

use std::fmt::Write as _;
use std::io::{self, BufRead, Read};

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::event::ReplayKey;
use crate::id::{Tenant, Timestamp, TraceId};

/// SHA-256 of an entry.
pub type Hash = [u8; 32];

/// What the first entry of a journal has as its previous hash.
pub const GENESIS: Hash = [0; 32];

/// The number of an entry in its journal; the first is 1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The one after.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What an entry is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// An audit message.
    Record,
    /// The gateway's signature over the chain so far.
    Signature,
    /// Something about the journal itself: a torn end that was cut off.
    Note,
}

impl Kind {
    fn code(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Signature => "signature",
            Self::Note => "note",
        }
    }

    fn from_code(code: &str) -> Option<Self> {
        [Self::Record, Self::Signature, Self::Note].into_iter().find(|one| one.code() == code)
    }
}

/// An entry without its payload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// Its number.
    pub sequence: Sequence,
    /// When it was written.
    pub at: Timestamp,
    /// The hash of the one before.
    pub previous: Hash,
    /// What it is for.
    pub kind: Kind,
    /// Whose data.
    pub tenant: Tenant,
    /// The exchange.
    pub trace: TraceId,
    /// The assertion it used up.
    pub replay: Option<ReplayKey>,
}

/// An entry as read.
#[derive(Clone, Eq, PartialEq)]
pub struct Entry {
    /// Everything but the payload.
    pub header: Header,
    /// The hash it claims; `Reader` has checked it.
    pub hash: Hash,
    /// The payload: a sealed audit message, a signature, a note.
    pub payload: Vec<u8>,
    /// How long it is in the file, in bytes.
    pub length: u64,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("header", &self.header).field("length", &self.length).finish_non_exhaustive()
    }
}

/// Appends an entry to a buffer and gives its hash.
pub fn append(buffer: &mut Vec<u8>, header: &Header, payload: &[u8]) -> Hash {
    let Header { sequence, at, previous, kind, tenant, trace, replay } = header;
    let mut line = String::with_capacity(320);
    line.push(' ');
    let (key, expires) = match replay {
        Some(replay) => (hex::encode(replay.key), replay.expires.as_millis().to_string()),
        None => ("-".to_owned(), "-".to_owned()),
    };
    let previous = hex::encode(previous);
    // Writing to a String cannot fail.
    let _ = writeln!(
        line,
        "{sequence} {} {previous} {} {} {trace} {key} {expires} {}",
        at.as_millis(),
        kind.code(),
        tenant.as_str(),
        payload.len()
    );
    let hash = hash(line.as_bytes(), payload);
    buffer.extend_from_slice(hex::encode(hash).as_bytes());
    buffer.extend_from_slice(line.as_bytes());
    buffer.extend_from_slice(payload);
    buffer.push(b'\n');
    hash
}

/// The hash over the line after the hash, the payload and the line feed that ends it.
fn hash(line: &[u8], payload: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(line);
    context.update(payload);
    context.update(b"\n");
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Why an entry could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file ends inside the entry.
    #[error("the file ends inside an entry")]
    Torn,
    /// The line is not that of an entry.
    #[error("this is not an entry")]
    NotAnEntry,
    /// Line and payload do not have the hash they claim.
    #[error("the entry does not have the hash it claims")]
    WrongHash(Sequence),
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
}

/// The longest line of an entry, in bytes.
const LONGEST_LINE: u64 = 1024;
/// The longest payload, in bytes: a query of the longest message that any wire accepts, in base64.
const LONGEST_PAYLOAD: u64 = 64 << 20;

/// Reads entries one after the other, holding one at a time.
///
/// The zeros that a journal keeps in front of its next entry are no entries: where nothing but zeros follows, the entries
/// are at their end. So an end that somebody overwrote with zeros is missed exactly as one that was cut off.
pub struct Reader<R> {
    from: R,
    line: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Reads from the start of an entry.
    pub fn new(from: R) -> Self {
        Self { from, line: Vec::new() }
    }

    /// The next entry with its hash checked, or nothing at the end.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        if self.from.fill_buf()?.first() == Some(&0) {
            return self.only_zeros();
        }
        self.line.clear();
        (&mut self.from).take(LONGEST_LINE).read_until(b'\n', &mut self.line)?;
        if self.line.is_empty() {
            return Ok(None);
        }
        if self.line.last() != Some(&b'\n') {
            let torn = (self.line.len() as u64) < LONGEST_LINE;
            return Err(if torn { ReadError::Torn } else { ReadError::NotAnEntry });
        }
        let (claimed, header, length) = parse(&self.line).ok_or(ReadError::NotAnEntry)?;
        if length > LONGEST_PAYLOAD {
            return Err(ReadError::NotAnEntry);
        }
        let mut payload = Vec::new();
        (&mut self.from).take(length + 1).read_to_end(&mut payload)?;
        if payload.len() as u64 != length + 1 {
            return Err(ReadError::Torn);
        }
        if payload.pop() != Some(b'\n') || hash(&self.line[64..], &payload) != claimed {
            return Err(ReadError::WrongHash(header.sequence));
        }
        let length = self.line.len() as u64 + length + 1;
        Ok(Some(Entry { header, hash: claimed, payload, length }))
    }

    /// The end, if nothing but zeros comes before it.
    fn only_zeros(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            let bytes = self.from.fill_buf()?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Err(ReadError::NotAnEntry);
            }
            match bytes.len() {
                0 => return Ok(None),
                zeros => self.from.consume(zeros),
            }
        }
    }
}

fn parse(line: &[u8]) -> Option<(Hash, Header, u64)> {
    let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let mut fields = text.split(' ');
    let mut next = || fields.next();
    let claimed = hash_from_hex(next()?)?;
    let sequence = Sequence(next()?.parse().ok()?);
    let at = Timestamp::from_millis(next()?.parse().ok()?);
    let previous = hash_from_hex(next()?)?;
    let kind = Kind::from_code(next()?)?;
    let tenant = next()?.parse().ok()?;
    let trace = next()?.parse().ok()?;
    let replay = match (next()?, next()?) {
        ("-", "-") => None,
        (key, expires) => {
            Some(ReplayKey { key: hash_from_hex(key)?, expires: Timestamp::from_millis(expires.parse().ok()?) })
        }
    };
    let length = next()?.parse().ok()?;
    let header = Header { sequence, at, previous, kind, tenant, trace, replay };
    next().is_none().then_some((claimed, header, length))
}

/// Reads a hash from 64 hexadecimal digits in lower case: one hash has one spelling, so that a change of case is one.
pub(super) fn hash_from_hex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}

type Sign = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

/// Makes signatures with the gateway's key.
pub struct Signer {
    sign: Box<Sign>,
    certificate: Vec<u8>,
}

impl Signer {
    /// A function that signs with SHA-256 (RSA PKCS #1, ECDSA in either form, Ed25519), and the certificate in DER.
    pub fn new(sign: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static, certificate: Vec<u8>) -> Self {
        Self { sign: Box::new(sign), certificate }
    }

    /// The payload of a signature entry.
    pub(super) fn payload(&self, sequence: Sequence, previous: &Hash) -> Vec<u8> {
        let signature = (self.sign)(&signed_bytes(sequence, previous));
        format!("{} {}", BASE64_STANDARD.encode(&self.certificate), BASE64_STANDARD.encode(signature)).into_bytes()
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(…)")
    }
}

/// What a signature covers: the place in the chain and, through the hash, everything before it.
fn signed_bytes(sequence: Sequence, previous: &Hash) -> Vec<u8> {
    format!("causeway audit chain 1\n{sequence}\n{}\n", hex::encode(previous)).into_bytes()
}

/// Why a signature entry does not hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignatureError {
    /// The payload is not a certificate and a signature.
    #[error("it is not a certificate and a signature")]
    NotASignature,
    /// Another certificate than those that were given.
    #[error("it was made with another certificate")]
    OtherCertificate,
    /// The key in the certificate is of a kind we do not use.
    #[error("its certificate has a key of an unknown kind")]
    UnknownKey,
    /// The key did not make this signature over this chain.
    #[error("it was not made over this chain")]
    Wrong,
}

/// Checks the payload of a signature entry. When certificates are given, one of them must have made it.
pub fn check_signature(
    payload: &[u8],
    sequence: Sequence,
    previous: &Hash,
    certificates: &[Vec<u8>],
) -> Result<(), SignatureError> {
    let text = std::str::from_utf8(payload).map_err(|_| SignatureError::NotASignature)?;
    let (certificate, signature) = text.split_once(' ').ok_or(SignatureError::NotASignature)?;
    let certificate = BASE64_STANDARD.decode(certificate).map_err(|_| SignatureError::NotASignature)?;
    let signature = BASE64_STANDARD.decode(signature).map_err(|_| SignatureError::NotASignature)?;
    if !certificates.is_empty() && !certificates.contains(&certificate) {
        return Err(SignatureError::OtherCertificate);
    }
    let (_, parsed) =
        x509_parser::certificate::X509Certificate::from_der(&certificate).map_err(|_| SignatureError::NotASignature)?;
    let spki = parsed.public_key();
    let key = spki.subject_public_key.data.as_ref();
    let algorithms: &[&'static dyn signature::VerificationAlgorithm] = match spki.parsed() {
        Ok(PublicKey::RSA(_)) => &[&signature::RSA_PKCS1_2048_8192_SHA256],
        // XML signatures write ECDSA as two numbers side by side, everything else as ASN.1.
        Ok(PublicKey::EC(point)) if point.key_size() == 256 => {
            &[&signature::ECDSA_P256_SHA256_ASN1, &signature::ECDSA_P256_SHA256_FIXED]
        }
        Ok(PublicKey::EC(point)) if point.key_size() == 384 => &[
            &signature::ECDSA_P384_SHA256_ASN1,
            &signature::ECDSA_P384_SHA384_ASN1,
            &signature::ECDSA_P384_SHA384_FIXED,
        ],
        _ if spki.algorithm.algorithm == x509_parser::oid_registry::OID_SIG_ED25519 => &[&signature::ED25519],
        _ => return Err(SignatureError::UnknownKey),
    };
    let message = signed_bytes(sequence, previous);
    let holds = algorithms
        .iter()
        .any(|algorithm| signature::UnparsedPublicKey::new(*algorithm, key).verify(&message, &signature).is_ok());
    if holds { Ok(()) } else { Err(SignatureError::Wrong) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(sequence: u64, previous: Hash) -> Header {
        Header {
            sequence: Sequence(sequence),
            at: Timestamp::from_millis(1_700_000_000_123),
            previous,
            kind: Kind::Record,
            tenant: Tenant::default(),
            trace: TraceId::new(),
            replay: Some(ReplayKey { key: [7; 32], expires: Timestamp::from_millis(5) }),
        }
    }

    #[test]
    fn signatures_of_every_kind_of_key_are_checked_by_their_certificate() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap().der().to_vec();
            let sign = move |bytes: &[u8]| rcgen::SigningKey::sign(&key, bytes).unwrap();
            let payload = Signer::new(sign, certificate.clone()).payload(Sequence(9), &[1; 32]);
            let check = |sequence, previous, given: &[Vec<u8>]| check_signature(&payload, sequence, previous, given);
            assert_eq!(check(Sequence(9), &[1; 32], &[]), Ok(()));
            assert_eq!(check(Sequence(9), &[1; 32], &[certificate]), Ok(()));
            assert_eq!(check(Sequence(8), &[1; 32], &[]), Err(SignatureError::Wrong));
            assert_eq!(check(Sequence(9), &[2; 32], &[]), Err(SignatureError::Wrong));
            assert_eq!(check(Sequence(9), &[1; 32], &[vec![1]]), Err(SignatureError::OtherCertificate));
        }
        assert_eq!(check_signature(b"x", Sequence(1), &GENESIS, &[]), Err(SignatureError::NotASignature));
    }

    proptest! {
        #[test]
        fn entries_are_read_as_written(payloads in proptest::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let mut buffer = Vec::new();
            let mut written = Vec::new();
            let mut previous = GENESIS;
            for (index, payload) in payloads.iter().enumerate() {
                let header = header(index as u64 + 1, previous);
                previous = append(&mut buffer, &header, payload);
                written.push((header, previous, payload.clone()));
            }
            let mut reader = Reader::new(buffer.as_slice());
            let mut read = Vec::new();
            while let Some(entry) = reader.next_entry().unwrap() {
                read.push((entry.header, entry.hash, entry.payload));
            }
            prop_assert_eq!(read, written);
        }

        #[test]
        fn zeros_behind_the_entries_are_their_end_and_before_anything_else_they_are_damage(
            zeros in 1..200_000_usize,
            after in proptest::option::of(1..=u8::MAX),
        ) {
            let mut buffer = Vec::new();
            append(&mut buffer, &header(1, GENESIS), b"payload");
            buffer.resize(buffer.len() + zeros, 0);
            buffer.extend(after);
            let mut reader = Reader::new(io::BufReader::with_capacity(1 << 16, buffer.as_slice()));
            prop_assert!(reader.next_entry().unwrap().is_some());
            match after {
                None => prop_assert!(reader.next_entry().unwrap().is_none()),
                Some(_) => prop_assert!(matches!(reader.next_entry(), Err(ReadError::NotAnEntry))),
            }
        }

        #[test]
        fn any_changed_byte_is_noticed(payload in any::<Vec<u8>>(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut buffer = Vec::new();
            append(&mut buffer, &header(1, GENESIS), &payload);
            let at = at.index(buffer.len());
            buffer[at] ^= 1 << bit;
            let mut reader = Reader::new(buffer.as_slice());
            let first = reader.next_entry();
            prop_assert!(first.is_err() || reader.next_entry().is_err(), "byte {at}");
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let mut reader = Reader::new(bytes.as_slice());
            while let Ok(Some(_)) = reader.next_entry() {}
        }
    }
}
