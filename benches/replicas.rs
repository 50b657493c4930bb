//! Two replicas on one Redis: how long it takes until a change that one has written is visible on
//! the other, and how long a replica needs to load a whole catalog at its start.
//!
//! No GitHub: records are written as a worker writes them, and read as a replica's view reads them.

#[path = "support/records.rs"]
mod records;
#[path = "../tests/it/support/redis.rs"]
#[expect(dead_code, reason = "tests need more of it")]
mod redis_server;
mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cuelight::clock::SystemClock;
use cuelight::engine::redis::{Options, RedisEngine};
use records::{view_feed, write, write_all};
use redis_server::RedisServer;
use support::{component, exit, holds, percentile, say};
use tokio_util::sync::CancellationToken;

/// Records of the catalog.
const RECORDS: u64 = 20_000;

/// How long loading them may take.
const LOAD_MAX: Duration = Duration::from_secs(3);

/// Changes whose way is measured.
const CHANGES: u64 = 2_000;

/// How long 99 of 100 changes may take.
const VISIBLE_MAX: Duration = Duration::from_millis(50);

/// A repository's catalog file, with a component of this type.
fn of_type(kind: &str) -> impl Fn(u64) -> String + Copy {
    move |id| component(&format!("svc-{id}"), kind)
}

async fn replica(server: &RedisServer) -> Arc<RedisEngine> {
    let (settings, clock) = (server.settings(), Arc::new(SystemClock));
    RedisEngine::open(&settings, clock, Options::default()).await.expect("redis is there")
}

#[tokio::main]
async fn main() -> ExitCode {
    let server = RedisServer::with(&["--appendonly", "yes"]);
    let (one, other) = (replica(&server).await, replica(&server).await);
    write_all(&*one, RECORDS, of_type("service")).await;
    let (feed, mut shown) = view_feed(other.clone());
    let started = Instant::now();
    let seq = feed.load(|_| {}).await.expect("redis is there");
    let took = started.elapsed();
    say(&format!("replicas: {RECORDS} records are loaded in {} ms", took.as_millis()));
    holds(&format!("at most {} s", LOAD_MAX.as_secs()), took <= LOAD_MAX);

    let stop = CancellationToken::new();
    let following = tokio::spawn(feed.follow(seq, stop.clone()));
    let mut spans = Vec::new();
    for id in 0..CHANGES {
        let seq = write(&*one, id..id + 1, of_type("library")).await;
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
