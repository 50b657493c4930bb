//! The Redis under the chaos: one server with an append-only file, or a master with a replica and
//! three Sentinels; killed and brought back as an operator or a supervisor would.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cuelight::clock::{Clock as _, SystemClock};

use super::Kind;
use crate::support::breaking::{BreakingProxy, Trouble};
use crate::support::redis::{RedisServer, SentinelTrio, until, until_within};

/// The servers.
pub enum Ground {
    /// One with a disk.
    One(RedisServer),
    /// A pair and its Sentinels, who may change their minds by themselves on a busy machine.
    Trio(Box<SentinelTrio>),
}

impl Ground {
    /// Starts what the kind of chaos needs.
    pub async fn start(kind: Kind) -> Self {
        let one = |appendfsync| {
            let more = ["--appendonly", "yes", "--appendfsync", appendfsync];
            Self::One(RedisServer::on_a_port(&more))
        };
        match kind {
            Kind::Always => one("always"),
            Kind::EverySecond => one("everysec"),
            Kind::Memory => Self::One(RedisServer::on_a_port(&[])),
            Kind::Failover => Self::Trio(Box::new(SentinelTrio::start().await)),
        }
    }

    /// The address without a proxy.
    pub fn url(&self) -> String {
        match self {
            Self::One(server) => format!("redis://127.0.0.1:{}", server.port),
            Self::Trio(trio) => trio.url(),
        }
    }

    /// Where a proxy may stand in front of it.
    pub fn target(&self) -> Option<SocketAddr> {
        match self {
            Self::One(server) => Some(([127, 0, 0, 1], server.port).into()),
            Self::Trio(_) => None,
        }
    }

    /// Waits until the server in charge can be replaced.
    pub async fn ready(&self) {
        if let Self::Trio(trio) = self {
            let trusted = || trio.sentinels.iter().all(trusts_the_replica);
            until("the sentinels trust the replica", trusted).await;
        }
    }

    /// Kills the server in charge and returns when there is one again.
    pub async fn strike(&mut self) {
        match self {
            Self::One(server) => {
                server.kill();
                server.start_again();
            }
            Self::Trio(trio) => fail_over(trio).await,
        }
    }
}

/// How long a server may need to follow another one, or to be put in its place: Sentinels that did
/// not agree the first time rest before the second.
const FOLLOW_MAX: Duration = Duration::from_secs(90);

/// Rest between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How much later than the master the replica has what was written, when the master dies.
const LAG: Duration = Duration::from_millis(150);

/// How long the master may live on for that.
const LAG_WAIT: Duration = Duration::from_secs(2);

/// Kills the master, which its replica lags behind, waits for the Sentinels to promote that, and
/// lets the old one follow it.
async fn fail_over(trio: &mut SentinelTrio) {
    let SentinelTrio { master, replica, sentinels } = trio;
    until("the sentinels trust the replica", || sentinels.iter().all(trusts_the_replica)).await;
    let is_first = replication(master).contains("role:master");
    let (old, new) = if is_first { (master, replica) } else { (replica, master) };
    let line = BreakingProxy::start(([127, 0, 0, 1], old.port).into()).await;
    follow(new, line.address().port()).await;
    line.set(Trouble::Slow(LAG));
    let started = Instant::now();
    // It does not when nothing is written any more, or when the Sentinels have put it right.
    while offset(old) <= offset(new) && started.elapsed() < LAG_WAIT {
        SystemClock.sleep(LOOK_EVERY).await;
    }
    old.kill();
    drop(line);
    let is_promoted = || replication(new).contains("role:master");
    until_within(FOLLOW_MAX, "the replica is promoted", is_promoted).await;
    // A master that comes back empty before that would empty its replica, too.
    old.start_again();
    // It has to copy everything, and nobody else will join whom to wait for.
    new.command::<()>(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    follow(old, new.port).await;
}

/// Whether a Sentinel would promote the replica.
fn trusts_the_replica(sentinel: &RedisServer) -> bool {
    let words = ["SENTINEL", "REPLICAS", "cuelight"];
    let found = sentinel.try_command::<Vec<HashMap<String, String>>>(&words);
    let Ok([only]) = found.as_deref() else { return false };
    only["flags"] == "slave" && only["master-link-status"] == "ok"
}

/// Makes a server the replica of what listens there.
async fn follow(server: &RedisServer, port: u16) {
    let port = port.to_string();
    until("it takes the command", || {
        server.try_command::<()>(&["REPLICAOF", "127.0.0.1", &port]).is_ok()
    })
    .await;
    let started = Instant::now();
    loop {
        let info = replication(server);
        if info.contains("role:slave") && info.contains("master_link_status:up") {
            return;
        }
        // The Sentinels may send it there a second time, and then it begins again.
        assert!(started.elapsed() < FOLLOW_MAX, "it does not follow: {info}");
        SystemClock.sleep(LOOK_EVERY).await;
    }
}

/// What a server tells of it; nothing in the moment in which its role changes, for then it cuts
/// everybody off.
fn replication(server: &RedisServer) -> String {
    server.try_command(&["INFO", "replication"]).unwrap_or_default()
}

/// How far a server's stream of writes has come.
fn offset(server: &RedisServer) -> u64 {
    let info = replication(server);
    let offsets = ["slave_repl_offset:", "master_repl_offset:"];
    let find = |name: &&str| info.lines().find_map(|line| line.strip_prefix(*name));
    let offset = offsets.iter().find_map(find).and_then(|offset| offset.trim_end().parse().ok());
    offset.unwrap_or(0)
}
