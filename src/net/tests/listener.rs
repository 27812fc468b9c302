//! The HTTPS listener.

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::*;
use crate::trust::issue::{Authority, KeyKind};
use crate::trust::refusal::PeerReason;
use crate::trust::{ChainError, tls};

#[tokio::test]
async fn the_handler_learns_who_calls() {
    let site = Site::start(House::new()).await;
    let leaf = site.house.root.leaf("clinic", &["localhost"], KeyKind::Rsa2048, site.house.days()).unwrap();
    let (status, answer) = text(&site.partner(&leaf), &site.endpoint("/who")).await;
    let fingerprint = crate::trust::peer::fingerprint(&leaf.chain()[0]);
    assert_eq!((status, answer), (200, format!("{fingerprint} CN=clinic alpha")));
}

/// ITI-19; product 1.5: each untrusted client is refused, by name, on both sides.
#[tokio::test]
async fn clients_without_trust_are_refused_by_name() {
    let house = House::new();
    let other = Authority::root("Other Root", KeyKind::P256, house.days()).unwrap();
    let revoked = house.leaf();
    house.revoke(&[&revoked]);
    let hosts = &["localhost"];
    let self_signed = Leaf::self_signed("x", hosts, KeyKind::P256, house.days()).unwrap();
    let unknown = other.leaf("x", hosts, KeyKind::P256, house.days()).unwrap();
    let clients = [
        (house.expired(), ChainError::Expired, PeerReason::CertificateExpired),
        (house.not_yet_valid(), ChainError::NotYetValid, PeerReason::CertificateExpired),
        (revoked, ChainError::Revoked, PeerReason::CertificateRevoked),
        (self_signed, ChainError::SelfSigned, PeerReason::BadCertificate),
        (unknown, ChainError::UnknownIssuer, PeerReason::UnknownAuthority),
    ];
    let mut site = Site::start(house).await;
    for (leaf, reason, heard) in clients {
        let error = post_to(&site.partner(&leaf), &site.endpoint("/who"), "hello").await.unwrap_err();
        assert_eq!(site.refusal().await, Refusal::Certificate(reason));
        assert_eq!(error, ExchangeError::TlsRefused(Refusal::ByPeer(heard)), "{reason:?}");
        site.check_alive().await;
    }
}

#[tokio::test]
async fn a_client_without_certificate_is_refused() {
    let mut site = Site::start(House::new()).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(site.house.root.certificate().clone()).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = ClientConfig::builder_with_provider(Arc::clone(tls::provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let stream = TcpStream::connect(site.address).await.unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream);
        if let Ok(mut stream) = connecting.await {
            // TLS 1.3: the client is done before the server has looked.
            stream.write_all(b"GET /alive HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap_err();
        }
        assert_eq!(site.refusal().await, Refusal::NoClientCertificate);
    }
    site.check_alive().await;
}

#[tokio::test]
async fn what_is_not_tls_or_never_begins_is_refused() {
    let mut site = Site::start(House::new()).await;
    let mut plain = TcpStream::connect(site.address).await.unwrap();
    plain.write_all(b"GET /alive HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(site.refusal().await, Refusal::NotTls);
    let silent = TcpStream::connect(site.address).await.unwrap();
    assert_eq!(site.refusal().await, Refusal::HandshakeTimeout);
    drop(silent);
    drop(TcpStream::connect(site.address).await.unwrap());
    assert_eq!(site.refusal().await, Refusal::Ended);
    site.check_alive().await;
}

#[tokio::test]
async fn connections_from_one_address_are_limited() {
    let house = House::new();
    let own = house.leaf();
    let limits = https::Limits { connections_per_address: 1, ..limits() };
    let mut site = Site::start_as(house, &own, limits).await;
    let first = site.raw(&site.house.leaf()).await;
    let _second = TcpStream::connect(site.address).await.unwrap();
    assert_eq!(site.refusal().await, Refusal::TooManyFromAddress);
    drop(first);
}

#[tokio::test]
async fn a_handler_that_panics_answers_500_and_the_connection_lives() {
    let site = Site::start(House::new()).await;
    let partner = site.partner(&site.house.leaf());
    assert_eq!(text(&partner, &site.endpoint("/panic")).await, (500, "internal error".into()));
    assert_eq!(text(&partner, &site.endpoint("/count")).await, (200, "5".into()));
}

async fn answer_to(site: &Site, request: &[u8], then_close: bool) -> String {
    let mut stream = site.raw(&site.house.leaf()).await;
    stream.write_all(request).await.unwrap();
    if then_close {
        stream.shutdown().await.unwrap();
    }
    let mut answer = [0; 1000];
    let length = stream.read(&mut answer).await.unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn bad_bodies_get_their_status_and_harm_nobody() {
    let site = Site::start(House::new()).await;
    const HEAD: &str = "POST /count HTTP/1.1\r\nhost: localhost\r\n";
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1000));
    for (body, status) in [
        ("content-length: 5\r\n\r\nabcde".to_owned(), "HTTP/1.1 200"),
        ("content-length: 2147483648\r\n\r\nabc".to_owned(), "HTTP/1.1 413"),
        (format!("transfer-encoding: chunked\r\n\r\n{chunk}{chunk}"), "HTTP/1.1 413"),
        ("content-length: 5\r\n\r\nabc".to_owned(), "HTTP/1.1 408"),
    ] {
        let answer = answer_to(&site, format!("{HEAD}{body}").as_bytes(), false).await;
        assert!(answer.starts_with(status), "{status}: {answer}");
    }
    // Whoever hangs up within a body, or breaks its framing, may hear nothing; nobody else suffers.
    answer_to(&site, format!("{HEAD}content-length: 5\r\n\r\nabc").as_bytes(), true).await;
    answer_to(&site, format!("{HEAD}transfer-encoding: chunked\r\n\r\nno length\r\n").as_bytes(), false).await;
    let answer = answer_to(&site, b"NOT HTTP AT ALL\r\n\r\n", false).await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    site.check_alive().await;
}

/// RFC 9112: 9.6: a sender that is still busy when the answer comes reads it afterwards.
#[tokio::test]
async fn an_answer_is_heard_by_a_sender_that_is_not_done_yet() {
    let site = Site::start(House::new()).await;
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    for (path, framing, status) in [
        ("/who", "transfer-encoding: chunked\r\n\r\n", "HTTP/1.1 200"),
        ("/count", "transfer-encoding: chunked\r\n\r\n", "HTTP/1.1 413"),
        ("/count", "content-length: 2147483648\r\n\r\n", "HTTP/1.1 413"),
        ("/nowhere", "content-length: 2147483648\r\n\r\n", "HTTP/1.1 404"),
    ] {
        let mut stream = site.raw(&site.house.leaf()).await;
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{framing}");
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            stream.write_all(chunk.as_bytes()).await.unwrap();
        }
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(status.as_bytes()), "{path} {framing}: {}", String::from_utf8_lossy(&answer));
    }
}

/// Sends until the other end is gone, and tells how many bytes went.
async fn send_on(mut stream: impl AsyncWrite + Unpin, piece: &str) -> usize {
    let mut sent = 0;
    while stream.write_all(piece.as_bytes()).await.is_ok() {
        sent += piece.len();
    }
    sent
}

/// What the sockets hold of a sender's is more than what is read of it, but far from what it sends while it is waited for.
#[tokio::test]
async fn a_sender_that_never_ends_is_cut_off_when_it_had_its_answer() {
    let mut site = Site::start(House::new()).await;
    let mut stream = site.raw(&site.house.leaf()).await;
    stream.write_all(b"POST /who HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let sent = send_on(stream, &format!("10000\r\n{}\r\n", "x".repeat(0x10000))).await;
    assert!(sent < 96 << 20, "{sent} bytes of a request that was answered");

    let stream = TcpStream::connect(site.address).await.unwrap();
    let sent = send_on(stream, &"x".repeat(0x10000)).await;
    assert_eq!(site.refusal().await, Refusal::NotTls);
    assert!(sent < 16 << 20, "{sent} bytes of a handshake that was refused");
}

#[tokio::test]
async fn a_revoked_client_is_refused_after_a_reload_also_on_its_old_connection() {
    let mut site = Site::start(House::new()).await;
    let (leaf, other) = (site.house.leaf(), site.house.leaf());
    let (partner, neighbour) = (site.partner(&leaf), site.partner(&other));
    let to = site.endpoint("/count");
    assert_eq!(text(&partner, &to).await.0, 200);
    assert_eq!(text(&neighbour, &to).await.0, 200);

    site.house.revoke(&[&leaf]);
    assert!(site.trust.changed());
    site.trust.reload().unwrap();
    let revoked = Refusal::Certificate(ChainError::Revoked);
    assert_eq!(text(&partner, &to).await, (403, revoked.to_string()), "the connection that was open");
    assert_eq!(site.refusal().await, revoked);
    let error = post_to(&site.partner(&leaf), &to, "hello").await.unwrap_err();
    assert_eq!(error, ExchangeError::TlsRefused(Refusal::ByPeer(PeerReason::CertificateRevoked)));
    assert_eq!(site.refusal().await, revoked);
    assert_eq!(text(&neighbour, &to).await.0, 200);
}

#[tokio::test]
async fn sessions_are_never_resumed() {
    let site = Site::start(House::new()).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(site.house.root.certificate().clone()).unwrap();
    let leaf = site.house.leaf();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        // A client that would resume if it could.
        let config = ClientConfig::builder_with_provider(Arc::clone(tls::provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(leaf.chain(), key_of(&leaf))
            .unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        for _ in 0..2 {
            let stream = TcpStream::connect(site.address).await.unwrap();
            let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
            stream.write_all(b"GET /alive HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            assert!(stream.read(&mut [0; 100]).await.unwrap() > 0);
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        }
    }
}

#[tokio::test]
async fn a_new_certificate_of_ours_is_used_without_a_restart() {
    let house = House::new();
    let (old, new, client) = (house.leaf(), house.leaf(), house.leaf());
    let (certificate, key) = (house.path("../own.pem"), house.path("../own.key"));
    old.write(&certificate, &key).unwrap();
    let tls = Tls::open(house.open().unwrap(), &certificate, &key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = https::Listener {
        tls: Arc::clone(&tls),
        limits: limits(),
        on_refused: Arc::new(|_, _| {}),
        clock: Clock::system(),
    };
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(https::serve(listener, settings, router(), shutdown.clone()));
    let connect = async || {
        let tls = Tls::with_identity(house.open().unwrap(), client.identity().unwrap()).unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(tls.client(&alpha()).unwrap());
        presented(&connector.connect("localhost".try_into().unwrap(), stream).await.unwrap())
    };
    assert_eq!(connect().await, old.chain()[0]);
    new.write(&certificate, &key).unwrap();
    assert!(tls.changed());
    tls.reload().unwrap();
    assert!(!tls.changed());
    assert_eq!(connect().await, new.chain()[0]);
    std::fs::write(&key, "no key").unwrap();
    tls.reload().unwrap_err();
    assert_eq!(connect().await, new.chain()[0], "a file that cannot be used changes nothing");
    shutdown.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn shutdown_lets_running_requests_end_and_takes_no_new_ones() {
    let site = Site::start(House::new()).await;
    let partner = site.partner(&site.house.leaf());
    let (to, alive) = (site.endpoint("/slow"), site.endpoint("/count"));
    let shutdown = site.shutdown.clone();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        shutdown.cancel();
    };
    let (answer, ()) = tokio::join!(text(&partner, &to), stop);
    assert_eq!(answer, (200, "done".into()));
    tokio::time::timeout(Duration::from_secs(5), site.serving).await.unwrap().unwrap();
    let refused = post_to(&partner, &alive, "hello").await.unwrap_err();
    assert_eq!(refused, ExchangeError::Unreachable(crate::routing::exchange::Unreachable::Refused));
}

fn key_of(leaf: &Leaf) -> rustls_pki_types::PrivateKeyDer<'static> {
    use rustls_pki_types::pem::PemObject;
    rustls_pki_types::PrivateKeyDer::from_pem_slice(leaf.key_pem().as_bytes()).unwrap()
}

/// The listener offers HTTP/2 and answers several requests on one connection at once.
#[tokio::test]
async fn http_2_is_served_too() {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let site = Site::start(House::new()).await;
    let tls = Tls::with_identity(site.house.open().unwrap(), site.house.leaf().identity().unwrap()).unwrap();
    let mut config = ClientConfig::clone(&tls.client(&alpha()).unwrap());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(site.address).await.unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = async |path: &str| {
        let body = Full::new(bytes::Bytes::from_static(b"hello"));
        let request = hyper::Request::post(format!("https://localhost{path}")).body(body).unwrap();
        let answer = client.clone().send_request(request).await.unwrap();
        (answer.status().as_u16(), answer.into_body().collect().await.unwrap().to_bytes())
    };
    let (slow, failed, counted) = tokio::join!(ask("/slow"), ask("/panic"), ask("/count"));
    assert_eq!((slow.0, failed.0, &*counted.1), (200, 500, &b"5"[..]));
}
