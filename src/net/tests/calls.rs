//! Calls to partners: servers that must not be trusted, and answers that must not harm.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::routing::exchange::{Phase, Unreachable};
use crate::trust::issue::{Authority, KeyKind};
use crate::trust::{ChainError, ExpiredList, Revocation};

/// Product 1.5: connections to servers that Metriport, CONNECT and others let pass.
#[tokio::test]
async fn servers_without_trust_are_refused_by_name() {
    let house = House::new();
    let other = Authority::root("Other Root", KeyKind::P256, house.days()).unwrap();
    let hosts = &["localhost"];
    let revoked = house.leaf();
    let servers = [
        (house.expired(), ChainError::Expired),
        (house.not_yet_valid(), ChainError::NotYetValid),
        (other.leaf("x", hosts, KeyKind::P256, house.days()).unwrap(), ChainError::UnknownIssuer),
        (house.root.leaf("x", &["elsewhere.example"], KeyKind::P256, house.days()).unwrap(), ChainError::WrongName),
        (revoked, ChainError::Revoked),
    ];
    house.revoke(&[&servers[4].0]);
    let mut house = Some(house);
    for (server, reason) in &servers {
        let site = Site::start_as(house.take().unwrap(), server, limits()).await;
        let partner = site.partner(&site.house.leaf());
        let error = post_to(&partner, &site.endpoint("/count"), "hello").await.unwrap_err();
        assert_eq!(error, ExchangeError::TlsRefused(Refusal::Certificate(*reason)));
        assert!(error.never_sent());
        house = Some(site.house);
    }
}

/// ITI-19 direct trust, in the direction of calls: the pinned server is trusted, a twin with its name is not.
#[tokio::test]
async fn a_pinned_server_is_called_and_its_twin_is_not() {
    let house = House::new();
    let pinned = Leaf::self_signed("lab", &["localhost"], KeyKind::P256, house.days()).unwrap();
    let twin = Leaf::self_signed("lab", &["localhost"], KeyKind::P256, house.days()).unwrap();
    house.put("alpha/pinned/lab.pem", &pinned.pem());
    let site = Site::start_as(house, &pinned, limits()).await;
    assert_eq!(text(&site.partner(&site.house.leaf()), &site.endpoint("/count")).await.0, 200);
    let site = Site::start_as(site.house, &twin, limits()).await;
    let error = post_to(&site.partner(&site.house.leaf()), &site.endpoint("/count"), "x").await.unwrap_err();
    assert!(matches!(error, ExchangeError::TlsRefused(Refusal::Certificate(_))), "{error:?}");
}

#[tokio::test]
async fn a_server_without_required_revocation_list_is_refused() {
    let house = House::new().policy(Revocation::Required, ExpiredList::Refuse);
    let other = Authority::root("Other Root", KeyKind::P256, house.days()).unwrap();
    house.put("alpha/other.crl", &other.revocation_list(&[], house.days()).unwrap());
    let site = Site::start(house).await;
    let error = post_to(&site.partner(&site.house.leaf()), &site.endpoint("/count"), "x").await.unwrap_err();
    assert_eq!(error, ExchangeError::TlsRefused(Refusal::Certificate(ChainError::UnknownRevocation)));
}

#[tokio::test]
async fn a_server_that_is_revoked_loses_its_open_connections_at_reload() {
    let house = House::new();
    let own = house.leaf();
    let site = Site::start_as(house, &own, limits()).await;
    let trust = site.house.open().unwrap();
    let tls = Tls::with_identity(Arc::clone(&trust), site.house.leaf().identity().unwrap()).unwrap();
    let dialer = Dialer::new(Settings::default(), Clock::system(), tls);
    assert_eq!(text(&dialer, &site.endpoint("/count")).await.0, 200);
    site.house.revoke(&[&own]);
    trust.reload().unwrap();
    let error = post_to(&dialer, &site.endpoint("/count"), "x").await.unwrap_err();
    assert_eq!(error, ExchangeError::TlsRefused(Refusal::Certificate(ChainError::Revoked)));
}

#[tokio::test]
async fn what_cannot_be_reached_says_why() {
    let site = Site::start(House::new()).await;
    let dialer = site.partner(&site.house.leaf());
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut unknown = site.endpoint("/count");
    unknown.network = "beta".parse().unwrap();
    for (to, error) in [
        (endpoint(&format!("https://{closed}/")), ExchangeError::Unreachable(Unreachable::Refused)),
        (endpoint("https://nobody.invalid/"), ExchangeError::NameNotResolved),
        (endpoint(&format!("http://{}/", site.address)), ExchangeError::NotHttps),
        (unknown, ExchangeError::Network("beta is not in the trust store".into())),
    ] {
        assert_eq!(post_to(&dialer, &to, "hello").await.unwrap_err(), error);
    }
}

/// A server that takes a request and then does what it likes.
async fn answering(house: &House, script: Script) -> SocketAddr {
    let tls = Tls::with_identity(house.open().unwrap(), house.leaf().identity().unwrap()).unwrap();
    let mut config = (*tls.server()).clone();
    config.alpn_protocols.clear();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = acceptor.accept(stream).await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            stream.write_all(script.head.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            while script.endless && stream.write_all(b"3e8\r\n").await.is_ok() {
                let written = async {
                    stream.write_all(&[b'x'; 1000]).await?;
                    stream.write_all(b"\r\n").await
                };
                if written.await.is_err() {
                    break;
                }
            }
            if script.hang {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
        }
    });
    address
}

#[derive(Clone, Copy)]
struct Script {
    head: &'static str,
    endless: bool,
    hang: bool,
}

#[tokio::test]
async fn bad_answers_are_errors_of_their_own() {
    let house = House::new();
    let tls = Tls::with_identity(house.open().unwrap(), house.leaf().identity().unwrap()).unwrap();
    let dialer = Dialer::new(Settings::default(), Clock::system(), tls);
    let script = |head| Script { head, endless: false, hang: false };
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (script, error) in [
        (script(""), ExchangeError::Reset),
        (script("SSH-2.0-OpenSSH\r\n\r\n"), ExchangeError::NotHttp),
        (script("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), ExchangeError::Truncated),
        (script("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), ExchangeError::Empty),
        (script("HTTP/1.1 200 OK\r\ncontent-length: 2147483648\r\n\r\n"), ExchangeError::TooLarge { limit: 1000 }),
        (Script { head: CHUNKED, endless: true, hang: false }, ExchangeError::TooLarge { limit: 1000 }),
        (Script { head: "", endless: false, hang: true }, ExchangeError::TimedOut(Phase::Answering)),
        (Script { head: CHUNKED, endless: false, hang: true }, ExchangeError::TimedOut(Phase::Reading)),
    ] {
        let address = answering(&house, script).await;
        let mut to = endpoint(&format!("https://localhost:{}/", address.port()));
        to.timeout = Duration::from_millis(500);
        let outcome = match post_to(&dialer, &to, "hello").await {
            Ok(answer) => answer.collect().await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert_eq!(outcome, Err(error));
    }
}

#[tokio::test]
async fn a_streamed_request_arrives_and_a_broken_source_breaks_it_off() {
    use crate::routing::exchange::CallBody;
    use futures_util::StreamExt;
    let site = Site::start(House::new()).await;
    let dialer = site.partner(&site.house.leaf());
    let (to, deadline) = (site.endpoint("/count"), Instant::now() + Duration::from_secs(5));
    let call = |pieces: Vec<std::io::Result<bytes::Bytes>>| HttpCall {
        body: CallBody::Stream(futures_util::stream::iter(pieces).boxed()),
        ..HttpCall::post("text/plain", "")
    };
    let answer = dialer.call(&to, call(vec![Ok("abc".into()), Ok("de".into())]), deadline).await.unwrap();
    assert_eq!(answer.collect().await.unwrap(), "5");
    let broken = call(vec![Ok("abc".into()), Err(std::io::Error::other("gone"))]);
    assert_eq!(dialer.call(&to, broken, deadline).await.unwrap_err(), ExchangeError::Source);
}
