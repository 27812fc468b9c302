use std::collections::HashSet;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::atna::syslog::Deframer;
use crate::atna::{Event, Occasion, Settings, Source, message};
use crate::id::{Clock, Tenant, TraceId};

struct Certificate {
    server: Arc<rustls::ServerConfig>,
    client: Arc<rustls::ClientConfig>,
}

fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let der: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![der.clone()], key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der).unwrap();
    let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Certificate { server: Arc::new(server), client: Arc::new(client) }
}

/// Reads whole frames from each connection, up to so many bytes in each.
fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    most: usize,
) -> (mpsc::UnboundedReceiver<String>, JoinHandle<()>) {
    let (send, receive) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut stream) = TlsAcceptor::from(Arc::clone(&tls)).accept(tcp).await else { continue };
            let mut deframer = Deframer::new(1 << 20);
            let mut buffer = [0; 1000];
            let mut taken = 0;
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                deframer.push(&buffer[..count]);
                while let Some(message) = deframer.next_message().unwrap() {
                    send.send(String::from_utf8(message).unwrap()).unwrap();
                }
                taken += count;
                if taken >= most {
                    break;
                }
            }
            let _ = stream.shutdown().await;
        }
    });
    (receive, task)
}

fn audit(directory: &Path) -> Audit {
    let settings = Settings { segment_bytes: 20_000, ..Settings::new(Source { id: "node".into(), enterprise: None }) };
    Audit::open(directory, settings, Clock::system(), None).unwrap().0
}

/// Records some events and gives the trace of each.
async fn record(audit: &Audit, count: usize) -> Vec<String> {
    let mut traces = Vec::new();
    for _ in 0..count {
        let trace = TraceId::new();
        let occasion = Occasion { at: Clock::system().now(), trace, tenant: Tenant::default() };
        audit.record(Event::application_start(occasion, "causeway")).await.unwrap();
        traces.push(trace.to_string());
    }
    traces
}

fn patience() -> Patience {
    Patience {
        shortest_wait: Duration::from_millis(5),
        longest_wait: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        settle_after: Duration::from_secs(3600),
    }
}

struct Running {
    stop: watch::Sender<bool>,
    progress: Progress,
    task: JoinHandle<()>,
}

fn start(audit: &Audit, address: &str, tls: &Certificate, patience: Patience) -> Running {
    let collector = Collector {
        name: "central".to_owned(),
        address: address.to_owned(),
        server_name: "localhost".try_into().unwrap(),
        tls: Arc::clone(&tls.client),
    };
    let forwarder = Forwarder::new(audit, collector, Sender::new("node", "causeway"), patience).unwrap();
    let (stop, stopping) = watch::channel(false);
    let progress = forwarder.progress();
    Running { stop, progress, task: tokio::spawn(forwarder.run(stopping)) }
}

impl Running {
    async fn stop(self) {
        self.stop.send_replace(true);
        timeout(Duration::from_secs(10), self.task).await.expect("it stops").unwrap();
    }
}

async fn take(receive: &mut mpsc::UnboundedReceiver<String>) -> String {
    let message = timeout(Duration::from_secs(10), receive.recv()).await.expect("a record arrives").unwrap();
    assert!(message.starts_with("<85>1 ") && message.contains(" IHE+RFC-3881 - \u{FEFF}<?xml"), "{message}");
    let xml = message.split_once(" - ").unwrap().1;
    let description = message::decode(xml, &crate::xml::Limits::default()).unwrap().description;
    description.strip_prefix("trace ").unwrap().to_owned()
}

async fn until_sent(running: &Running) {
    let sent = async {
        while running.progress.lag().entries > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), sent).await.expect("everything is sent");
}

#[tokio::test]
async fn everything_arrives_in_order_and_once_over_an_orderly_restart() {
    let (directory, tls) = (tempfile::tempdir().unwrap(), certificate());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (mut receive, _server) = serve(listener, Arc::clone(&tls.server), usize::MAX);
    let audit = audit(directory.path());
    for _ in 0..3 {
        let mut expected = record(&audit, 20).await;
        let running = start(&audit, &address, &tls, patience());
        expected.extend(record(&audit, 20).await);
        for trace in &expected {
            assert_eq!(&take(&mut receive).await, trace);
        }
        until_sent(&running).await;
        assert_eq!(running.progress.lag(), Lag { entries: 0, oldest: None });
        running.stop().await;
    }
    assert!(receive.try_recv().is_err(), "nothing arrives twice");
}

/// Product pain P33: a collector that is down loses nothing and stops nobody.
#[tokio::test]
async fn a_collector_that_was_down_gets_everything() {
    let (directory, tls) = (tempfile::tempdir().unwrap(), certificate());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let audit = audit(directory.path());
    let running = start(&audit, &address, &tls, patience());
    let expected = record(&audit, 100).await;
    let known = async {
        while running.progress.lag().oldest.is_none() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), known).await.expect("the oldest waiting record is known");
    assert_eq!(running.progress.lag().entries, 100);
    let listener = TcpListener::bind(&address).await.unwrap();
    let (mut receive, _server) = serve(listener, Arc::clone(&tls.server), usize::MAX);
    for trace in &expected {
        assert_eq!(&take(&mut receive).await, trace);
    }
    until_sent(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn connections_that_break_lose_nothing() {
    let (directory, tls) = (tempfile::tempdir().unwrap(), certificate());
    let audit = audit(directory.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (mut early, server) = serve(listener, Arc::clone(&tls.server), 10_000);
    let running = start(&audit, &address, &tls, patience());
    let mut missing: HashSet<String> = record(&audit, 100).await.into_iter().collect();
    missing.remove(&take(&mut early).await);
    server.abort();
    let _ = server.await;
    let listener = TcpListener::bind(&address).await.unwrap();
    let (mut receive, _server) = serve(listener, Arc::clone(&tls.server), usize::MAX);
    while !missing.is_empty() {
        missing.remove(&take(&mut receive).await);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_collector_with_the_wrong_certificate_gets_nothing() {
    let (directory, tls, other) = (tempfile::tempdir().unwrap(), certificate(), certificate());
    let audit = audit(directory.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let expected = record(&audit, 3).await;
    let running = start(&audit, &address, &tls, patience());
    {
        let (tcp, _) = listener.accept().await.unwrap();
        assert!(TlsAcceptor::from(Arc::clone(&other.server)).accept(tcp).await.is_err());
    }
    assert_eq!(running.progress.lag().entries, 3);
    let (mut receive, _server) = serve(listener, Arc::clone(&tls.server), usize::MAX);
    for trace in &expected {
        assert_eq!(&take(&mut receive).await, trace);
    }
    running.stop().await;
}

#[tokio::test]
async fn what_was_flushed_long_ago_is_settled_without_a_stop() {
    let (directory, tls) = (tempfile::tempdir().unwrap(), certificate());
    let audit = audit(directory.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (mut receive, _server) = serve(listener, Arc::clone(&tls.server), usize::MAX);
    let running = start(&audit, &address, &tls, Patience { settle_after: Duration::ZERO, ..patience() });
    record(&audit, 5).await;
    for _ in 0..5 {
        take(&mut receive).await;
    }
    let cursor = cursor_path(directory.path(), "central");
    let settled = async {
        while read_cursor(&cursor).unwrap().sequence != Sequence(5) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), settled).await.expect("the mark moves");
    running.task.abort();
}

#[test]
fn a_damaged_cursor_means_the_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let path = cursor_path(directory.path(), "a/b");
    assert_eq!(path.parent(), Some(directory.path()));
    assert_eq!(read_cursor(&path).unwrap(), Position::default());
    let position = Position { sequence: Sequence(7), segment: 2, offset: 99 };
    write_cursor(&path, position, true).unwrap();
    assert_eq!(read_cursor(&path).unwrap(), position);
    std::fs::write(&path, "7 2").unwrap();
    assert_eq!(read_cursor(&path).unwrap(), Position::default());
}
