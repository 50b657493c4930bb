//! Two replicas on one Redis: how long it takes until a change that one has written is visible on
//! the other, and how long a replica needs to load a whole catalog at its start.
//!
//! No GitHub: records are written as a worker writes them, and read as a replica's view reads them.

#[path = "../tests/it/support/redis.rs"]
#[expect(dead_code, reason = "tests need more of it")]
mod redis_server;
mod support;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cuelight::catalog::{AllowedKinds, Source, View, process_alone};
use cuelight::clock::{Clock, SystemClock};
use cuelight::engine::queue::{Push, PushKey, Settlement};
use cuelight::engine::record::{Claim, FileRecord, RepoRecord, Seq};
use cuelight::engine::redis::{Options, RedisEngine};
use cuelight::engine::store::{Applied, Apply, Cause, Change};
use cuelight::engine::{Queue, Store};
use cuelight::health::Health;
use cuelight::ids::{Account, FullName, Host, NodeId, Oid, OwnerId, RepoId};
use cuelight::repository::Listed;
use cuelight::telemetry::Metrics;
use cuelight::view_feed::ViewFeed;
use cuelight::work::{BATCH_MAX, Hint, LEASE, Lane, Reasons, RepoKey, WorkKey};
use prometheus_client::registry::Registry;
use redis_server::RedisServer;
use support::{FILE, component, exit, holds, percentile, say};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Records of the catalog.
const RECORDS: u64 = 20_000;

/// How long loading them may take.
const LOAD_MAX: Duration = Duration::from_secs(3);

/// Changes whose way is measured.
const CHANGES: u64 = 2_000;

/// How long 99 of 100 changes may take.
const VISIBLE_MAX: Duration = Duration::from_millis(50);

fn account() -> Account {
    Account { host: Host::github_com(), owner: OwnerId(9) }
}

fn key(id: u64) -> RepoKey {
    RepoKey { host: Host::github_com(), id: RepoId(id) }
}

/// A repository with one component of this type.
fn change(id: u64, kind: &str) -> Change {
    let oid = |n: u64| Oid::parse(&format!("{n:040x}")).expect("40 digits");
    let name = format!("svc-{id}");
    let text = component(&name, kind);
    let full_name = format!("acme/{name}");
    let source = Source {
        host: "github.com".to_owned(),
        full_name: full_name.clone(),
        branch: "main".to_owned(),
        path: FILE.to_owned(),
    };
    let processed = process_alone(&source, &text, &AllowedKinds::default(), &[]);
    let claim = |entity| Claim { entity, claimed_seq: 0 };
    let file = FileRecord {
        provider: "default".to_owned(),
        branch: String::new(),
        path: FILE.to_owned(),
        oid: oid(id),
        entities: processed.entities.into_iter().map(claim).collect(),
        problems: processed.problems,
        included: None,
    };
    let record = RepoRecord {
        key: key(id),
        node_id: NodeId(format!("R_kgDO{id:08}")),
        account: account(),
        full_name: FullName::parse(&full_name).expect("a name"),
        created_at: None,
        listed: Listed {
            visibility: "private".to_owned(),
            archived: false,
            fork: false,
            default_branch: Some("main".to_owned()),
            topics: vec!["payments".to_owned()],
        },
        head: Some(oid(id)),
        checked_head: None,
        pushed_at: None,
        files: vec![file],
        dependencies: Vec::new(),
        reconciled_at: SystemClock.now(),
        reconciled_for: Reasons::PUSH,
        cued_at: None,
        fingerprint: "bench".to_owned(),
        seq: 0,
    };
    Change::Put { record: Box::new(record), texts: BTreeMap::from([(oid(id), text)]) }
}

/// Pushes, takes and writes repositories; returns the number of the last change.
async fn write(engine: &RedisEngine, ids: std::ops::Range<u64>, kind: &str) -> Seq {
    let push_key = |id| PushKey {
        key: WorkKey::Repo(key(id)),
        account: account(),
        lane: Lane::Event,
        hint: Hint::new(Reasons::PUSH, SystemClock.now()),
    };
    let keys = ids.map(push_key).collect();
    engine.push(Push { delivery: None, keys }).await.expect("a push");
    let mut last = 0;
    for lease in engine.take(BATCH_MAX, LEASE).await.expect("a take").leases {
        let WorkKey::Repo(repo) = &lease.key else { continue };
        let (change, settlement) = (change(repo.id.0, kind), Settlement::Done);
        let apply = Apply { lease: (&lease).into(), change, settlement, cause: Cause::Event };
        match engine.apply(apply).await.expect("a write") {
            Applied::Written(Some(seq), _) => last = seq,
            other => panic!("{other:?}"),
        }
    }
    last
}

async fn replica(server: &RedisServer) -> Arc<RedisEngine> {
    let (settings, clock) = (server.settings(), Arc::new(SystemClock));
    RedisEngine::open(&settings, clock, Options::default()).await.expect("redis is there")
}

fn feed(engine: &Arc<RedisEngine>) -> (ViewFeed, watch::Receiver<Arc<View>>) {
    let (view, shown) = watch::channel(Arc::new(View::empty()));
    let clock = Arc::new(SystemClock);
    let feed = ViewFeed {
        store: engine.clone(),
        view,
        routing: watch::Sender::new(Arc::default()),
        clock: clock.clone(),
        metrics: Metrics::new(&mut Registry::default()),
        health: Arc::new(Health::new(clock)),
    };
    (feed, shown)
}

#[tokio::main]
async fn main() -> ExitCode {
    let server = RedisServer::with(&["--appendonly", "yes"]);
    let (one, other) = (replica(&server).await, replica(&server).await);
    let batch = u64::try_from(BATCH_MAX).expect("a small number");
    for first in (0..RECORDS).step_by(BATCH_MAX) {
        write(&one, first..first + batch, "service").await;
    }
    let (feed, mut shown) = feed(&other);
    let started = Instant::now();
    let seq = feed.load(|_| {}).await.expect("redis is there");
    let took = started.elapsed();
    say(&format!("replicas: {RECORDS} records are loaded in {} ms", took.as_millis()));
    holds(&format!("at most {} s", LOAD_MAX.as_secs()), took <= LOAD_MAX);

    let stop = CancellationToken::new();
    let following = tokio::spawn(feed.follow(seq, stop.clone()));
    let mut spans = Vec::new();
    for id in 0..CHANGES {
        let seq = write(&one, id..id + 1, "library").await;
        let written = Instant::now();
        shown.wait_for(|view| view.seq() >= seq).await.expect("the view is fed");
        spans.push(written.elapsed());
    }
    stop.cancel();
    following.await.expect("it ends");
    spans.sort();
    let (p50, p99) = (percentile(&spans, 50), percentile(&spans, 99));
    say(&format!("  {CHANGES} changes are visible on the other replica: p50 {p50}, p99 {p99}"));
    let is_fast = support::at(&spans, 99) <= VISIBLE_MAX;
    holds(&format!("p99 at most {} ms", VISIBLE_MAX.as_millis()), is_fast);
    one.close().await;
    other.close().await;
    exit()
}
