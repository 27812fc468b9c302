//! The gateway's own door for its command line: a socket in the data folder that only the gateway's user can open.
//! One line of JSON asks; lines that tell how far it is may come before the one that answers.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// The longest line, in bytes.
const LONGEST: u64 = 4 << 20;

/// The open door. Closing it removes the socket.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

/// Opens the door of a data folder.
pub fn listen(folder: &Path) -> io::Result<Control> {
    let path = socket_path(folder);
    if path.as_os_str().len() >= 108 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path of the store folder is too long for a socket",
        ));
    }
    // The store is locked by us, so a socket that is there is left over from a crash.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(Control { listener, path })
}

/// Whether a gateway serves from a data folder, and the connection to it.
pub async fn connect(folder: &Path) -> Option<BufReader<UnixStream>> {
    UnixStream::connect(socket_path(folder)).await.ok().map(BufReader::new)
}

impl Control {
    /// The next caller.
    pub async fn accept(&self) -> io::Result<BufReader<UnixStream>> {
        Ok(BufReader::new(self.listener.accept().await?.0))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // If this fails, the next start removes it.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Reads one line; empty when the other side is gone.
pub async fn read_line(stream: &mut BufReader<UnixStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.take(LONGEST).read_line(&mut line).await?;
    Ok(line)
}

/// Writes one line.
pub async fn write_line(stream: &mut BufReader<UnixStream>, line: &str) -> io::Result<()> {
    stream.write_all(line.as_bytes()).await?;
    stream.write_all(b"\n").await?;
    stream.flush().await
}

fn socket_path(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}
