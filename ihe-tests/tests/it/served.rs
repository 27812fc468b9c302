//! `causeway serve` as a process of its own, whose log is read and which can be killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// A gateway that serves in another process; killed when dropped.
pub struct Served {
    child: Child,
    pub https: SocketAddr,
    pub mllp: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Served {
    /// Starts it and waits until it says where it listens.
    pub fn start(config: &Path) -> Self {
        let mut child = program().args(["serve", "--config"]).arg(config).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let (say, said) = mpsc::channel();
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains("serving") && line.contains("mllp") {
                    say.send(addresses(&line)).unwrap_or_default();
                }
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let Ok(found) = said.recv_timeout(Duration::from_secs(20)) else {
            let _ = child.kill();
            panic!("the gateway does not serve: {}", log.lock().unwrap());
        };
        let [https, mllp] = found[..] else { panic!("two addresses in {found:?}") };
        Self { child, https, mllp, log }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The most memory that it has had at once, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The loopback addresses of a line, whatever its format.
fn addresses(line: &str) -> Vec<SocketAddr> {
    line.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').filter_map(|word| word.parse().ok()).collect()
}

/// The `causeway` program.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_gateway"))
}

/// Runs a command of the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

/// What a process printed, on both outputs.
pub fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}
