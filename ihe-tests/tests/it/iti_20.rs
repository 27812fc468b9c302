//! ITI-20 Record Audit Event against a collector that others wrote: rsyslog with TLS and certificates on both sides.

use std::collections::HashSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use causeway::atna::forward::{Collector, Forwarder, Patience};
use causeway::atna::syslog::Sender;
use causeway::atna::{Audit, Event, Exchange, Object, Party, Settings, Side, Source, message};
use causeway::id::{Clock, PatientId, Tenant, TraceId, Transaction};
use causeway::trust::issue::{Authority, KeyKind, Validity};
use causeway::xml::Limits;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// A collector of its own on a loopback port, killed when dropped.
struct Rsyslog {
    folder: PathBuf,
    child: Child,
}

impl Rsyslog {
    /// None where rsyslogd or its TLS driver is not installed.
    fn start(folder: &Path, port: u16) -> Option<Self> {
        let program = ["/usr/sbin/rsyslogd", "/usr/local/sbin/rsyslogd", "/sbin/rsyslogd"]
            .into_iter()
            .find(|path| Path::new(path).is_file())?;
        let driver = [("lmnsd_ossl.so", "ossl"), ("lmnsd_gtls.so", "gtls")].into_iter().find(|(module, _)| {
            [
                "/usr/lib/x86_64-linux-gnu/rsyslog",
                "/usr/lib/aarch64-linux-gnu/rsyslog",
                "/usr/lib64/rsyslog",
                "/usr/lib/rsyslog",
            ]
            .iter()
            .any(|library| Path::new(library).join(module).is_file())
        });
        let (_, driver) = driver?;
        let at = folder.display();
        let configuration = format!(
            r#"global(workDirectory="{at}" maxMessageSize="1m"
                defaultNetstreamDriverCAFile="{at}/ca.pem"
                defaultNetstreamDriverCertFile="{at}/collector.pem"
                defaultNetstreamDriverKeyFile="{at}/collector.key")
            module(load="imtcp" streamDriver.name="{driver}" streamDriver.mode="1"
                streamDriver.authMode="x509/certvalid" maxSessions="10")
            input(type="imtcp" address="127.0.0.1" port="{port}")
            template(name="raw" type="string" string="%rawmsg%\n")
            action(type="omfile" file="{at}/received.log" template="raw")
            "#
        );
        std::fs::write(folder.join("rsyslog.conf"), configuration).unwrap();
        // A process that was killed leaves its pid file behind.
        let _ = std::fs::remove_file(folder.join("pid"));
        let child = Command::new(program)
            .arg("-n")
            .arg("-f")
            .arg(folder.join("rsyslog.conf"))
            .arg("-i")
            .arg(folder.join("pid"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self { folder: folder.to_owned(), child })
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The messages in its file.
    fn received(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("received.log")).unwrap_or_default();
        // The last line is whole only when it has its end.
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }

    /// Waits until each of these traces has arrived.
    async fn until_received(&self, traces: &[String]) {
        let complete = async {
            loop {
                let found: HashSet<String> = self.received().iter().map(|line| trace_of(line)).collect();
                if traces.iter().all(|trace| found.contains(trace)) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(Duration::from_secs(30), complete).await.is_err() {
            panic!("{} of {} records arrived", self.received().len(), traces.len());
        }
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Checks what the profile says of one message and gives its trace.
fn trace_of(line: &str) -> String {
    let (header, rest) = line.split_once(" IHE+RFC-3881 - ").unwrap_or_else(|| panic!("not in one frame: {line}"));
    assert!(header.starts_with("<85>1 ") && header.contains(" node.example.org causeway "), "{line}");
    let message = message::decode(rest, &Limits::default()).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(message.types[0].code, "ITI-38");
    assert!(line.ends_with("</AuditMessage>"), "{line}");
    message.description.rsplit_once("trace ").unwrap().1.to_owned()
}

async fn record(audit: &Audit, count: usize) -> Vec<String> {
    let mut traces = Vec::new();
    for index in 0..count {
        let trace = TraceId::new();
        let exchange = Exchange {
            side: Side::Server,
            client: Party::default(),
            server: Party { user_id: "https://rg.example.org/xca".into(), access_point: None },
            humans: Vec::new(),
            at: Clock::system().now(),
            trace,
            message_id: None,
            tenant: Tenant::default(),
        };
        let patient = PatientId::from_cx(&format!("Müller-{index}^^^&2.999.1.3&ISO")).unwrap();
        // Some of them are longer than any buffer on the way.
        let query = Object::query(Transaction::Iti38, None, vec![b'x'; if index % 10 == 0 { 100_000 } else { 100 }]);
        let event = Event::of(Transaction::Iti38, exchange).object(Object::patient(&patient)).object(query);
        audit.record(event).await.unwrap();
        traces.push(trace.to_string());
    }
    traces
}

#[tokio::test(flavor = "multi_thread")]
async fn rsyslog_receives_every_record_over_tls_even_when_it_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let validity = Validity::days(Clock::system().now(), 2);
    let authority = Authority::root("Test Root", KeyKind::P256, validity).unwrap();
    let collector = authority.leaf("collector", &["localhost"], KeyKind::Rsa2048, validity).unwrap();
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    collector.write(&folder.path().join("collector.pem"), &folder.path().join("collector.key")).unwrap();
    let node = authority.leaf("node", &["node.example.org"], KeyKind::P256, validity).unwrap();

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(mut rsyslog) = Rsyslog::start(folder.path(), port) else {
        return ihe_tests::missing("rsyslogd is not installed (or has no TLS driver)");
    };

    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(node.key_pem().as_bytes()).unwrap();
    let tls =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(node.chain(), key).unwrap();
    let collector = Collector {
        name: "rsyslog".to_owned(),
        address: format!("127.0.0.1:{port}"),
        server_name: "localhost".try_into().unwrap(),
        tls: Arc::new(tls),
    };
    let settings = Settings::new(Source { id: "node.example.org".into(), enterprise: None });
    let (audit, _) = Audit::open(&folder.path().join("audit"), settings, Clock::system(), None).unwrap();
    let patience = Patience {
        shortest_wait: Duration::from_millis(20),
        longest_wait: Duration::from_millis(200),
        ..Patience::default()
    };
    let start = || {
        let sender = Sender::new("node.example.org", "causeway");
        let forwarder = Forwarder::new(&audit, collector.clone(), sender, patience.clone()).unwrap();
        let (stop, stopping) = watch::channel(false);
        (stop, tokio::spawn(forwarder.run(stopping)))
    };

    // An orderly restart in between: nothing arrives twice.
    let mut traces = Vec::new();
    for _ in 0..2 {
        let (stop, task) = start();
        traces.extend(record(&audit, 60).await);
        rsyslog.until_received(&traces).await;
        stop.send_replace(true);
        timeout(Duration::from_secs(20), task).await.expect("it stops").unwrap();
    }
    let received: Vec<String> = rsyslog.received().iter().map(|line| trace_of(line)).collect();
    assert_eq!(received, traces, "each once and in order");

    // Killed while records come, and started again: all arrive, some perhaps twice.
    let (stop, task) = start();
    traces.extend(record(&audit, 30).await);
    rsyslog.until_received(&traces).await;
    rsyslog.kill();
    traces.extend(record(&audit, 60).await);
    let rsyslog = Rsyslog::start(folder.path(), port).unwrap();
    traces.extend(record(&audit, 30).await);
    rsyslog.until_received(&traces).await;
    stop.send_replace(true);
    timeout(Duration::from_secs(20), task).await.expect("it stops").unwrap();
}
