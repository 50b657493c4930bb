//! A server that comes back without the end of its change log: its numbers are not given twice.

use std::sync::Arc;

use cuelight::engine::queue::{Push, Queue as _, Settlement};
use cuelight::engine::redis::{Options, RedisEngine, Time};
use cuelight::engine::store::{Apply, Cause, Seq, Store as _};
use cuelight::work::{Hint, LEASE, Lane, PushKey, Reasons};

use crate::conformance::{account, put, record, repo};
use crate::support::clock::ManualClock;
use crate::support::redis::{PATIENCE, RedisServer};

struct Replica {
    engine: Arc<RedisEngine>,
    clock: Arc<ManualClock>,
}

impl Replica {
    async fn of(server: &RedisServer) -> Self {
        Self::with_log_of(server, Options::default().change_rows_max).await
    }

    async fn with_log_of(server: &RedisServer, change_rows_max: u64) -> Self {
        let clock = ManualClock::new();
        let options = Options { change_rows_max, time: Time::Clock, ..Options::default() };
        let settings = server.settings();
        let engine = RedisEngine::open(&settings, Arc::clone(&clock) as _, options).await;
        Self { engine: engine.unwrap(), clock }
    }

    /// Writes a repository's record.
    async fn write(&self, id: u64) {
        use cuelight::clock::Clock as _;
        let hint = Hint::new(Reasons::PUSH, self.clock.now());
        let key = PushKey { key: repo(id), account: account(1), lane: Lane::Event, hint };
        self.engine.push(Push { delivery: None, keys: vec![key] }).await.unwrap();
        let lease = self.engine.take(1, LEASE).await.unwrap().leases.remove(0);
        let (change, settlement) = (put(record(id, &["a"])), Settlement::Done);
        let apply = Apply { lease: (&lease).into(), change, settlement, cause: Cause::Other };
        self.engine.apply(apply).await.unwrap();
    }

    async fn last_seq(&self) -> Seq {
        self.engine.last_seq().await.unwrap()
    }

    /// The end of the log, once the server is there again.
    async fn last_seq_again(&self) -> Seq {
        let started = std::time::Instant::now();
        loop {
            match self.engine.last_seq().await {
                Ok(seq) => return seq,
                Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
            }
        }
    }

    /// The ids of what changed after `seq`; `None` says to load afresh.
    async fn changes(&self, seq: Seq) -> Option<Vec<u64>> {
        let changes = self.engine.changes(seq, 10).await.unwrap();
        changes.map(|changes| changes.iter().map(|change| change.key.id.0).collect())
    }
}

#[tokio::test]
async fn who_knows_changes_that_were_lost_loads_afresh_however_long_the_log_is_again() {
    let mut server = RedisServer::start();
    let (one, other) = (Replica::of(&server).await, Replica::of(&server).await);
    one.write(1).await;
    server.command::<()>(&["SAVE"]);
    one.write(2).await;
    let known = one.last_seq().await;
    assert_eq!(one.changes(known).await, Some(vec![]));
    server.kill();
    server.start_again();
    other.last_seq_again().await;
    // As many as were lost, and more.
    other.write(3).await;
    other.write(4).await;
    one.last_seq_again().await;
    assert_eq!(one.changes(known).await, None);
    let known = one.last_seq().await;
    other.write(5).await;
    assert_eq!(one.changes(known).await, Some(vec![5]));
}

#[tokio::test]
async fn a_process_that_starts_or_is_cut_off_for_a_moment_begins_no_new_part_of_the_log() {
    let server = RedisServer::start();
    let one = Replica::of(&server).await;
    one.write(1).await;
    let known = one.last_seq().await;
    assert_eq!(known, 1);
    let late = Replica::of(&server).await;
    server.command::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]);
    late.last_seq_again().await;
    late.write(2).await;
    one.last_seq_again().await;
    assert_eq!(one.changes(known).await, Some(vec![2]));
}

#[tokio::test]
async fn a_server_that_comes_back_empty_begins_a_new_part() {
    let mut server = RedisServer::start();
    let (one, other) = (Replica::of(&server).await, Replica::of(&server).await);
    one.write(1).await;
    let known = one.last_seq().await;
    server.kill();
    server.start_again();
    other.last_seq_again().await;
    other.write(2).await;
    one.last_seq_again().await;
    assert_eq!(one.changes(known).await, None);
}

#[tokio::test]
async fn a_log_that_is_trimmed_does_not_reach_back_into_an_older_part() {
    let mut server = RedisServer::start();
    let one = Replica::with_log_of(&server, 2).await;
    one.write(1).await;
    one.write(2).await;
    let known = one.last_seq().await;
    server.command::<()>(&["SAVE"]);
    server.kill();
    server.start_again();
    one.last_seq_again().await;
    one.write(3).await;
    assert_eq!(one.changes(known).await, None);
}
