//! `kill -9` of the real program right after a 202: nothing that was acknowledged is lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fake_github::{FakeGitHub, Format, NewRepository, Webhooks, signed};
use tempfile::TempDir;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::support::http;
use crate::support::process::Served;
use crate::support::redis::RedisServer;
use crate::support::stage::{FILE, PATIENCE, SECRET, TOKEN, component};

/// Rounds unless `CUELIGHT_KILL_ROUNDS` says otherwise.
const ROUNDS: usize = 20;

/// Rounds on Redis: there a key that the killed process was working on waits for the end of its
/// lease, half a minute.
const ROUNDS_ON_REDIS: usize = 2;

/// Longest wait for such a key: its lease, and the sleepers' look that finds it.
const LEASE_PATIENCE: Duration = Duration::from_secs(60);

/// Writes a configuration for free ports and no scan by itself.
pub(super) fn configuration(dir: &Path, api: &str) -> PathBuf {
    configuration_for(dir, api, &format!("sqlite:{}", dir.join("cuelight.db").display()))
}

pub(super) fn configuration_for(dir: &Path, api: &str, storage: &str) -> PathBuf {
    let text = format!(
        "server:\n  public: {{ listen: '127.0.0.1:0' }}\n  internal: {{ listen: '127.0.0.1:0' }}\n\
         webhooks: {{ secrets: ['{SECRET}'] }}\n\
         storage: {{ url: '{storage}' }}\n\
         integrations:\n  github:\n    - {{ host: github.com, apiBaseUrl: '{api}', token: {TOKEN} }}\n\
         catalog:\n  providers:\n    github:\n      organization: acme\n\
         \x20     schedule: {{ frequency: {{ trigger: manual }} }}\n"
    );
    let path = dir.join("cuelight.yaml");
    std::fs::write(&path, text).expect("the directory is writable");
    path
}

/// Asks until the URL answers 200.
pub(super) async fn eventually(url: &str) -> String {
    eventually_within(url, PATIENCE).await
}

async fn eventually_within(url: &str, patience: Duration) -> String {
    let deadline = Instant::now() + patience;
    let mut ticks = interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match http::try_get(url).await {
            Ok((200, body)) => return body,
            other => assert!(Instant::now() < deadline, "{url}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_right_after_the_202_loses_nothing() {
    let rounds = std::env::var("CUELIGHT_KILL_ROUNDS")
        .ok()
        .map_or(ROUNDS, |n| n.parse().expect("CUELIGHT_KILL_ROUNDS is a number"));
    kill_and_look(None, rounds, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_right_after_the_202_loses_nothing_on_redis() {
    let redis = RedisServer::start();
    kill_and_look(Some(&redis), ROUNDS_ON_REDIS, LEASE_PATIENCE).await;
}

async fn kill_and_look(redis: Option<&RedisServer>, rounds: usize, patience: Duration) {
    let github = FakeGitHub::start().await;
    let world = github.state();
    world.create_organization("acme");
    world.add_token(TOKEN, &["acme"]);
    let dir = TempDir::new().expect("a temporary directory");
    let config = match redis {
        Some(redis) => configuration_for(dir.path(), &github.url(), &redis.url()),
        None => configuration(dir.path(), &github.url()),
    };
    let binary = Path::new(env!("CARGO_BIN_EXE_cuelight"));
    let hooks = Webhooks::new();
    for round in 0..rounds {
        let served = Served::start(&[], binary, &config, &[]);
        let name = format!("svc-{round}");
        let new = NewRepository::named(&name).file(FILE, component(&name, "service"));
        let events = world.create_repository("acme", new);
        let delivery = signed(&events[1], SECRET, &hooks.guid(), Format::Json);
        let url = format!("{}/webhooks/github", served.public);
        let (status, body) = hooks.post(&url, &delivery).await.expect("an answer");
        assert_eq!(status, 202, "{body}");
        served.kill();
        let served = Served::start(&[], binary, &config, &[]);
        let by_name = |name: &str| {
            format!("{}/api/catalog/entities/by-name/component/default/{name}", served.internal)
        };
        eventually_within(&by_name(&name), patience).await;
        eventually_within(&by_name("svc-0"), patience).await;
        let process = served.id();
        let (status, log) = served.terminate();
        assert!(status.success(), "round {round}, {process}: {status}\n{}", log.join("\n"));
    }
}
