//! A TCP proxy that breaks: it cuts connections, holds up what goes through, and gives half of an
//! answer. What it has held up is still delivered when the sender has gone, as networks do it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cuelight::clock::{Clock as _, SystemClock};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What is passed on at once: more than any answer of these tests is rare.
const PORTION_BYTES: usize = 16 * 1024;

/// What is wrong with the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Every portion arrives this much later, in both directions.
    Slow(Duration),
    /// Of the next answer on each connection half arrives, and then the connection ends.
    Half,
}

/// The proxy; it ends, with all connections, when it is dropped.
pub struct BreakingProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    target: SocketAddr,
    trouble: Mutex<Trouble>,
    cuts: watch::Sender<u64>,
}

impl BreakingProxy {
    /// Starts on a free port of loopback, in front of `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (trouble, cuts) = (Mutex::new(Trouble::None), watch::Sender::new(0));
        let shared = Arc::new(Shared { target, trouble, cuts });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections at once; new ones are taken.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// From now on the line is like this.
    pub fn set(&self, trouble: Trouble) {
        *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

impl Drop for BreakingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn trouble(&self) -> Trouble {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves until it is aborted; the connections are owned here and end with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                connections.spawn(serve(socket, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Joins a caller to the target until one of them ends it, or it is cut.
async fn serve(caller: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    cuts.mark_unchanged();
    let Ok(target) = TcpStream::connect(shared.target).await else { return };
    let (_, _) = (caller.set_nodelay(true), target.set_nodelay(true));
    let ((from_caller, to_caller), (from_target, to_target)) =
        (caller.into_split(), target.into_split());
    tokio::select! {
        _ = async {
            // What the caller sent last arrives even when the caller has gone.
            let there = pass(from_caller, to_target, &shared, false);
            let back = pass(from_target, to_caller, &shared, true);
            tokio::join!(there, back)
        } => {}
        _ = cuts.changed() => {}
    }
}

async fn pass(from: OwnedReadHalf, to: OwnedWriteHalf, shared: &Shared, are_answers: bool) {
    let mut portion = vec![0; PORTION_BYTES];
    while let Ok(read @ 1..) = read(&from, &mut portion).await {
        match shared.trouble() {
            Trouble::Slow(span) => SystemClock.sleep(span).await,
            Trouble::Half if are_answers => {
                let _ = write_all(&to, &portion[..read / 2]).await;
                return;
            }
            Trouble::None | Trouble::Half => {}
        }
        if write_all(&to, &portion[..read]).await.is_err() {
            return;
        }
    }
}

async fn read(from: &OwnedReadHalf, into: &mut [u8]) -> io::Result<usize> {
    loop {
        from.readable().await?;
        match from.try_read(into) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

async fn write_all(to: &OwnedWriteHalf, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    /// A server that answers every portion with itself, on a thread that ends with its callers.
    fn echo(callers: usize) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for _ in 0..callers {
                let (mut socket, _) = listener.accept().unwrap();
                let mut portion = [0; 64];
                while let Ok(read @ 1..) = socket.read(&mut portion) {
                    if socket.write_all(&portion[..read]).is_err() {
                        break;
                    }
                }
            }
        });
        address
    }

    /// What comes back for `sent`: so many bytes, or all until the end.
    fn back(caller: &mut std::net::TcpStream, sent: &[u8], bytes: usize) -> Vec<u8> {
        caller.write_all(sent).unwrap();
        let mut answer = vec![0; bytes];
        let mut read = 0;
        while read < bytes {
            match caller.read(&mut answer[read..]) {
                Ok(more @ 1..) => read += more,
                _ => break,
            }
        }
        answer.truncate(read);
        answer
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_passes_on_gives_halves_and_cuts() {
        let proxy = BreakingProxy::start(echo(2)).await;
        let call = || std::net::TcpStream::connect(proxy.address()).unwrap();
        let mut caller = call();
        assert_eq!(back(&mut caller, b"whole", 5), b"whole");
        proxy.set(Trouble::Half);
        assert_eq!(back(&mut caller, b"half", 4), b"ha");
        drop(caller);
        proxy.set(Trouble::Slow(Duration::from_millis(1)));
        let mut caller = call();
        assert_eq!(back(&mut caller, b"late", 4), b"late");
        proxy.cut();
        assert_eq!(back(&mut caller, b"", 1), b"");
    }
}
