//! One connection as the listener watches it: which phase it is in, and since when.
//!
//! The phase is told by the three things that hyper drives: the [`Socket`] (bytes arrive, the
//! peer takes none), the request's body ([`Receiving`]) and the response's ([`Answering`]). All
//! they do is store one number; who acts on it is the listener's sweep.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Most bytes read and thrown away after the last answer: GitHub's largest body twice.
const CLOSING_BYTES_MAX: usize = 50 * 1024 * 1024;

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The rest of a request's headers.
    Head,
    /// The rest of its body.
    Body,
    /// Us.
    Working,
    /// The next request.
    Idle,
    /// The peer's end, after ours.
    Closing,
}

const PHASE_BITS: u32 = 3;
const NOT_STALLED: u64 = 0;

/// What the listener knows of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    started: Instant,
    /// Microseconds since `started`, and in the lowest bits the phase entered then.
    phase: AtomicU64,
    /// One more than the microseconds since `started` at which the peer stopped taking bytes.
    stalled: AtomicU64,
    /// Whether part of a request's body has not been read.
    unread: AtomicBool,
    cut: Notify,
}

impl Connection {
    /// A connection just accepted; `started` is any instant before now.
    pub(super) fn new(started: Instant) -> Self {
        let connection = Self {
            started,
            phase: AtomicU64::new(0),
            stalled: AtomicU64::new(NOT_STALLED),
            unread: AtomicBool::new(false),
            cut: Notify::new(),
        };
        connection.enter(Phase::Head);
        connection
    }

    /// The phase and how long it has lasted.
    pub(super) fn phase(&self) -> (Phase, Duration) {
        let packed = self.phase.load(Ordering::Relaxed);
        let age = self.micros().saturating_sub(packed >> PHASE_BITS);
        (unpack(packed), Duration::from_micros(age))
    }

    /// For how long the peer has taken none of the bytes we have for it.
    pub(super) fn write_stalled(&self) -> Duration {
        match self.stalled.load(Ordering::Relaxed) {
            NOT_STALLED => Duration::ZERO,
            since => Duration::from_micros((self.micros() + 1).saturating_sub(since)),
        }
    }

    /// Ends the connection at its next chance.
    pub(super) fn cut(&self) {
        self.cut.notify_one();
    }

    /// Returns once the connection is to be cut.
    pub(super) async fn cutting(&self) {
        self.cut.notified().await;
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(self.micros() << PHASE_BITS | phase as u64, Ordering::Relaxed);
    }

    fn is_in(&self, phase: Phase) -> bool {
        unpack(self.phase.load(Ordering::Relaxed)) == phase
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX >> PHASE_BITS)
    }
}

fn unpack(packed: u64) -> Phase {
    const MASK: u64 = (1 << PHASE_BITS) - 1;
    [Phase::Head, Phase::Body, Phase::Working, Phase::Idle]
        .into_iter()
        .find(|phase| *phase as u64 == packed & MASK)
        .unwrap_or(Phase::Closing)
}

/// The socket: says when a request begins and when the peer takes no bytes; drains on close.
pub(super) struct Socket {
    stream: TcpStream,
    connection: Arc<Connection>,
    drained_bytes: usize,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection, drained_bytes: 0 }
    }

    fn note_write<T>(&self, polled: Poll<T>) -> Poll<T> {
        let stalled = &self.connection.stalled;
        if polled.is_ready() {
            stalled.store(NOT_STALLED, Ordering::Relaxed);
        } else if stalled.load(Ordering::Relaxed) == NOT_STALLED {
            stalled.store(self.connection.micros() + 1, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before && self.connection.is_in(Phase::Idle) {
            self.connection.enter(Phase::Head);
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_write(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ends our side; then, unless every request was read in full, throws away what the peer
    /// still sends until it ends its own.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.connection.is_in(Phase::Closing) {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if self.connection.is_in(Phase::Idle) {
                return Poll::Ready(Ok(()));
            }
            self.connection.enter(Phase::Closing);
        }
        let mut scratch = [0; 4096];
        while self.drained_bytes < CLOSING_BYTES_MAX {
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                break;
            }
            self.drained_bytes += buf.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

/// A request's body: says when it has arrived in full.
pub(super) struct Receiving {
    body: Incoming,
    connection: Arc<Connection>,
}

impl Receiving {
    pub(super) fn new(body: Incoming, connection: Arc<Connection>) -> Self {
        let complete = body.is_end_stream();
        connection.unread.store(!complete, Ordering::Relaxed);
        connection.enter(if complete { Phase::Working } else { Phase::Body });
        Self { body, connection }
    }
}

/// A handler that wants no more of the body no longer waits for it.
impl Drop for Receiving {
    fn drop(&mut self) {
        if self.connection.is_in(Phase::Body) {
            self.connection.enter(Phase::Working);
        }
    }
}

impl HttpBody for Receiving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.connection.unread.store(false, Ordering::Relaxed);
            self.connection.enter(Phase::Working);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's body: says when the answer has been handed over in full.
pub(super) struct Answering {
    body: Body,
    connection: Arc<Connection>,
}

impl Answering {
    pub(super) fn new(body: Body, connection: Arc<Connection>) -> Self {
        connection.enter(Phase::Working);
        Self { body, connection }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.connection.unread.load(Ordering::Relaxed) {
            self.connection.enter(Phase::Idle);
        }
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
