//! `/metrics`: everything that is counted, in OpenMetrics text.

use std::sync::atomic::AtomicI64;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::timeout;

use crate::engine::queue::QueueStats;
use crate::http::answer::ApiError;
use crate::http::health::{STORAGE_TIMEOUT, stats};
use crate::http::state::{InternalState, Shared};
use crate::telemetry::{CodeLabel, Outcome};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes all metrics, gauges brought up to date before. While the storage is away, those of the
/// queue keep their last values.
pub async fn metrics(State(state): State<Shared>) -> Response {
    if let Ok(stats) = stats(&state).await {
        set_queue(&state, &stats);
    }
    if let Ok(Ok(waiting)) = timeout(STORAGE_TIMEOUT, state.operator.waiting()).await {
        set(&state.metrics.removals_held, waiting.len() as u64);
    }
    let counts = state.view().counts();
    set(&state.metrics.entities, counts.entities as u64);
    set(&state.metrics.repositories_with_problems, counts.repositories_with_problems as u64);
    for (code, count) in counts.by_code.all() {
        set(
            &state.metrics.problems.get_or_create(&CodeLabel { code: code.as_str() }),
            count as u64,
        );
    }
    let mut text = String::new();
    match encode(&mut text, &state.registry) {
        Ok(()) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => ApiError::internal(format!("cannot write metrics: {error}")).into_response(),
    }
}

fn set_queue(state: &InternalState, stats: &QueueStats) {
    let keys = [
        ("waiting-event", stats.waiting_event),
        ("waiting-scan", stats.waiting_scan),
        ("held", stats.held),
        ("dead", stats.dead),
    ];
    for (outcome, count) in keys {
        set(&state.metrics.queue_keys.get_or_create(&Outcome { outcome }), count);
    }
    let age = stats.oldest_event.map_or(0, |oldest| state.clock.now().since(oldest).as_secs());
    set(&state.metrics.oldest_event_seconds, age);
}

fn set(gauge: &Gauge<i64, AtomicI64>, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
