//! `causeway certificates`: a test authority. Networks issue production certificates; this is for sandboxes, tests and
//! first steps.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use rcgen::SerialNumber;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::CliError;
use crate::id::Clock;
use crate::trust::issue::{Authority, KeyKind, Validity, write_public, write_secret};

/// `certificates`.
#[derive(Clone, Debug, Subcommand)]
pub enum Certificates {
    /// Make an authority: authority.pem to put into trust stores, authority.key to keep.
    Authority {
        /// Where to put them.
        #[arg(long, default_value = "certificates", value_name = "FOLDER")]
        folder: PathBuf,
        /// Its name.
        #[arg(long, default_value = "Causeway test authority")]
        name: String,
        /// How long it lasts.
        #[arg(long, default_value_t = 3650)]
        days: u32,
    },
    /// Issue a certificate for a gateway or another system, good for both ends of TLS and for signing.
    Issue {
        /// Where the authority is, and the certificate goes.
        #[arg(long, default_value = "certificates", value_name = "FOLDER")]
        folder: PathBuf,
        /// Its name, and the name of its files.
        #[arg(long)]
        name: String,
        /// Host names and addresses it is for. May be repeated.
        #[arg(long = "host", required = true)]
        hosts: Vec<String>,
        /// How long it lasts.
        #[arg(long, default_value_t = 365)]
        days: u32,
        /// The kind of key.
        #[arg(long, value_enum, default_value_t = Key::Rsa)]
        key: Key,
    },
    /// Write a revocation list that revokes certificates of the authority.
    Revoke {
        /// Where the authority is; the list goes there as authority.crl.
        #[arg(long, default_value = "certificates", value_name = "FOLDER")]
        folder: PathBuf,
        /// Certificates to revoke, PEM. All that are to stay revoked must be named each time.
        #[arg(value_name = "FILE")]
        certificates: Vec<PathBuf>,
        /// How long the list is good.
        #[arg(long, default_value_t = 30)]
        days: u32,
    },
}

/// Kinds of key.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Key {
    /// RSA with 2048 bits, what most partners have.
    Rsa,
    /// The elliptic curve P-256.
    P256,
}

/// Does it.
pub fn run(command: Certificates) -> Result<(), CliError> {
    match command {
        Certificates::Authority { folder, name, days } => {
            let authority = Authority::root(&name, KeyKind::P256, validity(days)).map_err(CliError::new)?;
            write_public(&folder.join("authority.pem"), &authority.pem()).map_err(CliError::new)?;
            write_secret(&folder.join("authority.key"), &authority.key_pem()).map_err(CliError::new)?;
            println!("{}", folder.join("authority.pem").display());
        }
        Certificates::Issue { folder, name, hosts, days, key } => {
            let kind = match key {
                Key::Rsa => KeyKind::Rsa2048,
                Key::P256 => KeyKind::P256,
            };
            let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
            let leaf = authority(&folder)?.leaf(&name, &hosts, kind, validity(days)).map_err(CliError::new)?;
            let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
            let stem: String = name.chars().map(plain).collect();
            let (certificate, key) = (folder.join(format!("{stem}.pem")), folder.join(format!("{stem}.key")));
            leaf.write(&certificate, &key).map_err(CliError::new)?;
            println!("{}\n{}", certificate.display(), key.display());
        }
        Certificates::Revoke { folder, certificates, days } => {
            let serials = certificates.iter().map(|path| serial(path)).collect::<Result<Vec<_>, _>>()?;
            let serials: Vec<&SerialNumber> = serials.iter().collect();
            let list = authority(&folder)?.revocation_list(&serials, validity(days)).map_err(CliError::new)?;
            write_public(&folder.join("authority.crl"), &list).map_err(CliError::new)?;
            println!("{}", folder.join("authority.crl").display());
        }
    }
    Ok(())
}

fn validity(days: u32) -> Validity {
    Validity::days(Clock::system().now(), days)
}

fn authority(folder: &Path) -> Result<Authority, CliError> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|error| CliError(format!("{}: {error}", path.display())))
    };
    let key = zeroize::Zeroizing::new(read("authority.key")?);
    Authority::from_pem(&read("authority.pem")?, &key).map_err(CliError::new)
}

fn serial(path: &Path) -> Result<SerialNumber, CliError> {
    let about = |error: &dyn std::fmt::Display| CliError(format!("{}: {error}", path.display()));
    let pem = std::fs::read(path).map_err(|error| about(&error))?;
    let certificate = CertificateDer::from_pem_slice(&pem).map_err(|error| about(&error))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|error| about(&error))?;
    Ok(SerialNumber::from_slice(parsed.raw_serial()))
}
