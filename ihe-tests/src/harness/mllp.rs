//! A registration system: HL7 v2 over MLLP, byte for byte.

use std::net::SocketAddr;
use std::time::Duration;

use causeway::hl7v2::mllp::{Limits, frame};
use causeway::hl7v2::{self, Ack, AckCode, Deframer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to an MLLP listener.
pub struct Feed {
    stream: TcpStream,
    deframer: Deframer,
}

impl Feed {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, deframer: Deframer::new(Limits::default()) }
    }

    /// Sends bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next answer; none if the other side hangs up.
    pub async fn read(&mut self) -> Option<Vec<u8>> {
        let mut piece = [0; 4096];
        loop {
            if let Some(answer) = self.deframer.next().unwrap() {
                return Some(answer);
            }
            match timeout(PATIENCE, self.stream.read(&mut piece)).await.expect("an answer in time") {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.deframer.push(&piece[..count]),
            }
        }
    }

    /// Sends one message in a frame and reads its answer.
    pub async fn ask(&mut self, message: &[u8]) -> Told {
        self.write(&frame(message)).await;
        Told::read(self.read().await.expect("an acknowledgement"))
    }
}

/// An acknowledgement.
#[derive(Clone, Debug)]
pub struct Told {
    /// MSA-1.
    pub code: AckCode,
    /// MSA-2.
    pub control_id: String,
    /// The whole answer, in lines.
    pub text: String,
}

impl Told {
    /// Reads an answer.
    pub fn read(bytes: Vec<u8>) -> Self {
        let message = hl7v2::Message::parse(&bytes, &hl7v2::Limits::default()).unwrap();
        let (control_id, code, _) = Ack::read(&message).expect("an MSA segment");
        let text = String::from_utf8_lossy(&bytes).replace('\r', "\n");
        Self { code, control_id: control_id.to_string(), text }
    }

    /// A field of the first segment of a name, as it stands; empty if there is none. MSH counts its separator.
    pub fn field(&self, segment: &str, number: usize) -> &str {
        let at = if segment == "MSH" { number - 1 } else { number };
        let line = self.text.lines().find(|line| line.split('|').next() == Some(segment));
        line.and_then(|line| line.split('|').nth(at)).unwrap_or_default()
    }
}
