//! Who mirrors the catalog: through pushes, restarts, replicas, and a restored storage.

use std::fs;
use std::path::PathBuf;

use cuelight::catalog::process_file;
use cuelight::config::{Config, Storage};
use cuelight::http::changes_api::{PING_EVERY, STREAM_LIFE};

use crate::support::on_redis::again_on_redis;
use crate::support::redis::RedisServer;
use crate::support::sse::{Feed, Mirror};
use crate::support::stage::{FILE, PATIENCE, Stage, component};

fn origin(stage: &Stage) -> String {
    format!("http://{}", stage.app.internal)
}

/// Follows from where the mirror is to what is there now.
async fn connect(stage: &Stage, mirror: &mut Mirror) -> Feed {
    let mut feed = Feed::open(&origin(stage), mirror.id.as_deref()).await;
    mirror.follow(&mut feed).await;
    mirror.assert_equals(&stage.get("/api/catalog/entities").await.1);
    feed
}

fn type_of<'a>(mirror: &'a Mirror, name: &str) -> Option<&'a str> {
    mirror.entities.get(&format!("component:default/{name}"))?["spec"]["type"].as_str()
}

#[tokio::test]
async fn a_push_reaches_who_follows() {
    let stage = Stage::open().await;
    let mut mirror = Mirror::default();
    let mut feed = connect(&stage, &mut mirror).await;
    stage.repository("pay", &component("pay", "service")).await;
    mirror.follow(&mut feed).await;
    assert_eq!(type_of(&mirror, "pay"), Some("service"));
    stage.cue(&stage.world().put_file("acme/pay", FILE, component("pay", "library"))).await;
    stage.work().await;
    mirror.follow(&mut feed).await;
    assert_eq!(type_of(&mirror, "pay"), Some("library"));
    stage.cue(&stage.world().delete_repository("acme/pay")).await;
    stage.work().await;
    mirror.follow(&mut feed).await;
    assert!(mirror.entities.is_empty(), "{:?}", mirror.entities.keys());
    assert_eq!(mirror.snapshots, ["new"]);
}

#[tokio::test]
async fn silence_is_broken_and_a_stream_has_an_end() {
    let stage = Stage::open().await;
    let mut mirror = Mirror::default();
    let mut feed = connect(&stage, &mut mirror).await;
    stage.clock.wait_for_sleep(PING_EVERY).await;
    stage.clock.advance(PING_EVERY);
    let ping = feed.next().await.expect("the stream goes on");
    assert_eq!((ping.name.as_str(), ping.data.as_str()), ("comment", Some("ping")));
    stage.clock.wait_for_sleep(PING_EVERY).await;
    stage.clock.advance(STREAM_LIFE - PING_EVERY * 2);
    assert_eq!(feed.next().await.expect("the stream goes on").name, "comment");
    stage.clock.wait_for_sleep(PING_EVERY).await;
    stage.clock.advance(PING_EVERY);
    assert_eq!(feed.next().await, None);
    connect(&stage, &mut mirror).await;
    assert_eq!(mirror.snapshots, ["new"], "it goes on where it was");
}

#[tokio::test]
async fn a_restart_costs_who_follows_nothing() {
    let stage = Stage::open().await;
    stage.repository("pay", &component("pay", "service")).await;
    let mut mirror = Mirror::default();
    let mut feed = connect(&stage, &mut mirror).await;
    let stage = stage.restart().await;
    assert_eq!(feed.next().await, None);
    // It comes back late, and one that was as far as it is there.
    stage.repository("shop", &component("shop", "service")).await;
    stage.cue(&stage.world().put_file("acme/pay", FILE, component("pay", "library"))).await;
    stage.work().await;
    connect(&stage, &mut mirror).await;
    assert_eq!(type_of(&mirror, "pay"), Some("library"));
    assert_eq!(mirror.snapshots, ["new"]);
}

#[tokio::test]
async fn who_missed_what_was_before_a_restart_gets_a_snapshot() {
    let stage = Stage::open().await;
    stage.repository("pay", &component("pay", "service")).await;
    stage.repository("gone", &component("gone", "service")).await;
    let mut mirror = Mirror::default();
    drop(connect(&stage, &mut mirror).await);
    stage.cue(&stage.world().delete_repository("acme/gone")).await;
    stage.work().await;
    let stage = stage.restart().await;
    connect(&stage, &mut mirror).await;
    assert_eq!(type_of(&mirror, "gone"), None);
    assert_eq!(mirror.snapshots, ["new", "unknown"]);
}

again_on_redis!(
    a_push_reaches_who_follows,
    a_restart_costs_who_follows_nothing,
    who_missed_what_was_before_a_restart_gets_a_snapshot,
);

#[tokio::test]
async fn another_replica_goes_on_where_the_first_was() {
    let redis = RedisServer::with(&["--appendonly", "yes"]);
    let on_redis = |config: &mut Config| {
        config.storage = Storage::Redis(Box::new(redis.settings()));
    };
    let stage = Stage::with(on_redis, process_file).await;
    let other = stage.replica().await;
    let follows = async || {
        let written = stage.app.worker.store.last_seq().await.expect("the storage works");
        let mut view = other.view.clone();
        let shown = view.wait_for(|view| view.seq() >= written);
        tokio::time::timeout(PATIENCE, shown).await.expect("in time").expect("the view is fed");
    };
    stage.create(3);
    stage.scan().await;
    follows().await;
    let mut mirror = Mirror::default();
    drop(connect(&stage, &mut mirror).await);
    stage.repository("pay", &component("pay", "service")).await;
    stage.cue(&stage.world().delete_repository("acme/svc-1")).await;
    stage.work().await;
    follows().await;
    let mut feed = Feed::open(&format!("http://{}", other.internal), mirror.id.as_deref()).await;
    mirror.follow(&mut feed).await;
    mirror.assert_equals(&stage.get("/api/catalog/entities").await.1);
    assert_eq!(mirror.snapshots, ["new"], "the other replica went through the same state");
    drop(feed);
    other.stop().await.expect("it stops");
}

/// The files of a SQLite database.
fn files(config: &Config) -> [PathBuf; 3] {
    let Storage::Sqlite(path) = &config.storage else { panic!("these stories are on SQLite") };
    ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", path.display())))
}

#[tokio::test]
async fn a_restored_copy_of_the_storage_is_not_taken_for_what_was_there() {
    let stage = Stage::open().await;
    stage.repository("pay", &component("pay", "service")).await;
    let mut copy = Vec::new();
    let stage = stage
        .restart_with(|config| copy = files(config).map(|file| fs::read(file).ok()).to_vec())
        .await;
    stage.repository("lost", &component("lost", "service")).await;
    let mut mirror = Mirror::default();
    drop(connect(&stage, &mut mirror).await);
    let stage = stage
        .restart_with(|config| {
            for (file, bytes) in files(config).iter().zip(&copy) {
                let _ = fs::remove_file(file);
                bytes.iter().for_each(|bytes| fs::write(file, bytes).expect("it can be written"));
            }
        })
        .await;
    // The number that the lost change had is given again.
    stage.repository("new", &component("new", "service")).await;
    let seq = stage.app.view.borrow().seq();
    assert!(mirror.id.as_ref().is_some_and(|id| id.starts_with(&format!("{seq}-"))));
    connect(&stage, &mut mirror).await;
    assert_eq!(mirror.snapshots, ["new", "unknown"]);
    assert_eq!((type_of(&mirror, "lost"), type_of(&mirror, "new")), (None, Some("service")));
}
