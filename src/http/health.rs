//! `/health`, `/livez`, `/readyz`: how cuelight is, for people, load balancers and restarts.
//!
//! What can be asked is asked when the question comes: storage, queue, gates, held removals, view.
//! What only its owner knows (GitHub's answers, scans) its owner has set in
//! [`Health`](crate::health::Health).

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::timeout;

use crate::catalog::view::Counts;
use crate::engine::EngineError;
use crate::engine::queue::QueueStats;
use crate::health::{Check, CheckState, overall};
use crate::http::answer::json;
use crate::http::state::{InternalState, NOT_LOADED, Shared, Webhooks};
use crate::operate::approvals::Waiting;

/// How long the storage may take to answer a probe: a storage that is slower cannot carry
/// webhooks either.
pub(super) const STORAGE_TIMEOUT: Duration = Duration::from_secs(1);

/// Most names that a check's detail lists; the end points list all.
const NAMES_MAX: usize = 10;

#[derive(Serialize)]
struct HealthBody {
    status: &'static str,
    checks: BTreeMap<String, CheckBody>,
}

#[derive(Serialize)]
struct CheckBody {
    state: &'static str,
    since: String,
    detail: String,
}

impl From<Check> for CheckBody {
    fn from(check: Check) -> Self {
        Self { state: check.state.as_str(), since: check.since.to_string(), detail: check.detail }
    }
}

/// Exercises what can be exercised and tells every check; 503 only when cuelight cannot work.
pub async fn health(State(state): State<Shared>) -> Response {
    exercise(&state).await;
    let checks = state.health.checks();
    let status = overall(&checks);
    let code = match status {
        CheckState::Failing => StatusCode::SERVICE_UNAVAILABLE,
        CheckState::Ok | CheckState::Off | CheckState::Degraded => StatusCode::OK,
    };
    let checks = checks.into_iter().map(|(name, check)| (name, check.into())).collect();
    json(code, &HealthBody { status: status.as_str(), checks })
}

/// The process answers.
pub async fn livez() -> &'static str {
    "ok"
}

/// The process can serve: the view is loaded and the storage takes what is written.
pub async fn readyz(State(state): State<Shared>) -> Response {
    if !state.view().is_complete() {
        return (StatusCode::SERVICE_UNAVAILABLE, NOT_LOADED).into_response();
    }
    match in_time(state.inspect.probe()).await {
        Ok(()) => "ok".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

/// The queue's numbers, or in words why the storage gave none in time.
pub(super) async fn stats(state: &InternalState) -> Result<QueueStats, String> {
    in_time(state.inspect.stats()).await
}

async fn in_time<T>(asked: impl Future<Output = Result<T, EngineError>>) -> Result<T, String> {
    match timeout(STORAGE_TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("the storage did not answer within {} s", STORAGE_TIMEOUT.as_secs())),
    }
}

async fn exercise(state: &InternalState) {
    let health = &state.health;
    match state.info.webhooks {
        Webhooks::On => health.set("webhooks", CheckState::Ok, "received and verified"),
        Webhooks::Off => health.set(
            "webhooks",
            CheckState::Off,
            "no webhook secret is configured; changes are found by heartbeats and scans",
        ),
    }
    if state.info.providers.is_empty() {
        let detail = "no provider is configured, so nothing is read: give --org ORG or \
                      catalog.providers.github";
        health.set("providers", CheckState::Off, detail);
    }
    set_view(state);
    // Also what a scan of another replica, or of before the start, left alone.
    let held = in_time(state.operator.waiting());
    // Reads go on while nothing can be written, and then webhooks are lost: so that is tried too.
    let (written, stats, held) = tokio::join!(in_time(state.inspect.probe()), stats(state), held);
    let mut storage = written;
    match stats {
        Ok(stats) => {
            set_queue(state, &stats);
            set_gates(state, &stats);
            if storage.is_ok() {
                health.set("storage", CheckState::Ok, stats.durability);
            }
        }
        Err(reason) => storage = Err(reason),
    }
    match held {
        Ok(held) => set_removals(state, &held),
        Err(reason) => storage = Err(reason),
    }
    if let Err(reason) = storage {
        health.set("storage", CheckState::Failing, reason);
    }
}

/// Says whether the view is loaded; that it cannot follow the storage, its feed says apart.
fn set_view(state: &InternalState) {
    let view = state.view();
    if !view.is_complete() {
        state.health.set("view", CheckState::Failing, NOT_LOADED);
    } else {
        let detail = format!("{} entities, change {}", view.counts().entities, view.seq());
        state.health.set("view", CheckState::Ok, detail);
        state.health.set("problems", CheckState::Ok, problems(&view.counts()));
    }
}

/// What owners have to mend. However much it is, it is theirs: cuelight does its job, and nobody
/// is to be woken for it.
fn problems(counts: &Counts) -> String {
    if counts.problems == 0 {
        return "none".to_owned();
    }
    let number = |n: usize, one: &str, many: &str| match n {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    };
    let found = counts.by_code.all().filter(|(_, count)| *count > 0);
    let by_code: Vec<String> = found.map(|(code, count)| format!("{code} {count}")).collect();
    format!(
        "{} in {} for their owners to mend: {}; see /api/cuelight/v1/problems",
        number(counts.problems, "problem", "problems"),
        number(counts.repositories_with_problems, "repository", "repositories"),
        by_code.join(", ")
    )
}

fn set_queue(state: &InternalState, stats: &QueueStats) {
    if stats.dead > 0 {
        let detail = format!(
            "given up after too many failures: {}; see `cuelight queue ls`, then \
             `cuelight queue retry`",
            if stats.dead == 1 { "1 key".to_owned() } else { format!("{} keys", stats.dead) }
        );
        state.health.set("queue", CheckState::Degraded, detail);
        return;
    }
    let waiting = stats.waiting_event + stats.waiting_scan;
    let detail = format!("{waiting} keys wait, {} are worked on", stats.held);
    state.health.set("queue", CheckState::Ok, detail);
}

fn set_gates(state: &InternalState, stats: &QueueStats) {
    if stats.gates.is_empty() {
        state.health.remove("github-limits");
        return;
    }
    let gates = stats.gates.iter();
    let gates = gates.map(|(account, until, reason)| format!("{account} until {until}: {reason}"));
    state.health.set("github-limits", CheckState::Degraded, shortened(gates));
}

fn set_removals(state: &InternalState, held: &[Waiting]) {
    if held.is_empty() {
        state.health.set("removals", CheckState::Ok, "none is held");
        return;
    }
    let names = held.iter().map(|held| held.full_name.clone());
    let account = |held: &Waiting| match held.full_name.split_once('/') {
        Some((owner, _)) => format!("{}/{owner}", held.account.host),
        None => held.account.to_string(),
    };
    let mut accounts: Vec<String> = held.iter().map(account).collect();
    accounts.sort_unstable();
    accounts.dedup();
    let command = |account: String| format!("`cuelight scan --approve-removals {account}`");
    let detail = format!(
        "{} repositories would lose all their entities, more than may go at once; they stay \
         until that is approved by {}: {}",
        held.len(),
        shortened(accounts.into_iter().map(command)),
        shortened(names)
    );
    state.health.set("removals", CheckState::Degraded, detail);
}

fn shortened(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMES_MAX);
    let mut text = names.take(NAMES_MAX).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
