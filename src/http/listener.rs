//! A bounded HTTP/1 listener: what `axum::serve` leaves out.
//!
//! # Needs
//! The public listener talks to anybody. Before it knows who is calling, a caller must not be
//! able to hold memory for long or to keep a good delivery waiting.
//!
//! # Promises
//! - A connection is always in one phase, and every phase in which we wait for the peer has a
//!   deadline: `Head` (accepted, or the first byte of a request seen, until its headers are
//!   complete), `Body`, `Idle` (between requests), `Closing` (the peer may still be sending what
//!   nobody will read). `Working`, in which the peer waits for us, has none: the handler has its
//!   own. A peer that does not read its answer is cut too.
//! - At most [`Limits::connections_max`] connections are served. Over it the connection that has
//!   waited longest for its peer is *shed*, idle ones first. One that is not idle has
//!   [`SHED_AGE_MIN`] for itself, so that a flood of connections cannot push out a delivery that
//!   is arriving; until one may be shed, the newcomer and the kernel's backlog wait. So slow
//!   sockets hold at most `connections_max` × [`HEADER_BYTES_MAX`] of read buffers, and a good
//!   delivery gets in within about a second.
//! - When `stop` is cancelled it accepts no more, closes idle connections, lets requests end
//!   until [`Limits::shutdown_timeout`], cuts the rest, and only then returns. No task outlives it.
//! - A handler that panics costs its own connection and nothing else.
//!
//! # How
//! One sweep over all connections each [`SWEEP`] replaces timers per connection: a request costs
//! a few atomic stores. Deadlines are therefore late by up to one sweep.
//!
//! It leaves out: TLS and HTTP/2 (a proxy's business), limits by peer address (behind a proxy all
//! peers are one), and what bodies may hold in memory (the handler's business).

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::connection::{Answering, Connection, Phase, Receiving, Socket};

/// Most bytes of a request's line and headers, and so of a connection's read buffer. GitHub sends
/// about 1 KiB; tokens and proxies add a few.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How long a connection that is not idle is safe from being shed: several round trips around
/// the world, in which an honest delivery arrives.
pub const SHED_AGE_MIN: Duration = Duration::from_secs(1);

/// Every how often deadlines are looked at.
pub const SWEEP: Duration = Duration::from_millis(250);

/// How long after its last answer a connection may still send what nobody will read. Closing at
/// once would reset it, and a reset can destroy the answer before the peer has read it.
pub const CLOSING_TIMEOUT: Duration = Duration::from_secs(5);

/// The bounds of one listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most connections served at once.
    pub connections_max: usize,
    /// From the first byte of a request (or from the accept) to the end of its headers.
    pub header_timeout: Duration,
    /// From the end of the headers to the end of the body. The connection is cut without an
    /// answer, so a handler that wants to answer 408 needs a shorter deadline of its own.
    pub body_timeout: Duration,
    /// Between two requests, and for a peer that takes nothing of its answer.
    pub idle_timeout: Duration,
    /// How long requests may still run after the stop.
    pub shutdown_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(12),
            idle_timeout: Duration::from_secs(60),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// Serves `app` on `listener` until `stop` is cancelled and every connection has ended.
pub async fn serve(
    listener: TcpListener,
    app: axum::Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let mut server = Server::new(app, limits);
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut accepting = true;
    loop {
        let may_accept = accepting && server.newcomer.is_none();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = server.tasks.join_next_with_id() => server.forget(ended),
            _ = sweep.tick() => {
                accepting = true;
                server.sweep();
            }
            accepted = listener.accept(), if may_accept => match accepted {
                Ok((stream, _)) => server.newcomer = Some(stream),
                Err(error) => {
                    // Mostly "too many open files": the next sweep tries again.
                    accepting = false;
                    tracing::warn!(%error, "cannot accept a connection");
                }
            },
        }
        server.admit();
    }
    drop(listener);
    server.drain(&mut sweep).await;
}

struct Server {
    app: axum::Router,
    limits: Limits,
    started: Instant,
    connections: HashMap<Id, Arc<Connection>>,
    tasks: JoinSet<()>,
    newcomer: Option<TcpStream>,
    stopping: CancellationToken,
}

impl Server {
    fn new(app: axum::Router, limits: Limits) -> Self {
        Self {
            app,
            limits,
            started: Instant::now(),
            connections: HashMap::new(),
            tasks: JoinSet::new(),
            newcomer: None,
            stopping: CancellationToken::new(),
        }
    }

    /// Serves the newcomer if there is room or somebody can be shed for it.
    fn admit(&mut self) {
        if self.newcomer.is_none() {
            return;
        }
        if self.connections.len() >= self.limits.connections_max && !self.shed() {
            return;
        }
        let Some(stream) = self.newcomer.take() else { return };
        let connection = Arc::new(Connection::new(self.started));
        let serving = serve_connection(
            stream,
            self.app.clone(),
            Arc::clone(&connection),
            self.stopping.clone(),
        );
        let id = self.tasks.spawn(serving).id();
        self.connections.insert(id, connection);
    }

    /// Cuts the connection that has waited longest for its peer; false when none may be cut.
    fn shed(&mut self) -> bool {
        let candidates = self.connections.iter().filter_map(|(id, connection)| {
            let (phase, age) = connection.phase();
            let rank = match phase {
                Phase::Idle | Phase::Closing => 0,
                Phase::Head | Phase::Body if age >= SHED_AGE_MIN => 1,
                Phase::Head | Phase::Body | Phase::Working => return None,
            };
            Some((rank, std::cmp::Reverse(age), *id))
        });
        let Some((_, _, id)) = candidates.min_by_key(|(rank, age, _)| (*rank, *age)) else {
            return false;
        };
        if let Some(connection) = self.connections.remove(&id) {
            connection.cut();
        }
        true
    }

    /// Cuts every connection that is past a deadline.
    fn sweep(&self) {
        let stopping = self.stopping.is_cancelled();
        for connection in self.connections.values() {
            let (phase, age) = connection.phase();
            let deadline = match phase {
                // Idle ones have been closed by then.
                Phase::Head | Phase::Closing if stopping => SHED_AGE_MIN,
                Phase::Head => self.limits.header_timeout,
                Phase::Body => self.limits.body_timeout,
                Phase::Idle => self.limits.idle_timeout,
                Phase::Closing => CLOSING_TIMEOUT,
                Phase::Working => Duration::MAX,
            };
            // A peer that takes nothing does not hold up the stop.
            let stall = if stopping { CLOSING_TIMEOUT } else { self.limits.idle_timeout };
            if age > deadline || connection.write_stalled() > stall {
                tracing::debug!(?phase, "cutting a connection that is past its deadline");
                connection.cut();
            }
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a request handler panicked; its connection is closed");
                error.id()
            }
        };
        self.connections.remove(&id);
    }

    /// Lets running requests end, then cuts what is left.
    async fn drain(mut self, sweep: &mut tokio::time::Interval) {
        self.stopping.cancel();
        let ended = tokio::time::timeout(self.limits.shutdown_timeout, async {
            while !self.tasks.is_empty() {
                tokio::select! {
                    biased;
                    Some(ended) = self.tasks.join_next_with_id() => self.forget(ended),
                    _ = sweep.tick() => self.sweep(),
                }
            }
        });
        if ended.await.is_err() {
            let cut = self.tasks.len();
            tracing::warn!(cut, "connections were still busy at the end of the stop");
        }
        self.tasks.shutdown().await;
    }
}

async fn serve_connection(
    stream: TcpStream,
    app: axum::Router,
    connection: Arc<Connection>,
    stopping: CancellationToken,
) {
    // Answers are small; waiting to fill a segment only adds delay. Failing costs speed only.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| {
        answer(app.clone(), Arc::clone(&connection), request)
    });
    let io = TokioIo::new(Socket::new(stream, Arc::clone(&connection)));
    let mut http = http1::Builder::new();
    // The sweep sees to deadlines, so hyper needs no timer.
    http.max_buf_size(HEADER_BYTES_MAX).header_read_timeout(None);
    let mut serving = pin!(http.serve_connection(io, service));
    let mut stopped = false;
    let ended = loop {
        tokio::select! {
            biased;
            // First, so that an answer given after the stop says that it is the last.
            () = stopping.cancelled(), if !stopped => {
                stopped = true;
                serving.as_mut().graceful_shutdown();
            }
            ended = serving.as_mut() => break ended,
            () = connection.cutting() => return,
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(
    mut app: axum::Router,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Answering>, io::Error> {
    let request = request.map(|body| Body::new(Receiving::new(body, Arc::clone(&connection))));
    let response: Result<Response<Body>, Infallible> = app.call(request).await;
    let Ok(response) = response;
    Ok(response.map(|body| Answering::new(body, connection)))
}
