//! What the cryptography of a request costs by itself, on one thread. Nothing is remembered from one request to the next,
//! as a gateway does with the signature of an assertion that comes again.

use std::time::Duration;

use causeway::id::Clock;
use causeway::saml::{Expectations, verify};
use causeway::soap::envelope::Envelope;
use causeway::xml::signature::{PublicKey, SignatureAlgorithm, SigningKey};
use causeway::xml::{Limits, parse};

use super::Failure;
use super::measure::thread_seconds;
use super::prepared::Prepared;

/// Microseconds of processor time for one message.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Two signatures over as many bytes as a SignedInfo has, nothing else.
    pub two_signatures: f64,
    /// `saml::verify`: structure, canonical forms, digests, both signatures, attributes. The tree is there already.
    pub verification: f64,
    /// The same with reading the envelope from its bytes.
    pub with_parsing: f64,
}

/// Measures for about three times `duration`.
pub fn measure(messages: &[Prepared], key: &SigningKey, audience: &str, duration: Duration) -> Result<Cost, Failure> {
    let texts: Vec<&str> =
        messages.iter().take(256).map(|message| std::str::from_utf8(&message.body)).collect::<Result<_, _>>()?;
    let signed_info = vec![b'x'; 700];
    let signature = key.sign(&signed_info)?;
    let public = PublicKey::from_certificate(key.certificate_der())?;
    let algorithm: SignatureAlgorithm = key.algorithm();
    let two_signatures = repeat(duration, |_| {
        let good = public.verifies(algorithm, &signed_info, &signature)
            && public.verifies(algorithm, std::hint::black_box(&signed_info), &signature);
        if good { Ok(()) } else { Err("a signature is wrong".into()) }
    })?;
    let trees: Vec<_> = texts.iter().map(|text| parse(text, &Limits::default())).collect::<Result<_, _>>()?;
    let verification = repeat(duration, |at| verified(&Envelope::read(&trees[at % trees.len()])?, audience))?;
    let with_parsing = repeat(duration, |at| {
        let tree = parse(texts[at % texts.len()], &Limits::default())?;
        verified(&Envelope::read(&tree)?, audience)
    })?;
    Ok(Cost { two_signatures, verification, with_parsing })
}

fn verified(envelope: &Envelope<'_>, audience: &str) -> Result<(), Failure> {
    let audiences = [audience.to_owned()];
    let expectations = Expectations::new(Clock::system().now(), &audiences, &|_, _| Ok(()));
    let security = envelope.security.ok_or("a message has no security header")?;
    std::hint::black_box(verify(security, &expectations)?);
    Ok(())
}

fn repeat(duration: Duration, mut work: impl FnMut(usize) -> Result<(), Failure>) -> Result<f64, Failure> {
    let from = thread_seconds();
    let mut count = 0;
    while thread_seconds() - from < duration.as_secs_f64() {
        for _ in 0..64 {
            work(count)?;
            count += 1;
        }
    }
    Ok((thread_seconds() - from) * 1e6 / count as f64)
}
