//! The files of the sandbox: an authority for tests, and for each gateway a certificate, a trust store, partners and a
//! configuration. Each gateway's file can be given to `causeway serve`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::SandboxError;
use super::samples::Community;
use crate::id::Clock;
use crate::trust::fingerprint;
use crate::trust::issue::{Authority, KeyKind, Validity, write_public};

/// The file that says that a folder is a sandbox, and may be replaced.
const MARK: &str = ".causeway-sandbox";
/// How long the certificates last, in days.
const DAYS: u32 = 365;

/// The gateways of the sandbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Site {
    /// The hospital.
    Hospital,
    /// The clinic of another network.
    Valley,
    /// The hub with two members.
    Hub,
}

impl Site {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Hospital, Self::Valley, Self::Hub];

    /// The name of its folder, and of its entry at the others.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hospital => "hospital",
            Self::Valley => "valley",
            Self::Hub => "hub",
        }
    }

    /// Its home community.
    pub fn oid(self) -> &'static str {
        match self {
            Self::Hospital => Community::Hospital.oid(),
            Self::Valley => Community::Valley.oid(),
            Self::Hub => "2.999.1.9",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Hospital => Community::Hospital.facility(),
            Self::Valley => Community::Valley.facility(),
            Self::Hub => "Bayside Health Network",
        }
    }

    /// The communities whose patients it has.
    fn communities(self) -> &'static [Community] {
        match self {
            Self::Hospital => &[Community::Hospital],
            Self::Valley => &[Community::Valley],
            Self::Hub => &[Community::Harbor, Community::Summit],
        }
    }
}

/// The ports of one gateway.
#[derive(Clone, Copy)]
struct Ports {
    https: u16,
    mllp: u16,
}

/// Writes a sandbox into a folder. One that is there is replaced; any other folder with something in it is left alone.
pub fn write(folder: &Path) -> Result<PathBuf, SandboxError> {
    let io = |error: std::io::Error| SandboxError::about(&folder.display().to_string(), error);
    if folder.join(MARK).is_file() {
        std::fs::remove_dir_all(folder).map_err(io)?;
    }
    std::fs::create_dir_all(folder).map_err(io)?;
    if std::fs::read_dir(folder).map_err(io)?.next().is_some() {
        return Err(SandboxError(format!("{} is not empty and not a sandbox; name another folder", folder.display())));
    }
    let folder = folder.canonicalize().map_err(io)?;
    std::fs::write(folder.join(MARK), "").map_err(io)?;
    let validity = Validity::days(Clock::system().now(), DAYS);
    let issue = |error: crate::trust::issue::IssueError| SandboxError::about("certificates", error);
    let authority = Authority::root("Causeway sandbox authority", KeyKind::P256, validity).map_err(issue)?;
    let ports = free_ports().map_err(io)?;
    let source = authority.leaf("documents.bayside.example.org", &["localhost"], KeyKind::Rsa2048, validity);
    let source = source.map_err(issue)?;
    let client = source.chain().first().map(fingerprint).unwrap_or_default();
    for (site, own) in Site::ALL.into_iter().zip(ports) {
        let home = folder.join(site.name());
        let hosts = ["localhost", "127.0.0.1"];
        let name = format!("gateway.{}.example.org", site.name());
        let leaf = authority.leaf(&name, &hosts, KeyKind::Rsa2048, validity).map_err(issue)?;
        leaf.write(&home.join("certificates/gateway.pem"), &home.join("certificates/gateway.key")).map_err(issue)?;
        for network in ["carequality", "tefca", "local"] {
            write_public(&home.join("trust-store").join(network).join("sandbox.pem"), &authority.pem()).map_err(io)?;
        }
        write_public(&home.join("causeway.toml"), &configuration(site, own, &client)).map_err(io)?;
        for (partner, text) in partners(site, &ports) {
            write_public(&home.join("partners").join(format!("{partner}.toml")), &text).map_err(io)?;
        }
    }
    let home = folder.join("document-source");
    source.write(&home.join("source.pem"), &home.join("source.key")).map_err(issue)?;
    let trusted = home.join("trust-store/local/sandbox.pem");
    write_public(&trusted, &authority.pem()).map_err(io)?;
    write_public(&home.join("hub.toml"), &source_partner(&ports)).map_err(io)?;
    Ok(folder)
}

/// The certificate of a PEM file that has the leaf first.
pub fn leaf_of(pem: &[u8]) -> Result<Vec<u8>, SandboxError> {
    let leaf = CertificateDer::from_pem_slice(pem).map_err(|error| SandboxError::about("certificate", error))?;
    Ok(leaf.to_vec())
}

/// Ports that nobody uses now. All are held until all are found, so that none is given out twice.
fn free_ports() -> std::io::Result<[Ports; 3]> {
    let held: Vec<TcpListener> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let ports: Vec<u16> = held.iter().map(|one| Ok(one.local_addr()?.port())).collect::<std::io::Result<_>>()?;
    Ok([0, 2, 4].map(|at| Ports { https: ports[at], mllp: ports[at + 1] }))
}

/// `client` is the certificate of the system that provides documents and speaks FHIR.
fn configuration(site: Site, ports: Ports, client: &str) -> String {
    let mut text = format!(
        "# {title}: one gateway of the sandbox. Run it alone with `causeway serve --config` and this file.\n\n\
         [community]\nname = \"{title}\"\nhome_community_id = \"urn:oid:{oid}\"\nnpi = \"1234567893\"\n\
         repository_id = \"{oid}.9\"\n\n",
        title = site.title(),
        oid = site.oid(),
    );
    if site == Site::Hub {
        for member in site.communities() {
            text += &format!(
                "[[community.members]]\nname = \"{}\"\nhome_community_id = \"urn:oid:{oid}\"\n\
                 assigning_authorities = [\"{}\"]\nrepository_id = \"{oid}.9\"\n\n",
                member.facility(),
                member.patient_domain(),
                oid = member.oid(),
            );
        }
    }
    text += &format!(
        "[listen]\nhttps = \"127.0.0.1:{https}\"\npublic_url = \"https://localhost:{https}\"\n\n\
         [[listen.mllp]]\naddress = \"127.0.0.1:{mllp}\"\ntls = false\n\n",
        https = ports.https,
        mllp = ports.mllp,
    );
    for community in site.communities() {
        let name = community.name();
        text += &format!(
            "[[domains]]\nname = \"{facility} medical record numbers\"\nnamespace = \"{upper}\"\noid = \"{domain}\"\n\n\
             [[sources]]\nname = \"{name} registration\"\napplication = \"ADT\"\nfacility = \"{upper}\"\n\
             domains = [\"{upper}\"]\naddresses = [\"127.0.0.1\"]\n\n",
            facility = community.facility(),
            upper = name.to_uppercase(),
            domain = community.patient_domain(),
        );
    }
    let feeds: Vec<_> = site.communities().iter().map(|one| format!("{:?}", one.name().to_uppercase())).collect();
    text += &format!(
        "# For curl: --cert document-source/source.pem --key document-source/source.key\n\
         # --cacert document-source/trust-store/local/sandbox.pem https://localhost:{https}/fhir/metadata\n\
         [[fhir_clients]]\nname = \"document systems\"\ncertificate = \"{client}\"\n\
         user = \"documents@bayside.example.org\"\npurpose = \"TREATMENT\"\nfind_patients = true\nfeed = [{feeds}]\n\
         find_documents = true\nprovide_documents = true\nother_communities = true\n",
        https = ports.https,
        feeds = feeds.join(", "),
    );
    text
}

/// The entries that a gateway has of the others.
fn partners(site: Site, ports: &[Ports; 3]) -> Vec<(&'static str, String)> {
    let [_, valley, hub] = ports;
    let local = (
        "documents",
        format!(
            "# Our own systems that provide documents and ask for them.\nname = \"Document systems\"\nnetwork = \"local\"\nkind = \"local\"\n\
             home_community_id = \"urn:oid:{}\"\nresponds = false\n",
            site.oid()
        ),
    );
    let hospital = |network: &str| {
        let text = format!(
            "name = \"{}\"\nnetwork = \"{network}\"\nkind = \"{network}\"\nhome_community_id = \"urn:oid:{}\"\n\
             responds = false\n",
            Site::Hospital.title(),
            Site::Hospital.oid()
        );
        ("hospital", text)
    };
    match site {
        Site::Hospital => vec![
            ("valley", responder(Site::Valley, "carequality", *valley)),
            ("hub", responder(Site::Hub, "tefca", *hub) + &members()),
            local,
        ],
        Site::Valley => vec![hospital("carequality"), local],
        Site::Hub => vec![hospital("tefca"), local],
    }
}

fn responder(site: Site, network: &str, ports: Ports) -> String {
    format!(
        "name = \"{}\"\nnetwork = \"{network}\"\nkind = \"{network}\"\nhome_community_id = \"urn:oid:{}\"\n\
         initiates = false\n\n[urls]\niti-55 = \"https://localhost:{port}/RespondingGatewayXCPD\"\n\
         iti-38 = \"https://localhost:{port}/RespondingGateway\"\niti-39 = \"https://localhost:{port}/RespondingGateway\"\n",
        site.title(),
        site.oid(),
        port = ports.https,
    )
}

fn members() -> String {
    let member = |member: &Community| {
        format!(
            "\n[[members]]\nname = \"{}\"\nhome_community_id = \"urn:oid:{}\"\nassigning_authorities = [\"{}\"]\n",
            member.facility(),
            member.oid(),
            member.patient_domain()
        )
    };
    Site::Hub.communities().iter().map(member).collect()
}

/// How the document source knows the hub.
fn source_partner(ports: &[Ports; 3]) -> String {
    format!(
        "name = \"{}\"\nnetwork = \"local\"\nkind = \"local\"\nhome_community_id = \"urn:oid:{}\"\ninitiates = false\n\n\
         [urls]\niti-41 = \"https://localhost:{}/DocumentRepository\"\n",
        Site::Hub.title(),
        Site::Hub.oid(),
        ports[2].https
    )
}
