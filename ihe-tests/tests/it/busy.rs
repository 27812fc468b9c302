//! More requests at once than the gateway takes: whoever is too many is told to come back, and is recorded.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::client::TlsStream;

use crate::hostile::{SOAP, World, XCPD};
use tokio::net::TcpStream;

async fn connect(world: &World, to: std::net::SocketAddr) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(to).await.unwrap();
    world.connector(Some(&world.asker.leaf)).connect("localhost".try_into().unwrap(), stream).await.unwrap()
}

/// The answer to a request, with its head.
async fn ask(world: &World, to: std::net::SocketAddr, path: &str, content_type: &str, body: &str) -> String {
    let mut stream = connect(world, to).await;
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {content_type}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_too_many_is_told_to_come_back() {
    let client = "[[fhir_clients]]\nname = \"app\"\nnetwork = \"one\"\ncertificate_name = \"localhost\"\n\
                  purpose = \"TREATMENT\"\nfind_patients = true\n";
    let world = World::new(&format!("[limits]\nrequests = 1\n{client}"));
    let gateway = world.serve().await;
    let to = gateway.https;
    // A request whose body is asked for, and not there yet, has the only place.
    let discovery = world.good().discovery();
    let mut first = connect(&world, to).await;
    let head = format!(
        "POST {XCPD} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {SOAP}\r\nexpect: 100-continue\r\n\
         content-length: {}\r\n\r\n",
        discovery.len()
    );
    first.write_all(head.as_bytes()).await.unwrap();
    const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut told = [0; GO_ON.len()];
    first.read_exact(&mut told).await.unwrap();
    assert_eq!(told, GO_ON);

    let answer = ask(&world, to, XCPD, SOAP, &world.good().discovery()).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    assert!(answer.contains("Receiver</soap12:Value>") && answer.contains("too many requests"), "{answer}");
    let trace = answer.split("(trace ").nth(1).unwrap().split(')').next().unwrap();
    assert!(world.record_of(trace).text.contains("too many requests"));

    let form = "application/x-www-form-urlencoded";
    let answer = ask(&world, to, "/fhir/Patient/_search", form, "family=Nobody").await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    assert!(answer.contains("\"throttled\""), "{answer}");

    // The first is served as if nothing had happened, and then there is room again.
    first.write_all(discovery.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let length = first.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    world.assert_alive(&gateway, "a crowd").await;
    gateway.stop().await;
}
