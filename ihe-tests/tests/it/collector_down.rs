//! An audit collector that is away while the gateway works: everything arrives once it is back (ITI TF-2: 3.20.4.1.3).

use std::collections::HashSet;
use std::time::Duration;

use causeway::atna::syslog::Deframer;
use causeway::trust::issue::KeyKind;
use rustls_pki_types::pem::PemObject;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::hostile::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_was_down_gets_every_record() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let more =
        format!("[[audit.collectors]]\naddress = \"{address}\"\nserver_name = \"localhost\"\nnetwork = \"one\"\n");
    let world = World::new(&more);
    let gateway = world.serve().await;
    for number in 0..10 {
        world.assert_alive(&gateway, &format!("exchange {number} without a collector")).await;
    }
    gateway.stop().await;
    // Down for the whole run. The next run begins with what is waiting.
    let gateway = world.serve().await;
    world.assert_alive(&gateway, "a restart").await;
    let expected: HashSet<String> = world.records().into_iter().map(|record| record.trace).collect();
    assert!(expected.len() > 12);

    let leaf = world.root.leaf("collector", &["localhost"], KeyKind::P256, world.validity).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(leaf.key_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(leaf.chain(), key).unwrap();
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind(address).await.unwrap();
    let collect = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut deframer = Deframer::new(1 << 20);
        let mut missing = expected.clone();
        let mut piece = [0; 8192];
        while !missing.is_empty() {
            let count = stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "the gateway hung up, {} records are missing", missing.len());
            deframer.push(&piece[..count]);
            while let Some(message) = deframer.next_message().unwrap() {
                let text = String::from_utf8(message).unwrap();
                missing.retain(|trace| !text.contains(trace.as_str()));
            }
        }
    };
    timeout(Duration::from_secs(30), collect).await.expect("all records arrive");
    gateway.stop().await;
}
