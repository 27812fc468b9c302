//! The MLLP listener.

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::hl7v2::mllp::{FrameError, Limits as FrameLimits};
use crate::net::mllp::{self, Handler, MllpPeer};

/// Answers with what it got and who sent it.
struct Echo;

impl Handler for Echo {
    fn answer(&self, message: Vec<u8>, peer: Arc<MllpPeer>) -> BoxFuture<'_, Vec<u8>> {
        Box::pin(async move {
            if message == b"slow" {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            let who = peer.tls.as_ref().map_or("nobody", |peer| peer.subject());
            [&message, who.as_bytes()].join(&b' ')
        })
    }

    fn unreadable(&self, _: &FrameError, _: Arc<MllpPeer>) -> BoxFuture<'_, Vec<u8>> {
        Box::pin(async { b"AR".to_vec() })
    }
}

type Started = (SocketAddr, mpsc::UnboundedReceiver<Refusal>, CancellationToken, JoinHandle<()>);

async fn start(tls: Option<Arc<Tls>>) -> Started {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (send, refused) = mpsc::unbounded_channel();
    let limits = mllp::Limits {
        handshake: Duration::from_millis(400),
        message: Duration::from_millis(600),
        end: Duration::from_millis(100),
        frame: FrameLimits { message_bytes: 100 },
        ..Default::default()
    };
    let on_refused: crate::net::OnRefused = Arc::new(move |_, refusal| send.send(refusal.clone()).unwrap_or_default());
    let settings = mllp::Listener { tls, limits, on_refused, clock: Clock::system() };
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(mllp::serve(listener, settings, Arc::new(Echo), shutdown.clone()));
    (address, refused, shutdown, serving)
}

/// Sends bytes and reads until the connection has been silent for a while or is closed.
async fn exchange(address: SocketAddr, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut heard = Vec::new();
    while let Ok(Ok(1..)) = tokio::time::timeout(Duration::from_millis(900), stream.read_buf(&mut heard)).await {}
    String::from_utf8(heard).unwrap()
}

/// Specification A.1: what partners send.
#[tokio::test]
async fn frames_are_answered_in_order_and_broken_ones_once() {
    let (address, ..) = start(None).await;
    let long = [&b"\x0B"[..], &[b'x'; 200]].concat();
    for (sent, heard) in [
        (&b"\x0Bone\x1C\x0D"[..], "\x0Bone nobody\x1C\x0D"),
        (b"\x0Bslow\x1C\x0D\x0Btwo\x1C\x0D", "\x0Bslow nobody\x1C\x0D\x0Btwo nobody\x1C\x0D"),
        (b"\x0Bno return\x1C", "\x0Bno return nobody\x1C\x0D"),
        (b"\x0Bunfinished", ""),
        (&long, "\x0BAR\x1C\x0D"),
    ] {
        assert_eq!(exchange(address, sent).await, heard);
    }
}

#[tokio::test]
async fn a_refusal_is_heard_by_a_sender_that_is_not_done_yet() {
    let (address, ..) = start(None).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"\x0B").await.unwrap();
    for _ in 0..20 {
        stream.write_all(&[b'x'; 200]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stream.shutdown().await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "\x0BAR\x1C\x0D");
}

/// ITI-19 on HL7 v2: mutual TLS before any message.
#[tokio::test]
async fn a_tls_listener_knows_its_peer_and_refuses_others() {
    let house = House::new();
    let tls = |leaf: &Leaf| Tls::with_identity(house.open().unwrap(), leaf.identity().unwrap()).unwrap();
    let (address, mut refused, ..) = start(Some(tls(&house.leaf()))).await;
    let connect = async |leaf: &Leaf| {
        let connector = TlsConnector::from(tls(leaf).client(&alpha()).unwrap());
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        stream.write_all(b"\x0Bone\x1C\x0D").await.unwrap();
        let mut heard = [0; 100];
        let length = stream.read(&mut heard).await.unwrap_or(0);
        String::from_utf8(heard[..length].to_vec()).unwrap()
    };
    assert_eq!(connect(&house.leaf()).await, "\x0Bone CN=gateway\x1C\x0D");
    assert_eq!(connect(&house.expired()).await, "");
    let refusal = tokio::time::timeout(Duration::from_secs(5), refused.recv()).await.unwrap().unwrap();
    assert_eq!(refusal, Refusal::Certificate(crate::trust::ChainError::Expired));
    assert!(!exchange(address, b"\x0Bplain\x1C\x0D").await.contains("plain"));
    assert_eq!(connect(&house.leaf()).await, "\x0Bone CN=gateway\x1C\x0D");
}

#[tokio::test]
async fn shutdown_lets_the_running_message_be_answered() {
    let (address, _, shutdown, serving) = start(None).await;
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        shutdown.cancel();
    };
    let (heard, ()) = tokio::join!(exchange(address, b"\x0Bslow\x1C\x0D"), stop);
    assert_eq!(heard, "\x0Bslow nobody\x1C\x0D");
    tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap().unwrap();
}
