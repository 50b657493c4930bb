//! A strict stand-in for GitHub: state apart from HTTP, failure on command.
//!
//! [`World`] holds owners, repositories and tokens; its verbs do what people do and return the
//! webhook events GitHub would send, which [`Webhooks`] signs and delivers. [`FakeGitHub`] serves
//! the state by REST and GraphQL on a free port of 127.0.0.1 and refuses what GitHub refuses:
//! unknown tokens, fields, arguments, pages over 100, more than 100 node ids, heavy queries.
//! It knows no users' permissions beyond which owners a token sees, no pull requests.

mod apps;
mod calls;
mod content;
mod faults;
mod graphql;
mod lifecycle;
mod misfortune;
mod payload;
mod reading;
mod rest;
mod server;
mod state;
#[cfg(test)]
mod tests;
mod time;
mod trees;
mod verbs;
mod webhooks;

use std::net::SocketAddr;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub use apps::{Selection, TOKEN_SECONDS};
pub use calls::{Call, CallKind};
pub use content::{Blob, Commit, Content, Heads, Tree, ZERO_OID, blob_oid};
pub use faults::{Calls, Fault};
pub use payload::{COMMIT_FILES_MAX, Event, INSTALLATION_ID, PUSH_COMMITS_MAX};
pub use reading::Overlap;
pub use state::{Owner, OwnerKind, POINTS_PER_HOUR, Repository, START_SECONDS, World};
pub use verbs::{NewRepository, Push};
pub use webhooks::{DELIVERY_TIMEOUT, Delivery, Format, Webhooks, signature, signed};

/// A running fake. Dropping it closes the port and all connections.
#[derive(Debug)]
pub struct FakeGitHub {
    address: SocketAddr,
    world: World,
    accepting: Option<JoinHandle<()>>,
}

impl FakeGitHub {
    /// Starts with an empty world on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        Self::serve(World::new(), "127.0.0.1:0").await
    }

    /// Starts at this address with a world that another fake has served, as after an outage.
    pub async fn restart(world: World, address: SocketAddr) -> Self {
        Self::serve(world, &address.to_string()).await
    }

    async fn serve(world: World, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port of 127.0.0.1 is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let accepting = Some(tokio::spawn(accept(listener, world.clone())));
        Self { address, world, accepting }
    }

    /// The API's base URL, as `apiBaseUrl` of github.com: GraphQL is at `/graphql` below it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The API's base URL as on GitHub Enterprise Server: `/api/v3`, GraphQL at `/api/graphql`.
    pub fn ghes_url(&self) -> String {
        format!("http://{}/api/v3", self.address)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The state.
    pub fn state(&self) -> World {
        self.world.clone()
    }

    /// Closes the port and all connections and waits until that is done.
    pub async fn stop(mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
    }
}

impl Drop for FakeGitHub {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

/// Serves until it is aborted; the connections are owned here and end with it.
async fn accept(listener: TcpListener, world: World) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let _ = socket.set_nodelay(true);
                connections.spawn(connection(socket, world.clone()));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection(socket: TcpStream, world: World) {
    let service = service_fn(move |request| server::handle(world.clone(), request));
    // An error is a client that went away, or a fault that was ordered.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}
