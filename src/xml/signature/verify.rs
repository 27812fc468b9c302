//! The verifier. Structure first, then the signature value over SignedInfo, then the digest of the one element.
//!
//! The order matters: until the value has proved who wrote SignedInfo, nothing that it asks for is computed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{
    DigestAlgorithm, ENVELOPED, EXCLUSIVE, EXCLUSIVE_WITH_COMMENTS, Known, PublicKey, SignatureAlgorithm,
    decode_base64, encode_base64,
};
use crate::xml::{Element, XmlError, ns};

/// Longest list of prefixes in InclusiveNamespaces: each costs a look-up at each element.
const MOST_PREFIXES: usize = 64;

/// Why a signature is refused. `Display` explains it to the partner whose software made it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignatureError {
    /// Two elements have one identifier, so a reference to it is ambiguous.
    #[error("two elements have the identifier {0:?}")]
    DuplicateIdentifier(String),
    /// The element to be covered has no identifier.
    #[error("the <{0}> to be covered has no identifier")]
    NoIdentifier(String),
    /// A part of the signature is not as the profile has it.
    #[error("{0}")]
    Shape(&'static str),
    /// An element that should be there once.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// The Reference points elsewhere.
    #[error("its Reference is {found:?}, and the <{element}> that it must cover is {expected:?}")]
    Reference {
        /// `URI` as found.
        found: String,
        /// `#` and the identifier of the element.
        expected: String,
        /// Local name of the element.
        element: String,
    },
    /// An algorithm that is not on the list.
    #[error("{role} algorithm {uri:?} is not accepted")]
    Algorithm {
        /// What it is for: `the signature`, `the digest`, `the transform`, `the canonicalisation`.
        role: &'static str,
        /// The algorithm's identifier.
        uri: String,
    },
    /// SHA-1 without permission for this partner.
    #[error("{0} uses SHA-1, which is not accepted from this partner")]
    Sha1(&'static str),
    /// The algorithm is not one of the key's kind.
    #[error("the signature algorithm is not one for a key of type {0}")]
    KeyKind(&'static str),
    /// An RSA key that is too short.
    #[error("the RSA key has {0} bits, 2048 are the least")]
    ShortKey(usize),
    /// A value is not base64.
    #[error("<{0}> is not base64")]
    NotBase64(&'static str),
    /// The value does not verify: another key signed, or SignedInfo was changed.
    #[error("the signature value does not verify over SignedInfo: signed with another key, or SignedInfo was changed")]
    Value,
    /// The content was changed, or canonicalised otherwise.
    #[error(
        "the digest of {reference:?} is {computed}, and DigestValue states {stated}: the content was changed after signing"
    )]
    Digest {
        /// The Reference.
        reference: String,
        /// Computed here, base64.
        computed: String,
        /// As stated, base64.
        stated: String,
    },
}

/// What a partner may use besides the ordinary.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// SHA-1 in the signature and in the digest: one vendor family still sends it.
    pub sha1: bool,
    /// RSA keys of 1024 to 2047 bits, as the recordings of older networks have them. Not for live partners.
    pub short_rsa: bool,
}

/// What the transforms must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Profile {
    /// The signature is a child of the element that it covers: {enveloped-signature, exclusive canonicalisation}.
    Enveloped,
    /// The signature stands beside the element: {exclusive canonicalisation}.
    Detached,
}

/// The identifiers of a document, each of which names one element. Made once for a document, needed by every
/// verification in it.
pub struct Identifiers<'d> {
    elements: HashMap<&'d str, Element<'d>>,
}

impl<'d> Identifiers<'d> {
    /// Reads `ID`, `Id`, `wsu:Id` and `xml:id` of the whole document that an element belongs to. A value that occurs
    /// twice is refused, wherever it is: signature wrapping lives from that.
    pub fn of(element: Element<'d>) -> Result<Self, SignatureError> {
        let mut root = element;
        while let Some(parent) = root.parent() {
            root = parent;
        }
        let mut elements = HashMap::new();
        for element in std::iter::once(root).chain(root.descendants()) {
            let mut own = None;
            for (namespace, name, value) in element.attributes() {
                let identifies = match name {
                    "ID" | "Id" => true,
                    "id" => namespace == "http://www.w3.org/XML/1998/namespace",
                    _ => false,
                };
                // Some senders write one value in both ID and wsu:Id of one element.
                if !identifies || own == Some(value) {
                    continue;
                }
                own = Some(value);
                match elements.entry(value) {
                    Entry::Occupied(_) => return Err(SignatureError::DuplicateIdentifier(short(value))),
                    Entry::Vacant(vacant) => vacant.insert(element),
                };
            }
        }
        Ok(Self { elements })
    }
}

/// A signature whose structure is in order and whose value is not yet verified.
pub struct Claim<'d> {
    target: Element<'d>,
    signature: Element<'d>,
    profile: Profile,
    policy: Policy,
    algorithm: SignatureAlgorithm,
    digest: DigestAlgorithm,
    prefixes: Vec<&'d str>,
    reference: &'d str,
    stated: Vec<u8>,
    signed_info: Vec<u8>,
    value: Vec<u8>,
}

/// An element that a signature by a given key covers.
#[derive(Clone, Debug)]
pub struct Verified<'d> {
    element: Element<'d>,
    value: Vec<u8>,
    unique: usize,
}

impl<'d> Verified<'d> {
    /// The element that was verified. What is read must be read from here.
    pub fn element(&self) -> Element<'d> {
        self.element
    }

    /// The signature value.
    pub fn signature_value(&self) -> &[u8] {
        &self.value
    }

    /// The part of the signature value that nobody else can vary. From an ECDSA signature `(r, s)` anybody can make
    /// `(r, -s)`, which verifies too: only `r` tells one signature from another.
    pub fn distinct_value(&self) -> &[u8] {
        &self.value[..self.unique]
    }
}

impl<'d> Claim<'d> {
    /// Reads a signature that must cover `target`: the structure and the algorithms, before any cryptography.
    pub fn read(
        identifiers: &Identifiers<'d>,
        target: Element<'d>,
        signature: Element<'d>,
        profile: Profile,
        policy: Policy,
    ) -> Result<Self, SignatureError> {
        check_place(target, signature, profile)?;
        let known =
            |child: Element<'_>| ["SignedInfo", "SignatureValue", "KeyInfo"].iter().any(|name| child.is(ns::DS, name));
        if !signature.children().all(known) {
            return Err(SignatureError::Shape("the signature has an Object or another child that is not accepted"));
        }
        let signed_info = signature.only_child(ns::DS, "SignedInfo")?;
        let value = base64_of(signature.only_child(ns::DS, "SignatureValue")?, "SignatureValue")?;
        let parts: Vec<Element<'d>> = signed_info.children().take(4).collect();
        let [canonicalization, method, reference] = parts[..] else { return Err(SIGNED_INFO) };
        let names =
            [(canonicalization, "CanonicalizationMethod"), (method, "SignatureMethod"), (reference, "Reference")];
        if !names.iter().all(|(element, name)| element.is(ns::DS, name)) {
            return Err(SIGNED_INFO);
        }
        let algorithm = signature_algorithm(method, policy)?;
        let uri = check_reference(identifiers, target, reference)?;
        let (prefixes, digest, stated) = read_reference(reference, profile, policy)?;
        let signed_info = canonical_signed_info(signed_info, canonicalization)?;
        Ok(Self {
            target,
            signature,
            profile,
            policy,
            algorithm,
            digest,
            prefixes,
            reference: uri,
            stated,
            signed_info,
            value,
        })
    }

    /// That this key made the signature value. Says nothing yet about the content. With a memory, a value that was
    /// found good before need not be looked at again.
    pub fn signed_by(&self, key: &PublicKey, known: Option<&Known>) -> Result<Signed<'_, 'd>, SignatureError> {
        if !key.suits(self.algorithm) {
            return Err(SignatureError::KeyKind(key.family()));
        }
        let least = if self.policy.short_rsa { 1024 } else { 2048 };
        if matches!(key, PublicKey::Rsa(_)) && key.bits() < least {
            return Err(SignatureError::ShortKey(key.bits()));
        }
        let is_good = match known {
            Some(known) => known.verifies(key, self.algorithm, &self.signed_info, &self.value),
            None => key.verifies(self.algorithm, &self.signed_info, &self.value),
        };
        if !is_good {
            return Err(SignatureError::Value);
        }
        let unique = match key {
            PublicKey::Rsa(_) => self.value.len(),
            PublicKey::Ec { .. } => self.value.len() / 2,
        };
        Ok(Signed { claim: self, unique })
    }

    /// Verifies value and content with a key that the caller trusts, and returns the element that is covered.
    pub fn verify(self, key: &PublicKey) -> Result<Verified<'d>, SignatureError> {
        self.signed_by(key, None)?.verify()
    }

    /// The signature value as it was sent.
    pub fn signature_value(&self) -> &[u8] {
        &self.value
    }
}

/// A claim whose value one key has made. What the element holds is not yet compared.
pub struct Signed<'c, 'd> {
    claim: &'c Claim<'d>,
    unique: usize,
}

impl<'d> Signed<'_, 'd> {
    /// Verifies the content, and returns the element that is covered.
    pub fn verify(self) -> Result<Verified<'d>, SignatureError> {
        let claim = self.claim;
        let without = match claim.profile {
            Profile::Enveloped => Some(claim.signature),
            Profile::Detached => None,
        };
        let computed = claim.digest.digest(&claim.target.canonical(without, &claim.prefixes));
        if computed.as_ref() != claim.stated {
            return Err(SignatureError::Digest {
                reference: short(claim.reference),
                computed: encode_base64(computed.as_ref()),
                stated: short(&encode_base64(&claim.stated)),
            });
        }
        Ok(Verified { element: claim.target, value: claim.value.clone(), unique: self.unique })
    }
}

const SIGNED_INFO: SignatureError =
    SignatureError::Shape("SignedInfo is not exactly CanonicalizationMethod, SignatureMethod and one Reference");

fn check_place(target: Element<'_>, signature: Element<'_>, profile: Profile) -> Result<(), SignatureError> {
    signature.expect(ns::DS, "Signature")?;
    let parent = signature.parent();
    match profile {
        Profile::Enveloped if parent != Some(target) => {
            Err(SignatureError::Shape("the signature is not a child of the element that it must cover"))
        }
        Profile::Detached if parent.is_none() || parent != target.parent() => {
            Err(SignatureError::Shape("the signature does not stand beside the element that it must cover"))
        }
        Profile::Enveloped | Profile::Detached => Ok(()),
    }
}

fn signature_algorithm(method: Element<'_>, policy: Policy) -> Result<SignatureAlgorithm, SignatureError> {
    let uri = method.require_attribute("Algorithm")?;
    let refused = || SignatureError::Algorithm { role: "the signature", uri: short(uri) };
    let algorithm = SignatureAlgorithm::from_uri(uri).ok_or_else(refused)?;
    if algorithm == SignatureAlgorithm::RsaSha1 && !policy.sha1 {
        return Err(SignatureError::Sha1("the signature"));
    }
    // HMACOutputLength and the like have no place here.
    if method.children().next().is_some() {
        return Err(SignatureError::Shape("SignatureMethod has parameters"));
    }
    Ok(algorithm)
}

/// The Reference must name the very element that the caller is going to read: by `ID` or `wsu:Id`, without
/// dereferencing anything.
fn check_reference<'d>(
    identifiers: &Identifiers<'d>,
    target: Element<'d>,
    reference: Element<'d>,
) -> Result<&'d str, SignatureError> {
    let id = [target.attribute("ID"), target.attribute_ns(ns::WSU, "Id"), target.attribute("Id")];
    let id = id.into_iter().flatten().find(|id| !id.is_empty());
    let id = id.ok_or_else(|| SignatureError::NoIdentifier(target.local_name().into()))?;
    let uri = reference.attribute("URI").unwrap_or_default();
    if uri.strip_prefix('#') != Some(id) || identifiers.elements.get(id) != Some(&target) {
        return Err(SignatureError::Reference {
            found: short(uri),
            expected: format!("#{}", short(id)),
            element: target.local_name().into(),
        });
    }
    Ok(uri)
}

fn read_reference<'d>(
    reference: Element<'d>,
    profile: Profile,
    policy: Policy,
) -> Result<(Vec<&'d str>, DigestAlgorithm, Vec<u8>), SignatureError> {
    let parts: Vec<Element<'d>> = reference.children().take(4).collect();
    let [transforms, method, value] = parts[..] else {
        return Err(SignatureError::Shape("the Reference is not exactly Transforms, DigestMethod and DigestValue"));
    };
    let transforms: Vec<Element<'d>> = transforms.expect(ns::DS, "Transforms")?.children().take(4).collect();
    let expected: &[&str] = match profile {
        Profile::Enveloped => &[ENVELOPED, EXCLUSIVE],
        Profile::Detached => &[EXCLUSIVE],
    };
    for transform in &transforms {
        let uri = transform.expect(ns::DS, "Transform")?.require_attribute("Algorithm")?;
        if !expected.contains(&uri) {
            return Err(SignatureError::Algorithm { role: "the transform", uri: short(uri) });
        }
    }
    let found = transforms.iter().filter_map(|transform| transform.attribute("Algorithm"));
    if !found.eq(expected.iter().copied()) {
        return Err(SignatureError::Shape("the transforms are not those of the profile, in their order"));
    }
    let (Some(last), others) = (transforms.last(), &transforms[..transforms.len().saturating_sub(1)]) else {
        return Err(SignatureError::Shape("there is no transform"));
    };
    if others.iter().any(|transform| transform.children().next().is_some()) {
        return Err(SignatureError::Shape("the enveloped-signature transform has parameters"));
    }
    let method = method.expect(ns::DS, "DigestMethod")?;
    let uri = method.require_attribute("Algorithm")?;
    let refused = || SignatureError::Algorithm { role: "the digest", uri: short(uri) };
    let digest = DigestAlgorithm::from_uri(uri).ok_or_else(refused)?;
    if digest == DigestAlgorithm::Sha1 && !policy.sha1 {
        return Err(SignatureError::Sha1("the digest"));
    }
    Ok((prefixes_of(*last)?, digest, base64_of(value.expect(ns::DS, "DigestValue")?, "DigestValue")?))
}

fn canonical_signed_info(signed_info: Element<'_>, method: Element<'_>) -> Result<Vec<u8>, SignatureError> {
    let prefixes = prefixes_of(method)?;
    match method.require_attribute("Algorithm")? {
        EXCLUSIVE => Ok(signed_info.canonical(None, &prefixes)),
        EXCLUSIVE_WITH_COMMENTS => Ok(signed_info.canonical_with_comments(&prefixes)),
        other => Err(SignatureError::Algorithm { role: "the canonicalisation", uri: short(other) }),
    }
}

/// `ec:InclusiveNamespaces/@PrefixList`, the only parameter that canonicalisation has.
fn prefixes_of(method: Element<'_>) -> Result<Vec<&str>, SignatureError> {
    let mut children = method.children();
    let prefixes = match (children.next(), children.next()) {
        (None, _) => Vec::new(),
        (Some(only), None) if only.is(ns::EXC_C14N, "InclusiveNamespaces") => {
            only.attribute("PrefixList").unwrap_or_default().split_ascii_whitespace().collect()
        }
        _ => return Err(SignatureError::Shape("the canonicalisation has parameters other than InclusiveNamespaces")),
    };
    if prefixes.len() > MOST_PREFIXES {
        return Err(SignatureError::Shape("InclusiveNamespaces lists too many prefixes"));
    }
    Ok(prefixes)
}

fn base64_of(element: Element<'_>, name: &'static str) -> Result<Vec<u8>, SignatureError> {
    decode_base64(&element.text()).ok_or(SignatureError::NotBase64(name))
}

/// Text of a message for an error: not longer than a line.
fn short(text: &str) -> String {
    text.chars().take(120).collect()
}
