//! The certificates of a benchmark: one authority, the gateway under test, the partner that asks it, the partners that
//! it asks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use causeway::id::Clock;
use causeway::trust::issue::{Authority, KeyKind, Validity, write_public};
use causeway::trust::{NetworkName, RevocationPolicy, Tls, Trust};
use causeway::xml::signature::SigningKey;

use super::Failure;

/// The network of the trust store.
pub const NETWORK: &str = "bench";

/// Writes `trust-store/bench/root.pem` and, for each name, `NAME.pem` and `NAME.key`. The keys are RSA with 2048 bits, as
/// live partners have them.
pub fn write(folder: &Path, names: &[&str]) -> Result<(), Failure> {
    let validity = Validity::days(Clock::system().now(), 30);
    let root = Authority::root("Benchmark root", KeyKind::Rsa2048, validity)?;
    write_public(&folder.join("trust-store").join(NETWORK).join("root.pem"), &root.pem())?;
    for name in names {
        let leaf = root.leaf(name, &["127.0.0.1", "localhost"], KeyKind::Rsa2048, validity)?;
        leaf.write(&folder.join(name).with_extension("pem"), &folder.join(name).with_extension("key"))?;
    }
    Ok(())
}

/// TLS as one of the names, with the settings of the gateway itself.
pub fn tls(folder: &Path, name: &str) -> Result<Arc<Tls>, Failure> {
    let policies = BTreeMap::from([(network()?, RevocationPolicy::default())]);
    let trust = Trust::open(&folder.join("trust-store"), policies)?;
    Ok(Tls::open(trust, &folder.join(name).with_extension("pem"), &folder.join(name).with_extension("key"))?)
}

/// The key of a name, for signatures.
pub fn signing_key(folder: &Path, name: &str) -> Result<SigningKey, Failure> {
    let read = |ending| std::fs::read(folder.join(name).with_extension(ending));
    Ok(SigningKey::from_pem(&read("key")?, &read("pem")?)?)
}

/// The network's name.
pub fn network() -> Result<NetworkName, Failure> {
    Ok(NETWORK.parse()?)
}
