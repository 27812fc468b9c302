//! Running gateways: the sandbox's three, shared by the tests of this process, or one with a configuration of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use causeway::app::{App, Running};
use causeway::config;
use causeway::gateway::Gateway;
use causeway::id::{Clock, Code, Transaction};
use causeway::sandbox::{Sandbox, Site};
use causeway::trust::issue::{Authority, KeyKind, Validity, write_public};
use causeway::trust::{Tls, Trust};
use tempfile::TempDir;

use super::audit::Trail;
use super::client::{Answer, Attachment, Client};
use super::fhir::Fhir;
use super::letter::{Letter, required_treatment, treatment};

/// The sandbox with its patients and documents, running as long as the tests do, and callers of its gateways.
pub struct World {
    /// The gateways.
    pub sandbox: Sandbox,
    /// The hospital as valley's partner in its network.
    valley_partner: Client,
    /// The hospital as the hub's partner in its network.
    hub_partner: Client,
    /// A system of valley and of the hub that provides documents.
    source: Client,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    /// The world that all tests of this process share. Whoever changes something in it uses patients of its own.
    pub fn shared() -> &'static Self {
        static WORLD: OnceLock<World> = OnceLock::new();
        // In a thread, because the caller may be inside a runtime already, whose end the world outlives.
        WORLD.get_or_init(|| std::thread::spawn(Self::start).join().expect("the sandbox starts"))
    }

    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = process_folder();
        let sandbox = runtime.block_on(async {
            let sandbox = Sandbox::start(&folder).await.unwrap();
            sandbox.load().await.unwrap();
            sandbox
        });
        let hospital = sandbox.folder.join("hospital");
        let keys = hospital.join("certificates");
        let partner = |network| {
            Client::open(&hospital.join("trust-store"), network, &keys.join("gateway.pem"), &keys.join("gateway.key"))
        };
        let home = sandbox.folder.join("document-source");
        let source =
            Client::open(&home.join("trust-store"), "local", &home.join("source.pem"), &home.join("source.key"));
        let (valley_partner, hub_partner) = (partner("carequality"), partner("tefca"));
        Self { sandbox, valley_partner, hub_partner, source, _runtime: runtime }
    }

    /// The gateway of a site.
    pub fn at(&self, site: Site) -> &Running {
        match site {
            Site::Hospital => &self.sandbox.hospital,
            Site::Valley => &self.sandbox.valley,
            Site::Hub => &self.sandbox.hub,
        }
    }

    /// The audit trail of a site.
    pub fn trail(&self, site: Site) -> Trail<'_> {
        Trail::of(&self.at(site).gateway)
    }

    /// The URL of a service of a site.
    pub fn url(&self, site: Site, service: &str) -> String {
        format!("{}/{service}", self.at(site).gateway.community.public_url)
    }

    /// The partner that asks a site: the hospital, in the network that they share.
    pub fn partner(&self, site: Site) -> &Client {
        if site == Site::Valley { &self.valley_partner } else { &self.hub_partner }
    }

    /// The system that provides documents to a site.
    pub fn source(&self) -> &Client {
        &self.source
    }

    /// A request of the hospital for treatment.
    pub fn letter(&self, site: Site, service: &str, action: &str, body: String) -> Letter {
        let purpose: Code = if site == Site::Hub { required_treatment() } else { treatment() };
        Letter::new(action, &self.url(site, service), body, "urn:oid:2.999.1.1", purpose)
    }

    /// A request of a site's own document source.
    pub fn source_letter(&self, site: Site, service: &str, action: &str, body: String) -> Letter {
        let home = format!("urn:oid:{}", site.oid());
        Letter::new(action, &self.url(site, service), body, &home, treatment())
    }

    /// Sends a letter of the hospital to the service that it is addressed to.
    pub async fn ask(&self, site: Site, letter: &Letter) -> Answer {
        self.partner(site).ask(self.at(site).https, path_of(letter), letter).await
    }

    /// Sends an envelope as it stands, as the hospital.
    pub async fn post(&self, site: Site, path: &str, envelope: &str) -> Answer {
        self.partner(site).post(self.at(site).https, path, envelope).await
    }

    /// Sends a letter of the hospital in MTOM.
    pub async fn ask_mtom(&self, site: Site, letter: &Letter) -> Answer {
        self.partner(site).ask_mtom(self.at(site).https, path_of(letter), letter, &[]).await
    }

    /// Sends a letter of the document source with its documents.
    pub async fn provide(&self, site: Site, letter: &Letter, documents: &[Attachment]) -> Answer {
        self.source.ask_mtom(self.at(site).https, path_of(letter), letter, documents).await
    }
}

/// The path of the URL that a letter is addressed to.
fn path_of(letter: &Letter) -> &str {
    let url = letter.addressing.to.as_deref().expect("the letter is addressed");
    let (_, rest) = url.split_once("://").expect("a URL");
    &rest[rest.find('/').expect("a path")..]
}

/// A folder that the next run of the tests removes: nothing runs at the end of a process that holds statics.
fn process_folder() -> PathBuf {
    const PREFIX: &str = "causeway-tests-";
    let temp = std::env::temp_dir();
    for entry in std::fs::read_dir(&temp).unwrap().flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        if !Path::new("/proc").join(process).is_dir() {
            // Another run of the tests may be removing it too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    temp.join(format!("{PREFIX}{}", std::process::id()))
}

/// One gateway with a configuration of its own, and one partner that may do everything.
pub struct Solo {
    /// The gateway.
    pub running: Running,
    /// The partner.
    pub client: Client,
    /// A system that the gateway's network trusts and that no entry names.
    pub stranger: Client,
    /// Everything is in here.
    pub ground: Ground,
}

/// Home of a gateway of [`Solo`].
pub const SOLO_HOME: &str = "urn:oid:2.999.60";
/// Its repository.
pub const SOLO_REPOSITORY: &str = "2.999.60.9";
/// Home of its partner, which is one of its own systems.
pub const SOLO_PARTNER: &str = "urn:oid:2.999.61";
/// Its public URL. It listens at a port of loopback; only names in messages are compared with this.
pub const SOLO_URL: &str = "https://localhost";

/// A folder with certificates of one authority and a configuration, before a gateway runs in it.
pub struct Ground {
    /// Everything is in here.
    pub folder: TempDir,
    root: Authority,
    validity: Validity,
}

impl Default for Ground {
    fn default() -> Self {
        Self::new()
    }
}

impl Ground {
    /// A folder with the certificates of a gateway and its partner.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let validity = Validity::days(Clock::system().now(), 2);
        let root = Authority::root("Test Root", KeyKind::P256, validity).unwrap();
        let ground = Self { folder, root, validity };
        ground.write("trust-store/local/root.pem", &ground.root.pem());
        ground.certify("gateway");
        ground.certify("partner");
        ground.certify("stranger");
        let partner = format!(
            "name = \"Partner\"\nnetwork = \"local\"\nkind = \"local\"\nhome_community_id = \"{SOLO_PARTNER}\"\n\
             responds = false\ntransactions_allowed = [{}]\n",
            Transaction::ALL.iter().map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", ")
        );
        ground.write("partners/partner.toml", &partner);
        ground
    }

    /// A path in the folder.
    pub fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file into the folder.
    pub fn write(&self, path: &str, text: &str) {
        write_public(&self.at(path), text).unwrap();
    }

    /// Makes a certificate for `localhost` of that name.
    pub fn certify(&self, name: &str) {
        let hosts = ["localhost", &format!("{name}.example.org")];
        let leaf = self.root.leaf(name, &hosts, KeyKind::P256, self.validity).unwrap();
        let path = |ending: &str| self.at(&format!("certificates/{name}.{ending}"));
        leaf.write(&path("pem"), &path("key")).unwrap();
    }

    /// The identity of that name, which trusts what the gateway trusts.
    pub fn tls(&self, name: &str) -> Arc<Tls> {
        let trust = Trust::open(&self.at("trust-store"), Default::default()).unwrap();
        let path = |ending: &str| self.at(&format!("certificates/{name}.{ending}"));
        Tls::open(trust, &path("pem"), &path("key")).unwrap()
    }

    /// A caller of that name.
    pub fn client(&self, name: &str) -> Client {
        let path = |ending: &str| self.at(&format!("certificates/{name}.{ending}"));
        Client::open(&self.at("trust-store"), "local", &path("pem"), &path("key"))
    }

    /// Writes the configuration of a gateway. `more` is added to it: domains, sources, limits.
    pub fn configure(&self, more: &str) {
        let configuration = format!(
            "[community]\nname = \"Solo\"\nhome_community_id = \"{SOLO_HOME}\"\nrepository_id = \"{SOLO_REPOSITORY}\"\n\
             [listen]\nhttps = \"127.0.0.1:0\"\npublic_url = \"{SOLO_URL}\"\n\
             [[listen.mllp]]\naddress = \"127.0.0.1:0\"\ntls = false\n{more}"
        );
        self.write("causeway.toml", &configuration);
    }

    /// Starts a gateway on what is in the folder.
    pub async fn serve(&self) -> Running {
        let settings = config::load(&self.at("causeway.toml")).unwrap_or_else(|problems| panic!("{problems:?}"));
        App::open(settings, Clock::system()).unwrap().serve().await.unwrap()
    }
}

impl Solo {
    /// Starts a gateway. `more` is added to its configuration: domains, sources, limits.
    pub async fn start(more: &str) -> Self {
        Self::start_on(Ground::new(), more).await
    }

    /// Starts a gateway in a folder that was prepared for it.
    pub async fn start_on(ground: Ground, more: &str) -> Self {
        ground.configure(more);
        let running = ground.serve().await;
        Self { running, client: ground.client("partner"), stranger: ground.client("stranger"), ground }
    }

    /// Stops the gateway and starts it again.
    pub async fn restart(self) -> Self {
        let Self { running, client, stranger, ground } = self;
        running.stop().await;
        Self { running: ground.serve().await, client, stranger, ground }
    }

    /// The gateway itself.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.running.gateway
    }

    /// Its MLLP listener.
    pub fn mllp(&self) -> SocketAddr {
        self.running.mllp[0]
    }

    /// The partner as a FHIR client. Its certificate is for `partner.example.org`, which an entry has to name.
    pub fn fhir(&self) -> Fhir<'_> {
        Fhir::of(&self.client, self.running.https)
    }

    /// A request of the partner.
    pub fn letter(&self, service: &str, action: &str, body: String) -> Letter {
        Letter::new(action, &format!("{SOLO_URL}/{service}"), body, SOLO_PARTNER, treatment())
    }
}
