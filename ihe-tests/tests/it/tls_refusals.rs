//! ITI-19: what OpenSSL, as a partner's stack, may and may not do at our listener.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use causeway::id::Clock;
use causeway::net::https;
use causeway::trust::issue::{Authority, KeyKind, Validity, write_public};
use causeway::trust::{Refusal, Tls, Trust};

/// Runs the listener, then hands a folder with the client's files and the address to the test.
fn with_listener(test: impl FnOnce(&Path, SocketAddr, mpsc::Receiver<Refusal>)) {
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
        return ihe_tests::missing("openssl is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let days = Validity::days(Clock::system().now(), 10);
    let root = Authority::root("Alpha Root", KeyKind::P256, days).unwrap();
    write_public(&folder.path().join("store/alpha/root.pem"), &root.pem()).unwrap();
    let client = root.leaf("client", &["localhost"], KeyKind::Rsa2048, days).unwrap();
    client.write(&folder.path().join("client.pem"), &folder.path().join("client.key")).unwrap();
    let server = root.leaf("server", &["localhost"], KeyKind::Rsa2048, days).unwrap();

    let trust = Trust::open(&folder.path().join("store"), Default::default()).unwrap();
    let tls = Tls::with_identity(trust, server.identity().unwrap()).unwrap();
    let (heard, refused) = mpsc::channel();
    let settings = https::Listener {
        tls,
        limits: https::Limits { handshake: Duration::from_secs(2), ..Default::default() },
        on_refused: Arc::new(move |_, refusal| heard.send(refusal.clone()).unwrap_or_default()),
        clock: Clock::system(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().route("/", axum::routing::get(|| async { "alive" }));
    runtime.spawn(https::serve(listener, settings, router, Default::default()));
    test(folder.path(), address, refused);
}

/// The output of `openssl s_client` with a request typed into it.
fn openssl(folder: &Path, address: SocketAddr, options: &[&str]) -> String {
    use std::io::Write;
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-servername", "localhost", "-ign_eof"])
        .args(["-CAfile", "store/alpha/root.pem"])
        .args(options)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    // Where the handshake failed the program may be gone before it reads.
    let _ = child.stdin.take().unwrap().write_all(request);
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

const OWN: [&str; 4] = ["-cert", "client.pem", "-key", "client.key"];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    OWN.iter().chain(more).copied().collect()
}

#[test]
fn tls_1_2_and_1_3_with_forward_secrecy_are_spoken() {
    with_listener(|folder, address, refused| {
        for (options, suite) in [
            (&["-tls1_3"][..], "TLS_AES_256_GCM_SHA384"),
            (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "ECDHE-RSA-AES128-GCM-SHA256"),
            (&["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"], "ECDHE-RSA-AES256-GCM-SHA384"),
        ] {
            let output = openssl(folder, address, &with(options));
            assert!(output.contains("alive") && output.contains(suite), "{options:?}: {output}");
        }
        assert_eq!(refused.try_recv().ok(), None);
    });
}

#[test]
fn older_protocols_weak_suites_and_missing_certificates_are_refused_by_name() {
    with_listener(|folder, address, refused| {
        for (options, reason) in [
            // Security level 0, or OpenSSL itself declines before we can.
            (with(&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]), Refusal::ProtocolVersion),
            (with(&["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"]), Refusal::ProtocolVersion),
            (with(&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"]), Refusal::NoCommonCipher),
            (with(&["-tls1_2", "-cipher", "AES256-GCM-SHA384"]), Refusal::NoCommonCipher),
            (vec!["-tls1_2"], Refusal::NoClientCertificate),
            (vec!["-tls1_3"], Refusal::NoClientCertificate),
        ] {
            let output = openssl(folder, address, &options);
            assert!(!output.contains("alive"), "{options:?}: {output}");
            assert_eq!(refused.recv_timeout(Duration::from_secs(5)), Ok(reason), "{options:?}: {output}");
        }
        assert!(openssl(folder, address, &OWN).contains("alive"));
    });
}
