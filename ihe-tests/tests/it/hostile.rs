//! A gateway among strangers: what the tests of attacks and faults share. Everything goes over real sockets.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use causeway::app::{App, Running};
use causeway::atna::chain::{Kind, Sequence};
use causeway::atna::journal::{Position, read_from};
use causeway::config;
use causeway::hl7v2::{Deframer, mllp};
use causeway::hl7v3::datatype::Ii;
use causeway::hl7v3::wrapper::{Device, Wrapper};
use causeway::id::{Clock, Code, Demographics, Gender, HomeCommunityId, PersonName, Timestamp};
use causeway::saml::issue::{AUTHENTICATED_BY_X509, AssertionRequest, Confirmation, EMAIL_ADDRESS, Name, Token};
use causeway::saml::xspa::{Attributes, NHIN_PURPOSE, Quirks, SNOMED};
use causeway::soap::{addressing::Addressing, envelope};
use causeway::storage::seal::{Purpose, Sealer};
use causeway::trust::issue::{Authority, KeyKind, Leaf, Validity, write_public};
use causeway::xcpd::discovery;
use causeway::xml::signature::SigningKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The gateway's community.
pub const HOME: &str = "urn:oid:2.999.30";
/// The partner that may ask it.
pub const ASKER: &str = "urn:oid:2.999.40";
/// A partner of the other network.
pub const ELSEWHERE: &str = "urn:oid:2.999.60";
/// The base of the gateway's addresses, which is not where it listens.
pub const PUBLIC: &str = "https://localhost:8443";
/// A name that is a patient's and nobody else's, and must show up nowhere.
pub const CANARY: &str = "Zyxquorvane";

/// A certificate with its key, for connections and signatures.
pub struct Identity {
    pub leaf: Leaf,
    pub key: SigningKey,
}

impl Identity {
    pub fn of(leaf: Leaf) -> Self {
        let key = SigningKey::from_pem(leaf.key_pem().as_bytes(), leaf.pem().as_bytes()).unwrap();
        Self { leaf, key }
    }
}

/// The files of one gateway and the keys of those around it.
pub struct World {
    pub folder: tempfile::TempDir,
    /// Of the network `one`.
    pub root: Authority,
    pub asker: Identity,
    pub elsewhere: Identity,
    pub validity: Validity,
    pub clock: Clock,
}

impl World {
    /// Writes certificates, trust store, partners and configuration; `more` goes to the end of the configuration.
    pub fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let validity = Validity::days(clock.now(), 30);
        let root = Authority::root("Network One", KeyKind::P256, validity).unwrap();
        let other_root = Authority::root("Network Two", KeyKind::P256, validity).unwrap();
        let at = folder.path();
        write_public(&at.join("trust-store/one/root.pem"), &root.pem()).unwrap();
        write_public(&at.join("trust-store/two/root.pem"), &other_root.pem()).unwrap();
        let leaf = |authority: &Authority, name: &str| {
            authority.leaf(name, &["localhost", "127.0.0.1"], KeyKind::Rsa2048, validity).unwrap()
        };
        let gateway = leaf(&root, "gateway.example.org");
        gateway.write(&at.join("certificates/gateway.pem"), &at.join("certificates/gateway.key")).unwrap();
        let asker = Identity::of(leaf(&root, "asker.example.org"));
        let elsewhere = Identity::of(leaf(&other_root, "elsewhere.example.org"));
        let partner = |name: &str, network: &str, home: &str| {
            let text = format!(
                "name = \"{name}\"\nnetwork = \"{network}\"\nkind = \"carequality\"\nhome_community_id = \"{home}\"\n\
                 responds = false\n\n[quirks]\naccept_missing_audience = false\n"
            );
            write_public(&at.join("partners").join(format!("{name}.toml")), &text).unwrap();
        };
        partner("asker", "one", ASKER);
        partner("elsewhere", "two", ELSEWHERE);
        let configuration = format!(
            "[community]\nname = \"Test\"\nhome_community_id = \"{HOME}\"\nnpi = \"1234567893\"\n\
             repository_id = \"2.999.30.9\"\n\n\
             [listen]\nhttps = \"127.0.0.1:0\"\npublic_url = \"{PUBLIC}\"\n\n\
             [[listen.mllp]]\naddress = \"127.0.0.1:0\"\ntls = false\n\n\
             [[domains]]\nname = \"Records\"\nnamespace = \"MRN\"\noid = \"2.999.30.1\"\n\n\
             [[sources]]\nname = \"registration\"\napplication = \"ADT\"\nfacility = \"HERE\"\ndomains = [\"MRN\"]\n\
             addresses = [\"127.0.0.1\"]\n\n{more}"
        );
        write_public(&at.join("causeway.toml"), &configuration).unwrap();
        Self { folder, root, asker, elsewhere, validity, clock }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("causeway.toml")
    }

    pub fn audit_folder(&self) -> PathBuf {
        self.folder.path().join("data/audit")
    }

    /// Adds or replaces the entry of a partner.
    pub fn partner(&self, name: &str, text: &str) {
        write_public(&self.folder.path().join("partners").join(format!("{name}.toml")), text).unwrap();
    }

    pub async fn serve(&self) -> Running {
        self.serve_at(Clock::system()).await
    }

    pub async fn serve_at(&self, clock: Clock) -> Running {
        let settings = config::load(&self.config()).unwrap_or_else(|problems| panic!("{problems:?}"));
        App::open(settings, clock).unwrap().serve().await.unwrap()
    }

    /// A client's side of TLS, with a certificate or without.
    pub fn connector(&self, identity: Option<&Leaf>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.certificate().clone()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let key = rustls_pki_types::pem::PemObject::from_pem_slice(leaf.key_pem().as_bytes()).unwrap();
                builder.with_client_auth_cert(leaf.chain(), key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }

    /// Posts as the asker.
    pub async fn post(&self, to: SocketAddr, path: &str, body: &str) -> Answer {
        let connector = self.connector(Some(&self.asker.leaf));
        post(&connector, to, path, SOAP, body.as_bytes()).await.unwrap()
    }

    /// A letter that is right in every way.
    pub fn good(&self) -> Forge<'_> {
        Forge::by(&self.asker.key, self.clock.now())
    }

    /// The gateway still does what it is there for.
    pub async fn assert_alive(&self, gateway: &Running, after: &str) {
        let answer = self.post(gateway.https, XCPD, &self.good().discovery()).await;
        assert_eq!(answer.status, 200, "after {after}: {}", answer.body);
        assert!(answer.body.contains("PRPA_IN201306UV02"), "after {after}: {}", answer.body);
    }

    /// The audit records so far.
    pub fn records(&self) -> Vec<AuditRecord> {
        records(&self.audit_folder())
    }

    /// The audit record of a trace.
    pub fn record_of(&self, trace: &str) -> AuditRecord {
        let found: Vec<_> = self.records().into_iter().filter(|record| record.trace == trace).collect();
        assert_eq!(found.len(), 1, "one record of {trace}");
        found.into_iter().next().unwrap()
    }
}

/// An audit record: its trace and its message.
#[derive(Clone, Debug)]
pub struct AuditRecord {
    pub trace: String,
    pub text: String,
}

/// The audit records of a journal.
pub fn records(folder: &Path) -> Vec<AuditRecord> {
    let entries = read_from(folder, Position::default(), Sequence(u64::MAX), u64::MAX).unwrap();
    entries
        .into_iter()
        .filter(|(entry, _)| entry.header.kind == Kind::Record)
        .map(|(entry, _)| {
            let text = Sealer::plain().open(&entry.header.tenant, Purpose::Audit, &entry.payload).unwrap();
            AuditRecord { trace: entry.header.trace.to_string(), text: String::from_utf8(text.into_owned()).unwrap() }
        })
        .collect()
}

pub const SOAP: &str = "application/soap+xml; charset=UTF-8";
pub const XCPD: &str = "/RespondingGatewayXCPD";

/// What a message says, right or wrong.
pub struct Forge<'k> {
    pub key: &'k SigningKey,
    pub at: Timestamp,
    pub home: Option<&'static str>,
    pub purposes: Vec<&'static str>,
    pub audience: Option<String>,
    pub name_id: &'static str,
    pub confirmation: Confirmation,
    pub lifetime: Duration,
}

impl<'k> Forge<'k> {
    pub fn by(key: &'k SigningKey, at: Timestamp) -> Self {
        Self {
            key,
            at,
            home: Some(ASKER),
            purposes: vec!["TREATMENT"],
            audience: Some(format!("{PUBLIC}{XCPD}")),
            name_id: "ada@asker.example.org",
            confirmation: Confirmation::HolderOfKey,
            lifetime: Duration::from_secs(300),
        }
    }

    pub fn request(&self) -> AssertionRequest {
        AssertionRequest {
            issuer: Name { value: "ca@asker.example.org".into(), format: EMAIL_ADDRESS },
            subject: Name { value: self.name_id.into(), format: EMAIL_ADDRESS },
            attributes: Attributes {
                subject_id: Some("Ada Example".into()),
                organizations: vec!["Asking Community".into()],
                organization_ids: vec!["urn:oid:2.999.40".into()],
                home_community: self.home.map(|home| home.parse().unwrap()),
                roles: vec![Code::new("224608005", SNOMED, "Administrative healthcare staff")],
                purposes: self.purposes.iter().map(|code| Code::new(*code, NHIN_PURPOSE, *code)).collect(),
                npi: Some("1234567893".into()),
                ..Attributes::default()
            },
            audience: self.audience.clone(),
            lifetime: self.lifetime,
            confirmation: self.confirmation,
            authentication: AUTHENTICATED_BY_X509,
            quirks: Quirks::default(),
        }
    }

    pub fn token(&self) -> Token {
        Token::issue(&self.request(), self.at, self.key).unwrap()
    }

    pub fn security(&self) -> String {
        self.token().header(self.at, self.lifetime, self.key).unwrap().markup
    }

    /// A signed discovery request for the canary patient.
    pub fn discovery(&self) -> String {
        with_security(&self.security())
    }
}

/// A discovery request for the canary patient under some security header.
pub fn with_security(security: &str) -> String {
    envelope::write(&Addressing::request(discovery::ACTION, &format!("{PUBLIC}{XCPD}")), security, &discovery_body())
}

pub fn canary_person() -> Demographics {
    Demographics {
        names: vec![PersonName::new(CANARY, &["Quillifer"])],
        birth: "19340501".parse().ok(),
        gender: Some(Gender::Female),
        ..Demographics::default()
    }
}

pub fn discovery_body() -> String {
    let gateway = |home: &str| Device::gateway(&home.parse::<HomeCommunityId>().unwrap());
    let now = Clock::system().now();
    let wrapper = Wrapper::new(Ii::new("2.999.40.1", "M1"), now, gateway(ASKER), gateway(HOME));
    let parameters =
        discovery::Parameters { demographics: canary_person(), tells_birth: true, ..discovery::Parameters::default() };
    discovery::Request::new(wrapper, Ii::new("2.999.40.1", "Q1"), parameters).encode()
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// The trace that a fault or a refusal names.
    pub fn trace(&self) -> &str {
        let (_, rest) = self.body.split_once("(trace ").unwrap_or_else(|| panic!("no trace in {}", self.body));
        rest.split_once(')').unwrap().0
    }
}

pub async fn connect(connector: &TlsConnector, to: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(to).await?;
    connector.connect("localhost".try_into().unwrap(), stream).await
}

pub async fn post(
    connector: &TlsConnector,
    to: SocketAddr,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> io::Result<Answer> {
    let mut stream = connect(connector, to).await?;
    let head = head(path, content_type, &format!("Content-Length: {}\r\n", body.len()));
    stream.write_all(head.as_bytes()).await?;
    // A refusal may come before everything is sent; then the answer counts, not the broken pipe.
    let _ = stream.write_all(body).await;
    answer(&mut stream).await
}

pub fn head(path: &str, content_type: &str, more: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nConnection: close\r\n{more}\r\n"
    )
}

/// Reads an HTTP answer to the end of the connection.
pub async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    // Peers that close without a TLS goodbye are met in tests of broken connections.
    match stream.read_to_end(&mut bytes).await {
        Err(error) if bytes.is_empty() => return Err(error),
        _ => {}
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Err(io::Error::other(format!("no HTTP answer in {} bytes", bytes.len())));
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Ok(Answer { status, body: body.to_owned() })
}

/// Sends an HL7 v2 message over MLLP and waits for the answer.
pub async fn mllp(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), message: &[u8]) -> io::Result<String> {
    stream.write_all(&mllp::frame(message)).await?;
    let mut deframer = Deframer::new(mllp::Limits::default());
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => deframer.push(&piece[..count]),
        }
        if let Ok(Some(answer)) = deframer.next() {
            return Ok(String::from_utf8_lossy(&answer).into_owned());
        }
    }
}

/// The registration of a patient.
pub fn registration(control: &str, local_id: &str, family: &str, given: &str) -> String {
    format!(
        "MSH|^~\\&|ADT|HERE|CAUSEWAY|TEST|20260101120000||ADT^A04^ADT_A01|{control}|P|2.3.1\rEVN|A04|20260101120000\r\
         PID|||{local_id}^^^MRN&2.999.30.1&ISO||{family}^{given}||19340501|F|||1 Road^^Town^OR^97001^US\rPV1||O\r"
    )
}
