//! How long the listener waits for whom: connections that bring nothing, bring it too slowly, or do not take what they
//! asked for. Whoever is at work is left alone.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// A listener that waits for 300 ms at most.
async fn impatient() -> Site {
    let house = House::new();
    let own = house.leaf();
    let wait = Duration::from_millis(300);
    Site::start_as(house, &own, https::Limits { headers: wait, idle: wait, ..limits() }).await
}

/// What a client hears until the listener closes the connection, which it must do in time.
async fn heard(stream: &mut TlsStream<TcpStream>) -> String {
    let mut heard = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut heard)).await;
    // How it ends, with or without a goodbye, is all the same.
    let _ = read.expect("the connection is closed in time");
    String::from_utf8_lossy(&heard).into_owned()
}

async fn http_2(site: &Site) -> TlsStream<TcpStream> {
    let tls = Tls::with_identity(site.house.open().unwrap(), site.house.leaf().identity().unwrap()).unwrap();
    let mut config = rustls::ClientConfig::clone(&tls.client(&alpha()).unwrap());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(site.address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await.unwrap()
}

#[tokio::test]
async fn who_says_nothing_or_never_ends_the_headers_is_not_waited_for() {
    let site = impatient().await;
    for begin in ["", "POST", "POST /count HTTP/1.1\r\nhost: localhost\r\nx-slow: "] {
        let mut stream = site.raw(&site.house.leaf()).await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        let answer = heard(&mut stream).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{begin:?}: {answer}");
    }
    // Byte after byte, each in time, and the whole never.
    let mut stream = site.raw(&site.house.leaf()).await;
    stream.write_all(b"POST /count HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await.unwrap();
    let started = Instant::now();
    while stream.write_all(b"x").await.is_ok() && stream.flush().await.is_ok() {
        assert!(started.elapsed() < Duration::from_secs(5), "the connection is closed in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // HTTP/2 without its first words, and with nothing after them.
    for begin in ["", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = http_2(&site).await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        heard(&mut stream).await;
    }
    site.check_alive().await;
}

#[tokio::test]
async fn a_connection_that_is_not_used_is_closed_after_a_while_and_not_before() {
    let site = impatient().await;
    let ask = b"GET /alive HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut stream = site.raw(&site.house.leaf()).await;
    for _ in 0..4 {
        stream.write_all(ask).await.unwrap();
        let mut answer = [0; 1000];
        let length = stream.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert_eq!(heard(&mut stream).await, "");

    let stream = TokioIo::new(http_2(&site).await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..4 {
        let request = hyper::Request::get("https://localhost/alive").body(Full::default()).unwrap();
        assert_eq!(client.send_request(request).await.unwrap().status(), 200);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let closed = tokio::time::timeout(Duration::from_secs(5), connection).await;
    closed.expect("the connection is closed in time").unwrap().ok();
    site.check_alive().await;
}

#[tokio::test]
async fn a_handler_may_take_longer_than_a_connection_may_be_idle() {
    let site = impatient().await;
    let mut stream = site.raw(&site.house.leaf()).await;
    stream.write_all(b"POST /slower HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert!(heard(&mut stream).await.starts_with("HTTP/1.1 200"));

    let stream = TokioIo::new(http_2(&site).await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::post("https://localhost/slower").body(Full::default()).unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(&*answer.into_body().collect().await.unwrap().to_bytes(), b"done");
}

/// A client that asks for much and reads little of it costs little, and holds its place for so long and no longer.
#[tokio::test]
async fn who_does_not_take_the_answer_is_not_waited_for() {
    let site = impatient().await;
    let mut stream = site.raw(&site.house.leaf()).await;
    stream.write_all(b"GET /long HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut piece = [0; 16 << 10];
    // Whoever reads is served, for longer than the window.
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(900) {
        assert!(stream.read(&mut piece).await.unwrap() > 0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let made = super::MADE.load(SeqCst);
    assert!(made < 500, "{made} of 1000 pieces are made for a client that reads slowly");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(super::MADE.load(SeqCst) < 500);
    // What was on its way when the listener gave up.
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    let _ = read.expect("the connection was closed");
    assert!(rest.len() < 32 << 20, "{} bytes", rest.len());
    site.check_alive().await;
}

/// RFC 9110: 10.1.1: a client that waits to be asked for the body is asked, or told that nobody wants it.
#[tokio::test]
async fn a_client_that_waits_for_100_continue_hears_it_or_its_refusal() {
    let site = Site::start(House::new()).await;
    let head = |length: u64| {
        format!("POST /count HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n")
    };
    let mut stream = site.raw(&site.house.leaf()).await;
    stream.write_all(head(5).as_bytes()).await.unwrap();
    let mut answer = [0; 1000];
    let length = stream.read(&mut answer).await.unwrap();
    assert_eq!(&answer[..length], b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abcde").await.unwrap();
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));

    let mut stream = site.raw(&site.house.leaf()).await;
    stream.write_all(head(1 << 31).as_bytes()).await.unwrap();
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer[..length]));
}

#[tokio::test]
async fn headers_that_are_too_large_are_refused_in_both_versions() {
    let site = Site::start(House::new()).await;
    let large = "x".repeat(80 << 10);
    let mut stream = site.raw(&site.house.leaf()).await;
    let head = format!("GET /alive HTTP/1.1\r\nhost: localhost\r\nx-large: {large}\r\n\r\n");
    // It may hang up before it has read all.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = [0; 100];
    let length = stream.read(&mut answer).await.unwrap_or(0);
    assert!(!answer[..length].starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer[..length]));

    let stream = TokioIo::new(http_2(&site).await);
    let (client, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = |value: &str| {
        let request = hyper::Request::get("https://localhost/alive").header("x-large", value);
        request.body(Full::default()).unwrap()
    };
    let refused = client.clone().send_request(request(&large)).await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status() == 431));
    let answered = client.clone().send_request(request("small")).await.unwrap();
    assert_eq!(answered.status(), 200, "the other requests of the connection go on");
}
