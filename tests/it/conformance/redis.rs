//! What only the shared engine promises, and how the suite runs on it: one real server for all
//! tests that run at a time, each under a prefix of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Weak};

use cuelight::config::RedisSettings;
use cuelight::engine::queue::Marked;
use cuelight::engine::redis::{Options, RedisEngine, Time};

use super::*;
use crate::support::redis::RedisServer;

/// The model of an engine that any number of processes share: of one that has died, nobody knows
/// before its leases end.
struct SharedModelColumn {
    model: Arc<Model>,
    clock: Arc<ManualClock>,
}

#[async_trait]
impl Column for SharedModelColumn {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.model) as Arc<dyn Engine>
    }

    async fn reopen(&mut self) {
        self.clock.advance(LEASE);
        self.model = self.model.shared();
    }
}

struct RedisColumn {
    engine: Arc<RedisEngine>,
    replica: Replica,
    _server: Arc<RedisServer>,
}

#[async_trait]
impl Column for RedisColumn {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.engine) as Arc<dyn Engine>
    }

    async fn reopen(&mut self) {
        self.replica.clock.advance(LEASE);
        self.engine = self.replica.open().await;
    }
}

/// How a process opens the engine.
struct Replica {
    settings: RedisSettings,
    clock: Arc<ManualClock>,
}

impl Replica {
    async fn open(&self) -> Arc<RedisEngine> {
        let options = Options {
            ledger_rows_max: LIMITS.ledger_rows_max,
            change_rows_max: LIMITS.change_rows_max,
            time: Time::Clock,
        };
        RedisEngine::open(&self.settings, Arc::clone(&self.clock) as _, options).await.unwrap()
    }
}

/// The server of all tests that run now; it ends with the last of them.
fn server() -> Arc<RedisServer> {
    static SERVER: Mutex<Weak<RedisServer>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(RedisServer::start());
        *shared = Arc::downgrade(&server);
        server
    })
}

/// A server, and a prefix that nobody else uses.
fn place() -> (Arc<RedisServer>, RedisSettings) {
    static PLACES: AtomicU64 = AtomicU64::new(0);
    let server = server();
    let mut settings = server.settings();
    settings.prefix = format!("test-{}", PLACES.fetch_add(1, Ordering::Relaxed));
    (server, settings)
}

impl Rig {
    pub fn shared_model() -> Self {
        let clock = ManualClock::new();
        let model = Model::new(Arc::clone(&clock) as _, LIMITS);
        let column = SharedModelColumn { model, clock: Arc::clone(&clock) };
        Self { clock, column: Box::new(column) }
    }

    pub async fn redis() -> Self {
        let clock = ManualClock::new();
        let (server, settings) = place();
        let replica = Replica { settings, clock: Arc::clone(&clock) };
        let engine = replica.open().await;
        Self { clock, column: Box::new(RedisColumn { engine, replica, _server: server }) }
    }
}

/// Two processes on the same data, their time, and the server.
async fn replicas() -> (Arc<RedisEngine>, Arc<RedisEngine>, Replica, Arc<RedisServer>) {
    let (server, settings) = place();
    let replica = Replica { settings, clock: ManualClock::new() };
    let (one, other) = (replica.open().await, replica.open().await);
    (one, other, replica, server)
}

fn push_of(id: u64, lane: Lane, clock: &ManualClock) -> Push {
    let hint = Hint::new(Reasons::PUSH, clock.now());
    let key = PushKey { key: repo(id), account: account(1), lane, hint };
    Push { delivery: None, keys: vec![key] }
}

/// Waits for `done` in real time; one that does not come is a failure and not a hang.
async fn soon<T>(done: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), done).await.expect("it does not come")
}

/// A waiter that sleeps.
async fn sleeper(engine: &Arc<RedisEngine>, clock: &ManualClock) -> tokio::task::JoinHandle<()> {
    let (engine, slept) = (Arc::clone(engine), clock.slept());
    let waiting = tokio::spawn(async move { engine.wait(Duration::from_secs(3600)).await });
    while clock.slept() == slept {
        tokio::task::yield_now().await;
    }
    waiting
}

#[tokio::test]
async fn a_push_to_one_replica_wakes_a_worker_of_another() {
    let (one, other, replica, _server) = replicas().await;
    let waiting = sleeper(&other, &replica.clock).await;
    one.push(push_of(1, Lane::Event, &replica.clock)).await.unwrap();
    soon(waiting).await.unwrap();
    assert_eq!(ids_of(&other.take(9, LEASE).await.unwrap().leases), [1]);
}

#[tokio::test]
async fn one_push_wakes_one_worker_of_all_replicas() {
    let (one, other, replica, _server) = replicas().await;
    let first = sleeper(&one, &replica.clock).await;
    let second = sleeper(&other, &replica.clock).await;
    let slept = replica.clock.slept();
    one.push(push_of(1, Lane::Event, &replica.clock)).await.unwrap();
    // Both look; the one that finds no wake-up sleeps again.
    soon(async {
        while !(first.is_finished() || second.is_finished()) || replica.clock.slept() == slept {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(first.is_finished() != second.is_finished());
    one.push(push_of(2, Lane::Event, &replica.clock)).await.unwrap();
    soon(first).await.unwrap();
    soon(second).await.unwrap();
}

#[tokio::test]
async fn each_push_wakes_another_worker_while_those_before_are_busy() {
    let (one, other, replica, _server) = replicas().await;
    let mut asleep = vec![
        sleeper(&one, &replica.clock).await,
        sleeper(&one, &replica.clock).await,
        sleeper(&other, &replica.clock).await,
    ];
    for id in 1..=3 {
        other.push(push_of(id, Lane::Event, &replica.clock)).await.unwrap();
        // Who wakes works on, and does not come back to wait.
        soon(async {
            while !asleep.iter().any(tokio::task::JoinHandle::is_finished) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        asleep.retain(|waiting| !waiting.is_finished());
        assert_eq!(asleep.len(), 3 - id as usize, "one each");
    }
}

#[tokio::test]
async fn a_sleeper_hears_of_a_retry_of_another_replica_that_comes_before_its_next_look() {
    let (one, other, replica, _server) = replicas().await;
    one.push(push_of(1, Lane::Event, &replica.clock)).await.unwrap();
    let lease = one.take(1, LEASE).await.unwrap().leases.remove(0);
    // The wake-up of the push.
    soon(other.wait(Duration::from_secs(3600))).await;
    let waiting = sleeper(&other, &replica.clock).await;
    let slept = replica.clock.slept();
    one.settle(vec![(LeaseRef::from(&lease), retry(1))]).await.unwrap();
    soon(async {
        while replica.clock.slept() == slept {
            tokio::task::yield_now().await;
        }
    })
    .await;
    replica.clock.advance(Duration::from_secs(1));
    soon(waiting).await.unwrap();
    assert_eq!(ids_of(&other.take(9, LEASE).await.unwrap().leases), [1]);
}

#[tokio::test]
async fn a_change_by_one_replica_is_seen_by_another() {
    let (one, other, replica, _server) = replicas().await;
    let following = Arc::clone(&other);
    let waiting =
        tokio::spawn(async move { following.wait_change(0, Duration::from_secs(3600)).await });
    one.push(push_of(1, Lane::Event, &replica.clock)).await.unwrap();
    let lease = one.take(1, LEASE).await.unwrap().leases.remove(0);
    let (change, settlement) = (put(record(1, &["a"])), Settlement::Done);
    let apply = Apply { lease: (&lease).into(), change, settlement, cause: Cause::Other };
    one.apply(apply).await.unwrap();
    soon(waiting).await.unwrap();
    assert_eq!(other.changes(0, 9).await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_that_nobody_comes_for_is_found_by_looking_again() {
    let (one, other, replica, _server) = replicas().await;
    one.push(push_of(1, Lane::Event, &replica.clock)).await.unwrap();
    // It gets the wake-up and dies with it.
    soon(one.wait(Duration::ZERO)).await;
    let waiting = sleeper(&other, &replica.clock).await;
    replica.clock.advance(Duration::from_secs(5));
    soon(waiting).await.unwrap();
}

#[tokio::test]
async fn a_lease_of_a_process_that_died_ends_by_itself_on_another() {
    let (one, other, replica, _server) = replicas().await;
    one.push(push_of(1, Lane::Event, &replica.clock)).await.unwrap();
    let lost = one.take(1, LEASE).await.unwrap().leases.remove(0);
    // It has the push's wake-up, and dies.
    soon(one.wait(Duration::ZERO)).await;
    drop(one);
    let waiting = sleeper(&other, &replica.clock).await;
    replica.clock.advance(LEASE - Duration::from_millis(1));
    assert!(other.take(1, LEASE).await.unwrap().leases.is_empty());
    replica.clock.advance(Duration::from_millis(1));
    soon(waiting).await.unwrap();
    let again = other.take(1, LEASE).await.unwrap().leases.remove(0);
    assert_eq!((again.attempt, again.token > lost.token), (2, true));
}

#[tokio::test]
async fn whose_turn_it_is_outlives_a_process() {
    let mut rig = Rig::redis().await;
    for (id, owner) in [(1, 1), (2, 1), (3, 2)] {
        rig.push_to(id, owner, Lane::Event).await;
    }
    let first = rig.take_one().await;
    rig.settle(&first, Settlement::Done).await;
    rig.reopen().await;
    assert_eq!([id_of(&first.key), id_of(&rig.take_one().await.key)], [1, 3]);
}

#[tokio::test]
async fn a_long_ledger_is_listed_page_by_page_and_each_delivery_once() {
    let (_server, settings) = place();
    let clock = ManualClock::new();
    let options = Options { time: Time::Clock, ..Options::default() };
    let engine = RedisEngine::open(&settings, clock.clone(), options).await.unwrap();
    for n in 0..250 {
        let delivery = Some(delivery(&format!("d{n}"), clock.now()));
        engine.push(Push { delivery, keys: Vec::new() }).await.unwrap();
    }
    let (listed, total) = engine.deliveries(230).await.unwrap();
    let ids: Vec<String> = listed.iter().map(|entry| entry.delivery.id.to_string()).collect();
    let newest_first: Vec<String> = (20..250).rev().map(|n| format!("d{n}")).collect();
    assert_eq!((ids, total), (newest_first, 250));
}

#[tokio::test]
async fn many_records_and_changes_are_read_in_several_calls() {
    let (_server, settings) = place();
    let clock = ManualClock::new();
    let options = Options { time: Time::Clock, ..Options::default() };
    let engine = RedisEngine::open(&settings, clock.clone(), options).await.unwrap();
    for id in 1..=230 {
        engine.push(push_of(id, Lane::Event, &clock)).await.unwrap();
        let lease = engine.take(1, LEASE).await.unwrap().leases.remove(0);
        let (change, settlement) = (put(record(id, &["a"])), Settlement::Done);
        let apply = Apply { lease: (&lease).into(), change, settlement, cause: Cause::Other };
        engine.apply(apply).await.unwrap();
    }
    let ids = |from: u64, to: u64| (from..=to).collect::<Vec<_>>();
    let records = async |after: Option<u64>, limit| -> Vec<u64> {
        let records = engine.records(after.map(repo_key), limit).await.unwrap();
        records.iter().map(|record| record.key.id.0).collect()
    };
    assert_eq!(records(None, 500).await, ids(1, 230));
    assert_eq!(records(Some(10), 200).await, ids(11, 210));
    assert_eq!(records(Some(10), 0).await, [0_u64; 0]);
    let changes = async |after, limit| -> Vec<u64> {
        let changes = engine.changes(after, limit).await.unwrap().unwrap();
        changes.iter().map(|change| change.seq).collect()
    };
    assert_eq!(changes(0, 500).await, ids(1, 230));
    assert_eq!(changes(10, 200).await, ids(11, 210));
    assert_eq!(changes(230, 500).await, [0_u64; 0]);
}

#[tokio::test]
async fn scripts_that_the_server_has_forgotten_are_sent_again() {
    let (one, _, replica, server) = replicas().await;
    one.push(push_of(1, Lane::Event, &replica.clock)).await.unwrap();
    server.command::<()>(&["SCRIPT", "FLUSH"]);
    let pushed = one.push(push_of(1, Lane::Event, &replica.clock)).await.unwrap();
    assert_eq!(pushed, Pushed::Accepted(vec![Marked::Merged]));
}

#[tokio::test]
async fn tokens_grow_even_when_a_fail_over_loses_their_counter() {
    let (one, _, replica, server) = replicas().await;
    let mut last = 0;
    for _ in 0..3 {
        one.push(push_of(1, Lane::Event, &replica.clock)).await.unwrap();
        let lease = one.take(1, LEASE).await.unwrap().leases.remove(0);
        assert!(lease.token > last, "{} after {last}", lease.token);
        last = lease.token;
        let done = vec![(LeaseRef::from(&lease), Settlement::Done)];
        assert_eq!(one.settle(done).await.unwrap(), [Settled::Done]);
        server.command::<()>(&["DEL", &format!("{{{}}}:token", replica.settings.prefix)]);
        replica.clock.advance(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_read_is_given_up_and_stops_no_other() {
    let (one, _, replica, server) = replicas().await;
    let work = format!("{{{}}}:work", replica.settings.prefix);
    one.push(push_of(1, Lane::Event, &replica.clock)).await.unwrap();
    one.push(push_of(2, Lane::Event, &replica.clock)).await.unwrap();
    // As a later version might have written it.
    let rename = "redis.call('HSET', KEYS[1], 'repo:x', redis.call('HGET', KEYS[1], ARGV[1]))
        redis.call('HDEL', KEYS[1], ARGV[1])
        for _, name in ipairs({ 'ready:0:github.com:1', 'waiting:0' }) do
            local index = string.sub(KEYS[1], 1, -5) .. name
            redis.call('ZADD', index, redis.call('ZSCORE', index, ARGV[1]), 'repo:x')
            redis.call('ZREM', index, ARGV[1])
        end";
    server.command::<()>(&["EVAL", rename, "1", &work, "repo:github.com:1"]);
    assert_eq!(ids_of(&one.take(9, LEASE).await.unwrap().leases), [2]);
    let (shown, dead) = one.list(State::Dead, 9).await.unwrap();
    assert_eq!((shown.len(), dead), (0, 1), "it is counted and cannot be shown");
}

#[tokio::test]
async fn time_is_the_servers_unless_told_otherwise() {
    let (_server, settings) = place();
    let clock = ManualClock::new();
    let engine = RedisEngine::open(&settings, clock.clone(), Options::default()).await.unwrap();
    engine.push(push_of(1, Lane::Event, &clock)).await.unwrap();
    let lease = engine.take(1, LEASE).await.unwrap().leases.remove(0);
    let now = cuelight::clock::SystemClock.now();
    assert!(lease.expires_at > now && lease.expires_at <= now + 2 * LEASE);
    engine.close().await;
    let refused = engine.take(1, LEASE).await.unwrap_err();
    assert!(matches!(refused, cuelight::engine::EngineError::Unavailable(_)), "{refused}");
}

#[tokio::test]
async fn every_key_has_the_prefix_and_the_hash_tag() {
    let server = RedisServer::start();
    let mut settings = server.settings();
    settings.prefix = "test-shop:catalog".to_owned();
    let replica = Replica { settings, clock: ManualClock::new() };
    let engine = replica.open().await;
    let mut push = push_of(1, Lane::Event, &replica.clock);
    push.delivery = Some(delivery("a", replica.clock.now()));
    engine.push(push).await.unwrap();
    let lease = engine.take(1, LEASE).await.unwrap().leases.remove(0);
    let (change, settlement) = (put(record(1, &["a"])), retry(9));
    let apply = Apply { lease: (&lease).into(), change, settlement, cause: Cause::Other };
    engine.apply(apply).await.unwrap();
    engine.put_note("n".into(), Some("t".into())).await.unwrap();
    engine.gate(account(1), replica.clock.now() + LEASE, "limit".into()).await.unwrap();
    engine.probe().await.unwrap();
    let names: Vec<String> = server.command(&["KEYS", "*"]);
    assert!(names.len() > 12, "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("{test-shop:catalog}:")), "{names:?}");
}
