//! Chaos: whole replicas on a real Redis, while processes die and hang, lines break, and Redis
//! itself is killed. Nothing that was acknowledged may be lost, no repository read twice at the
//! same time, and nothing older written over something newer.
//!
//! # What is shown
//! A delivery tells of one state of one repository. After each round, when all is in peace again
//! and the queue has become empty (no key is lost in it or held for ever, none is dead):
//! - every repository shows at least the newest state that an acknowledged delivery told of, and
//!   so GitHub's last state where the last delivery was acknowledged; nobody retries and nothing
//!   scans, so that what is lost stays lost;
//! - every replica's catalog shows what is stored;
//! - no two calls to GitHub read the same repository at the same time, by whichever process,
//!   unless a fail-over or `everysec` lost a lease: those are counted;
//! - the change log never went back to an older state of a repository, though hung processes and
//!   held-up commands wrote after their leases had ended.
//!
//! With `appendfsync everysec` and in a fail-over (of a master that its replica lags behind)
//! acknowledged work may be lost: it is counted, and won back by redelivering what the ledger does
//! not know, and by a scan.
//!
//! # How much
//! The test plays a round of each kind of Redis. `scripts/chaos` plays as many as wanted, in lanes
//! side by side, as most of a round is waiting for the leases of the dead (30 s). The seed decides
//! what breaks after which delivery, not what the processes are doing at that moment.

mod ground;
mod report;
mod rolling;
mod round;
mod town;
mod troupe;
mod witness;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use report::Counts;
use round::{REPLICAS, Stage};
use tokio::task::JoinSet;

/// What the Redis is and how it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `appendfsync always`, killed: nothing may be lost.
    Always,
    /// `appendfsync everysec`, killed.
    EverySecond,
    /// No disk: for what is not about losing Redis, on machines whose disk is busy.
    Memory,
    /// No disk, but a replica, which Sentinels promote when the master is killed.
    Failover,
}

/// Of so many rounds one has ten times as many deliveries.
const LARGE_TURN: usize = 10;

/// How much is played.
#[derive(Debug, Clone, Copy)]
struct Size {
    rounds: usize,
    lanes: usize,
    deliveries: usize,
    repositories: usize,
    seed: u64,
}

/// A round of each kind, or as many as `scripts/chaos` asks for.
#[tokio::test(flavor = "multi_thread")]
async fn chaos_loses_nothing_that_redis_has_kept() {
    let size = Size::asked();
    let started = Instant::now();
    let tenth = (size.rounds / 10).max(1);
    let mut lanes = JoinSet::new();
    let mut all = Vec::new();
    for kind in [Kind::Failover, Kind::EverySecond, Kind::Always] {
        let counts = Arc::new(Counts::default());
        all.push((kind, Arc::clone(&counts)));
        // A tenth of the rounds each for those that may lose, the rest for what must not.
        let (rounds, count) = match kind {
            Kind::Always => (size.rounds - 2 * tenth, size.lanes),
            _ => (tenth, 1),
        };
        let next = Arc::new(AtomicUsize::new(0));
        for _ in 0..count {
            lanes.spawn(lane(kind, size, Arc::clone(&counts), Arc::clone(&next), rounds));
        }
    }
    let mut failed = Vec::new();
    while let Some(ended) = lanes.join_next().await {
        if let Err(error) = ended {
            say(&format!("a lane failed: {error}\n"));
            failed.push(error);
        }
    }
    let mut text = String::new();
    for (kind, counts) in all {
        text.push_str(&counts.print(&format!("{kind:?}")));
    }
    let took = started.elapsed().as_secs();
    writeln!(text, "seed {}, {} failed lanes, {took} s", size.seed, failed.len()).expect("fits");
    say(&text);
    assert!(failed.is_empty(), "{failed:?}");
}

/// Plays rounds on a stage of its own until `last` were taken by all lanes that share `next`.
async fn lane(kind: Kind, size: Size, counts: Arc<Counts>, next: Arc<AtomicUsize>, last: usize) {
    let mut stage = Stage::open(kind, REPLICAS, size.repositories, counts).await;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= last {
            break;
        }
        let is_large = number.is_multiple_of(LARGE_TURN);
        let deliveries = if is_large { size.deliveries * 10 } else { size.deliveries };
        let started = Instant::now();
        stage.round(number, size.seed, deliveries).await;
        say(&format!("{kind:?} {number}: {} ms\n", started.elapsed().as_millis()));
    }
    stage.scan_finds_all(size.repositories).await;
    stage.close().await;
}

impl Size {
    /// What the environment says; else a round of each kind, which takes about a minute.
    fn asked() -> Self {
        let number = |name: &str, usual: usize| {
            let given = std::env::var(format!("CUELIGHT_CHAOS_{name}")).ok();
            given.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
        };
        Self {
            rounds: number("ROUNDS", 3),
            lanes: number("LANES", 1),
            deliveries: number("DELIVERIES", 20),
            repositories: number("REPOSITORIES", 60),
            seed: number("SEED", 2) as u64,
        }
    }
}

/// Appends to the file that `scripts/chaos` shows.
fn say(text: &str) {
    use std::io::Write as _;
    let Some(path) = std::env::var_os("CUELIGHT_CHAOS_REPORT") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("the report is written");
}
