//! What only the embedded engine promises: its file, its lock, its groups of commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cuelight::clock::SystemClock;
use cuelight::engine::queue::{Marked, Push, Pushed, Settled, Settlement, State};
use cuelight::engine::sqlite::{OpenError, Options, SqliteEngine};
use cuelight::engine::{EngineError, Queue, Store};
use cuelight::work::{Hint, LEASE, Lane, Reasons};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

fn open(path: &Path) -> Result<Arc<SqliteEngine>, OpenError> {
    open_with(path, Options::default())
}

fn open_with(path: &Path, options: Options) -> Result<Arc<SqliteEngine>, OpenError> {
    SqliteEngine::open(path, Arc::new(SystemClock), options)
}

fn push_of(id: u64, owner: u64) -> Push {
    let hint = Hint::new(Reasons::PUSH, SystemClock.now());
    let key = PushKey { key: repo(id), account: account(owner), lane: Lane::Event, hint };
    Push { delivery: None, keys: vec![key] }
}

#[tokio::test]
async fn a_second_process_is_kept_out_until_the_first_closes() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.db");
    let first = open(&path).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    let process = format!("process {}", std::process::id());
    let text = error.to_string();
    assert!(text.contains("c.db is in use by another cuelight") && text.contains(&process));
    assert!(text.contains("stop that one"), "{text}");
    first.push(push_of(1, 1)).await.unwrap();
    first.close().await;
    let second = open(&path).unwrap();
    assert_eq!(second.list(State::Waiting, 9).await.unwrap().1, 1);
    drop(second);
    assert!(open(&path).is_ok(), "dropping it releases the lock too");
}

#[tokio::test]
async fn a_closed_engine_is_unavailable_and_its_log_is_folded_in() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.db");
    let engine = open(&path).unwrap();
    engine.push(push_of(1, 1)).await.unwrap();
    engine.close().await;
    engine.close().await;
    let unavailable = |e: EngineError| matches!(e, EngineError::Unavailable(_));
    assert!(unavailable(engine.push(push_of(2, 1)).await.unwrap_err()));
    assert!(unavailable(engine.take(1, LEASE).await.unwrap_err()));
    assert!(unavailable(engine.last_seq().await.unwrap_err()));
    assert!(!dir.path().join("c.db-wal").exists(), "nothing is left beside the file");
}

#[tokio::test]
async fn what_is_not_a_database_of_ours_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.db");
    let refused = |path: &Path| open(path).unwrap_err().to_string();

    std::fs::write(&path, "catalog: true\n".repeat(1000)).unwrap();
    assert!(refused(&path).contains("c.db is not a cuelight database"), "{}", refused(&path));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("catalog"), "it is untouched");

    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE x (y)").unwrap();
    assert!(refused(&path).contains("is not a cuelight database"));

    let missing = dir.path().join("no/such/c.db");
    assert!(refused(&missing).contains("no/such does not exist; create it first"));
    let directory = dir.path().join("d");
    std::fs::create_dir(&directory).unwrap();
    assert!(refused(&directory).contains("cannot be opened for writing"));
}

#[tokio::test]
async fn a_newer_layout_is_refused_by_its_number() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.db");
    open(&path).unwrap().close().await;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 4).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Version { found: 4, known: 3, .. }), "{error}");
    assert!(error.to_string().contains("has layout 4, this cuelight reads layout 3"));
}

#[tokio::test]
async fn a_file_of_an_older_layout_keeps_what_it_holds() {
    for older in [
        "DROP TABLE note; DROP TABLE approval; PRAGMA user_version = 1",
        "DROP TABLE note; PRAGMA user_version = 2",
    ] {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("c.db");
        let engine = open(&path).unwrap();
        engine.push(push_of(7, 1)).await.unwrap();
        engine.close().await;
        Connection::open(&path).unwrap().execute_batch(older).unwrap();
        let engine = open(&path).unwrap();
        let (waiting, _) = engine.list(State::Waiting, 9).await.unwrap();
        assert_eq!(waiting[0].key, repo(7));
        engine.approve(push_of(7, 1).keys).await.unwrap();
        engine.put_note("name".to_owned(), Some("text".to_owned())).await.unwrap();
        engine.close().await;
        let engine = open(&path).unwrap();
        assert_eq!(engine.notes(String::new()).await.unwrap().len(), 1);
        engine.close().await;
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.db");
    let engine = open(&path).unwrap();
    for id in 0..200 {
        engine.push(push_of(id, 1)).await.unwrap();
    }
    engine.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() > 3 * 4096);
    bytes[4096..].iter_mut().for_each(|byte| *byte = 0xA5);
    std::fs::write(&path, bytes).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("restore a backup"), "{error}");
}

#[tokio::test]
async fn a_command_on_an_unreadable_row_fails_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.db");
    let engine = open(&path).unwrap();
    engine.push(push_of(7, 1)).await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute("UPDATE work SET alone = 9", []).unwrap();
    let pushes = (1..=40u64).map(|id| {
        let engine = Arc::clone(&engine);
        // Every tenth is two keys of which the second cannot be read: the first must not stay.
        let mut push = push_of(if id % 10 == 0 { 1000 + id } else { id + 10 }, 1);
        if id % 10 == 0 {
            push.keys.extend(push_of(7, 1).keys);
        }
        tokio::spawn(async move { (id, engine.push(push).await) })
    });
    for pushed in pushes.collect::<Vec<_>>() {
        match pushed.await.unwrap() {
            (id, Err(EngineError::Corrupt(what))) if id % 10 == 0 => {
                assert!(what.contains("key repo:github.com:7: unknown company 9"), "{what}");
            }
            (id, pushed) => {
                assert_eq!(pushed.unwrap(), Pushed::Accepted(vec![Marked::Queued]), "{id}");
            }
        }
    }
    other.execute("DELETE FROM work WHERE alone = 9", []).unwrap();
    let (entries, total) = engine.list(State::Waiting, 100).await.unwrap();
    assert_eq!(total, 36);
    assert!(entries.iter().all(|entry| id_of(&entry.key) < 1000));
}

#[tokio::test]
async fn a_hint_that_cannot_be_read_stops_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.db");
    let engine = open(&path).unwrap();
    for id in 1..=4 {
        engine.push(push_of(id, 1)).await.unwrap();
    }
    let held = engine.take(1, LEASE).await.unwrap().leases.remove(0);
    engine.push(push_of(1, 1)).await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute("UPDATE work SET hint = 'nonsense'", []).unwrap();
    other.execute("UPDATE work SET dirty = 'nonsense' WHERE dirty IS NOT NULL", []).unwrap();
    engine.push(push_of(2, 1)).await.unwrap();
    let settled = engine.settle(vec![((&held).into(), Settlement::Release)]).await.unwrap();
    assert_eq!(settled, [Settled::Waiting]);
    assert_eq!(engine.list(State::Waiting, 9).await.unwrap().0.len(), 4);
    other.execute("UPDATE work SET hint = 'nonsense'", []).unwrap();
    engine.close().await;
    let engine = open(&path).unwrap();
    let taken = engine.take(9, LEASE).await.unwrap().leases;
    let ids: Vec<u64> = taken.iter().map(|lease| id_of(&lease.key)).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert!(taken.iter().all(|lease| lease.hint.reasons == Reasons::REFRESH), "it is read afresh");
}

#[tokio::test]
async fn a_key_or_an_account_that_cannot_be_read_ends_dead_and_stops_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.db");
    let engine = open(&path).unwrap();
    for (id, owner) in [(1, 1), (2, 1), (3, 2), (4, 3)] {
        engine.push(push_of(id, owner)).await.unwrap();
    }
    let other = Connection::open(&path).unwrap();
    other.execute("UPDATE work SET key = 'comet:halley' WHERE key LIKE '%:1'", []).unwrap();
    other.execute("UPDATE work SET account = 'nobody' WHERE key LIKE '%:3'", []).unwrap();
    let mut ids = Vec::new();
    for _ in 0..4 {
        let taken = engine.take(9, LEASE).await.unwrap().leases;
        ids.extend(taken.iter().map(|lease| id_of(&lease.key)));
    }
    ids.sort_unstable();
    assert_eq!(ids, [2, 4]);
    let (shown, total) = engine.list(State::Dead, 9).await.unwrap();
    assert_eq!((shown.len(), total, engine.stats().await.unwrap().dead), (0, 2, 2));
    let pushed = engine.push(push_of(3, 2)).await.unwrap();
    assert_eq!(pushed, Pushed::Accepted(vec![Marked::Queued]), "a push mends the account");
    assert_eq!(engine.take(9, LEASE).await.unwrap().leases.len(), 1);
}

#[tokio::test]
async fn while_the_file_is_locked_commands_are_unavailable_and_then_work_again() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.db");
    let options = Options { busy_timeout: Duration::from_millis(1), ..Options::default() };
    let engine = open_with(&path, options).unwrap();
    engine.push(push_of(1, 1)).await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = engine.push(push_of(2, 1)).await.unwrap_err();
    assert!(matches!(error, EngineError::Unavailable(_)), "{error}");
    assert_eq!(engine.list(State::Waiting, 9).await.unwrap().1, 1, "reads go on");
    assert!(engine.probe().await.is_err(), "an operator is told");
    other.execute_batch("ROLLBACK").unwrap();
    let pushed = engine.push(push_of(2, 1)).await.unwrap();
    assert_eq!(pushed, Pushed::Accepted(vec![Marked::Queued]), "nothing of it was kept");
    engine.probe().await.unwrap();
}

#[tokio::test]
async fn a_probe_reaches_the_disk() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.db");
    let engine = open(&path).unwrap();
    engine.push(push_of(1, 1)).await.unwrap();
    let log_bytes = || std::fs::metadata(dir.path().join("c.db-wal")).unwrap().len();
    let before = log_bytes();
    engine.probe().await.unwrap();
    assert!(log_bytes() > before, "a full disk would show");
}

#[tokio::test]
async fn a_group_that_fails_is_told_to_everyone_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.db");
    let engine = open(&path).unwrap();
    engine.push(push_of(1, 1)).await.unwrap();
    let lease = engine.take(1, LEASE).await.unwrap().leases.remove(0);
    // Every command succeeds, and the end of the group fails.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("DROP TABLE counter").unwrap();
    let pushes: Vec<_> = (2..20)
        .map(|id| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move { engine.push(push_of(id, 1)).await })
        })
        .collect();
    for pushed in pushes {
        let error = pushed.await.unwrap().unwrap_err();
        assert!(matches!(error, EngineError::Unavailable(_)), "{error}");
    }
    assert_eq!(engine.list(State::Waiting, 9).await.unwrap().1, 0);
    let settled = engine.settle(vec![((&lease).into(), Settlement::Done)]).await.unwrap();
    assert_eq!(settled, [Settled::Done], "what needs no counter still works");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn closing_among_64_callers_finishes_what_it_acknowledges() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.db");
    let engine = open(&path).unwrap();
    let callers: Vec<_> = (0..64)
        .map(|id| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move { (id, engine.push(push_of(id, 1)).await.is_ok()) })
        })
        .collect();
    engine.close().await;
    let mut acknowledged = BTreeSet::new();
    for caller in callers {
        let (id, accepted) = caller.await.unwrap();
        if accepted {
            acknowledged.insert(id);
        }
    }
    let engine = open(&path).unwrap();
    let (entries, _) = engine.list(State::Waiting, 100).await.unwrap();
    let waiting: BTreeSet<u64> = entries.iter().map(|entry| id_of(&entry.key)).collect();
    assert_eq!(waiting, acknowledged);
}

/// What 64 tasks share: who holds which key, and how often each was pushed and run.
#[derive(Default)]
struct Shared {
    holding: Mutex<BTreeSet<u64>>,
    seen: Mutex<BTreeMap<u64, u64>>,
    version: Mutex<BTreeMap<u64, u64>>,
    runs: AtomicU64,
    pushed: AtomicBool,
}

const KEYS: u64 = 40;

async fn push_many(engine: Arc<SqliteEngine>, shared: Arc<Shared>, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    for n in 0..30 {
        let id = rng.u64(0..KEYS);
        // The truth changes first, then the cue is given: whoever runs later sees it.
        *shared.version.lock().unwrap().entry(id).or_default() += 1;
        let mut push = push_of(id, 1 + id % 4);
        push.delivery = Some(delivery(&format!("{seed}-{n}"), SystemClock.now()));
        assert!(matches!(engine.push(push).await.unwrap(), Pushed::Accepted(_)));
    }
}

async fn run_until_idle(engine: Arc<SqliteEngine>, shared: Arc<Shared>, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    loop {
        let all_pushed = shared.pushed.load(Ordering::SeqCst);
        let taken = engine.take(rng.usize(1..8), LEASE).await.unwrap();
        if taken.leases.is_empty() {
            if all_pushed && engine.stats().await.unwrap().held == 0 {
                return;
            }
            engine.wait(Duration::from_millis(20)).await;
            continue;
        }
        for lease in &taken.leases {
            let id = id_of(&lease.key);
            assert!(shared.holding.lock().unwrap().insert(id), "{id} is held twice");
            let truth = shared.version.lock().unwrap()[&id];
            tokio::task::yield_now().await;
            shared.seen.lock().unwrap().insert(id, truth);
            shared.runs.fetch_add(1, Ordering::SeqCst);
        }
        for lease in &taken.leases {
            shared.holding.lock().unwrap().remove(&id_of(&lease.key));
            let how = if rng.u8(0..8) == 0 { retry(0) } else { Settlement::Done };
            let settled = engine.settle(vec![(lease.into(), how)]).await.unwrap();
            assert_ne!(settled, [Settled::Stale]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_64_tasks_nothing_is_lost_and_nobody_is_held_twice() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir.path().join("c.db")).unwrap();
    let shared = Arc::new(Shared::default());
    let pushers: Vec<_> = (0..32)
        .map(|n| tokio::spawn(push_many(Arc::clone(&engine), Arc::clone(&shared), n)))
        .collect();
    let workers: Vec<_> = (0..32)
        .map(|n| tokio::spawn(run_until_idle(Arc::clone(&engine), Arc::clone(&shared), 100 + n)))
        .collect();
    for pusher in pushers {
        pusher.await.unwrap();
    }
    shared.pushed.store(true, Ordering::SeqCst);
    for worker in workers {
        tokio::time::timeout(Duration::from_secs(60), worker).await.expect("idle").unwrap();
    }
    assert_eq!(*shared.seen.lock().unwrap(), *shared.version.lock().unwrap());
    let stats = engine.stats().await.unwrap();
    assert_eq!((stats.waiting_event, stats.held, stats.dead), (0, 0, 0));
    assert_eq!(engine.deliveries(1).await.unwrap().1, 32 * 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_death_among_64_callers_every_acknowledged_push_is_there() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("c.db");
    let mut acknowledged = BTreeSet::new();
    for round in 0..5u64 {
        let engine = open(&path).unwrap();
        let callers: Vec<_> = (0..64)
            .map(|n| {
                let engine = Arc::clone(&engine);
                tokio::spawn(async move {
                    let id = round * 64 + n;
                    engine.push(push_of(id, 1 + n % 3)).await.unwrap();
                    id
                })
            })
            .collect();
        for caller in callers {
            acknowledged.insert(caller.await.unwrap());
        }
        engine.take(20, LEASE).await.unwrap();
        // No close: what was taken comes back, what was pushed is there.
        drop(engine);
    }
    let engine = open(&path).unwrap();
    let (entries, _) = engine.list(State::Waiting, 10_000).await.unwrap();
    let waiting: BTreeSet<u64> = entries.iter().map(|entry| id_of(&entry.key)).collect();
    assert_eq!(waiting, acknowledged);
}
