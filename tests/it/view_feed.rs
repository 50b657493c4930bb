//! The feed of the view, over a storage that comes and goes.

use std::sync::Arc;
use std::time::Duration;

use cuelight::catalog::View;
use cuelight::health::{CheckState, Health};
use cuelight::telemetry::Metrics;
use cuelight::view_feed::ViewFeed;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::clock::ManualClock;
use crate::support::stub_engine::StubEngine;

/// How long the feed rests after the storage failed.
const REST: Duration = Duration::from_secs(1);

/// What a broken feed may cost the test.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn health_says_that_the_view_lags_until_the_storage_is_back() {
    let (clock, engine) = (ManualClock::new(), Arc::new(StubEngine::default()));
    let health = Arc::new(Health::new(clock.clone()));
    let feed = ViewFeed {
        store: engine.clone(),
        view: watch::Sender::new(Arc::new(View::empty())),
        clock: clock.clone(),
        metrics: Metrics::new(&mut Registry::default()),
        health: health.clone(),
    };
    engine.script(|script| script.is_away = true);
    let stop = CancellationToken::new();
    let following = tokio::spawn(feed.follow(0, String::new(), stop.clone()));
    clock.wait_for_sleep(REST).await;
    assert_eq!(health.state("view"), Some(CheckState::Degraded));
    engine.script(|script| script.is_away = false);
    clock.advance(REST);
    let healed = async {
        while health.state("view") != Some(CheckState::Ok) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, healed).await.expect("the check is ok again");
    stop.cancel();
    following.await.unwrap();
}
