//! What `/metrics` tells: every series from the start, and the scans, lags and holds of a story.

use fake_github::NewRepository;

use crate::support::http;
use crate::support::stage::{FILE, Stage, TOKEN, component};

async fn metrics(stage: &Stage) -> String {
    http::get(&format!("http://{}/metrics", stage.app.internal)).await.1
}

#[track_caller]
fn check(metrics: &str, expected: &[&str]) {
    for line in expected {
        assert!(metrics.lines().any(|found| found == *line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn scans_ages_and_lags_are_there_at_zero_from_the_start() {
    let stage = Stage::open().await;
    let expected = [
        "cuelight_scans_total{outcome=\"ok\"} 0",
        "cuelight_scans_total{outcome=\"failed\"} 0",
        "cuelight_heartbeats_total{outcome=\"ok\"} 0",
        "cuelight_heartbeats_total{outcome=\"failed\"} 0",
        "cuelight_scan_seconds_count 0",
        "cuelight_removals_held 0",
        "cuelight_oldest_event_seconds 0",
        "cuelight_reconciled_lag_seconds_count 0",
        "cuelight_visible_lag_seconds_count 0",
        "cuelight_queue_keys{outcome=\"waiting-event\"} 0",
        "cuelight_queue_keys{outcome=\"dead\"} 0",
        "cuelight_webhooks_total{outcome=\"queued\"} 0",
        "cuelight_runs_total{outcome=\"held\"} 0",
    ];
    check(&metrics(&stage).await, &expected);
}

#[tokio::test]
async fn scans_ages_lags_and_holds_are_counted() {
    let stage = Stage::open().await;
    let new = NewRepository::named("pay").file(FILE, component("pay", "service"));
    let events = stage.world().create_repository("acme", new);
    stage.cue(&events).await;
    stage.clock.advance(std::time::Duration::from_secs(3));
    check(&metrics(&stage).await, &["cuelight_oldest_event_seconds 3"]);
    stage.work().await;
    stage.world().hide_repository(TOKEN, "acme/pay");
    stage.scan().await;
    let expected = [
        "cuelight_scans_total{outcome=\"ok\"} 1",
        "cuelight_scan_seconds_count 1",
        "cuelight_removals_held 1",
        "cuelight_oldest_event_seconds 0",
        "cuelight_reconciled_lag_seconds_count 1",
        "cuelight_reconciled_lag_seconds_sum 3.0",
        "cuelight_visible_lag_seconds_count 1",
    ];
    check(&metrics(&stage).await, &expected);
}
