//! `/api/cuelight/v1`: what cuelight knows beyond the catalog, for people and scripts.
//!
//! The types here are the wire format. Lists answer `{items, total, next}` and take `limit` and
//! `offset`; times are RFC 3339.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::json as value;

use crate::catalog::merge::Repository;
use crate::clock::Timestamp;
use crate::engine::queue::{Entry, Inspect, LedgerEntry, QueueStats, State as KeyState};
use crate::engine::store::{Held, Seq};
use crate::http::answer::{ApiError, Page, json};
use crate::http::params::{Params, json_body, only_text};
use crate::http::state::{InternalState, ProviderInfo, Shared, Webhooks, route};
use crate::ids::Account;
use crate::work::{Lane, WorkKey};

/// Items of a page when the client names no number.
const LIMIT_DEFAULT: usize = 1_000;

/// Most items of a page, and farthest that lists of the storage are read: a few MB of JSON.
const LIMIT_MAX: usize = 10_000;

/// The routes, to be mounted at `/api/cuelight/v1`.
pub(super) fn routes() -> Router<Shared> {
    let router = route(Router::new(), "/status", get(status));
    let router = route(router, "/repositories", get(repositories));
    let router = route(router, "/deliveries", get(deliveries));
    let router = route(router, "/queue", get(queue));
    let router = route(router, "/queue/retry", post(retry));
    route(router, "/queue/drop", post(drop_key))
}

/// The part of a list that is asked for.
pub(super) struct Slice {
    offset: usize,
    limit: usize,
}

impl Slice {
    pub(super) fn parse(params: &Params) -> Result<Self, ApiError> {
        Ok(Self {
            offset: params.number("offset")?.unwrap_or(0),
            limit: params.number("limit")?.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX),
        })
    }

    /// How many items have to be read to have this part.
    fn end(&self) -> Result<usize, ApiError> {
        let end = self.offset.saturating_add(self.limit);
        if self.offset < LIMIT_MAX {
            return Ok(end.min(LIMIT_MAX));
        }
        Err(ApiError::input(format!("request/query/offset must be < {LIMIT_MAX}")))
    }

    /// The page, out of items that begin at offset 0.
    pub(super) fn page<T>(&self, items: impl Iterator<Item = T>, total: u64) -> Page<T> {
        Page::new(items.skip(self.offset).take(self.limit).collect(), self.offset, total)
    }

    /// The same of a list of the storage: nobody is sent on to where [`end`](Self::end) refuses.
    fn stored_page<T>(&self, items: impl Iterator<Item = T>, total: u64) -> Page<T> {
        let page = self.page(items, total);
        Page { next: page.next.filter(|next| *next < LIMIT_MAX as u64), ..page }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusBody {
    version: &'static str,
    started_at: String,
    uptime_seconds: u64,
    webhooks: &'static str,
    workers: usize,
    storage: StorageBody,
    view: ViewBody,
    queue: QueueBody,
    gates: Vec<GateBody>,
    held_removals: Vec<HeldBody>,
    providers: Vec<ProviderBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StorageBody {
    url: String,
    durability: String,
    /// The last change that is written; the view has it once its own number is as large.
    seq: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ViewBody {
    seq: u64,
    complete: bool,
    repositories: usize,
    entities: usize,
    problems: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueBody {
    waiting_event: u64,
    waiting_scan: u64,
    held: u64,
    dead: u64,
    oldest_event_at: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GateBody {
    account: String,
    until: String,
    reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeldBody {
    key: String,
    repository: String,
    account: String,
    since: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProviderBody {
    id: String,
    host: String,
    organization: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<u64>,
    catalog_path: Vec<String>,
    schedule: String,
}

async fn status(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let stats = state.inspect.stats().await?;
    let held = state.store.held().await?;
    let written = state.store.last_seq().await?;
    Ok(json(StatusCode::OK, &status_body(&state, stats, held, written)))
}

fn status_body(
    state: &InternalState,
    stats: QueueStats,
    held: Vec<Held>,
    written: Seq,
) -> StatusBody {
    let (info, view) = (&state.info, state.view());
    let counts = view.counts();
    let gate = |(account, until, reason): (Account, Timestamp, String)| GateBody {
        account: account.to_string(),
        until: until.to_string(),
        reason,
    };
    StatusBody {
        version: info.version,
        started_at: info.started_at.to_string(),
        uptime_seconds: state.clock.now().since(info.started_at).as_secs(),
        webhooks: match info.webhooks {
            Webhooks::On => "on",
            Webhooks::Off => "off",
        },
        workers: info.workers,
        storage: StorageBody {
            url: info.storage_url.clone(),
            durability: stats.durability,
            seq: written,
        },
        view: ViewBody {
            seq: view.seq(),
            complete: view.is_complete(),
            repositories: counts.repositories,
            entities: counts.entities,
            problems: counts.problems,
        },
        queue: QueueBody {
            waiting_event: stats.waiting_event,
            waiting_scan: stats.waiting_scan,
            held: stats.held,
            dead: stats.dead,
            oldest_event_at: stats.oldest_event.map(|at| at.to_string()),
        },
        gates: stats.gates.into_iter().map(gate).collect(),
        held_removals: held.into_iter().map(Into::into).collect(),
        providers: info.providers.iter().map(Into::into).collect(),
    }
}

impl From<Held> for HeldBody {
    fn from(held: Held) -> Self {
        Self {
            key: WorkKey::Repo(held.key).to_string(),
            repository: held.full_name.to_string(),
            account: held.account.to_string(),
            since: held.since.to_string(),
        }
    }
}

impl From<&ProviderInfo> for ProviderBody {
    fn from(provider: &ProviderInfo) -> Self {
        Self {
            id: provider.id.clone(),
            host: provider.host.clone(),
            organization: provider.organization.clone(),
            app: provider.app,
            catalog_path: provider.catalog_paths.clone(),
            schedule: provider.schedule.clone(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RepositoryBody {
    host: String,
    id: u64,
    full_name: String,
    account: String,
    default_branch: Option<String>,
    head: Option<String>,
    /// Entities that its owner wrote; those we generate for its files are not counted.
    entities: usize,
    problems: usize,
    reconciled_at: String,
}

async fn repositories(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let slice = Slice::parse(&Params::parse(&request, &["limit", "offset"])?)?;
    let view = state.complete_view()?;
    let all = view.repositories();
    let total = all.len() as u64;
    let page = slice.page(all, total);
    let body = |repository: &Arc<Repository>| {
        let (entities, problems) = view.counts_of(repository);
        RepositoryBody {
            host: repository.id.host.to_string(),
            id: repository.id.id,
            full_name: repository.full_name.to_string(),
            account: repository.account.to_string(),
            default_branch: repository.default_branch.as_deref().map(str::to_owned),
            head: repository.head.as_deref().map(str::to_owned),
            entities,
            problems,
            reconciled_at: Timestamp(repository.reconciled_at).to_string(),
        }
    };
    let items = page.items.into_iter().map(body).collect();
    Ok(json(StatusCode::OK, &Page { items, total, next: page.next }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryBody {
    guid: String,
    event: String,
    action: Option<String>,
    repository: Option<String>,
    received_at: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

async fn deliveries(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let slice = Slice::parse(&Params::parse(&request, &["limit", "offset"])?)?;
    let (entries, total) = state.inspect.deliveries(slice.end()?).await?;
    Ok(json(StatusCode::OK, &slice.stored_page(entries.into_iter().map(DeliveryBody::from), total)))
}

impl From<LedgerEntry> for DeliveryBody {
    fn from(entry: LedgerEntry) -> Self {
        let delivery = entry.delivery;
        Self {
            guid: delivery.id.to_string(),
            event: delivery.event,
            action: delivery.action,
            repository: delivery.repository.map(|name| name.to_string()),
            received_at: delivery.received_at.to_string(),
            outcome: entry.outcome,
            reason: delivery.ignored,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryBody {
    key: String,
    state: KeyState,
    lane: Lane,
    account: String,
    repository: Option<String>,
    reasons: Vec<String>,
    attempts: u32,
    at: String,
    error: Option<String>,
}

/// Keys of the state asked for, or of all, the dead first: they need a person. With `key` that
/// key alone, if it is there and not behind too many others.
async fn queue(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let params = Params::parse(&request, &["state", "limit", "offset", "key"])?;
    let slice = Slice::parse(&params)?;
    let key = params.first("key").map(str::parse::<WorkKey>).transpose();
    let key = key.map_err(|error| ApiError::input(error.to_string()))?;
    let states = match params.first("state") {
        None => vec![KeyState::Dead, KeyState::Held, KeyState::Waiting],
        Some("waiting") => vec![KeyState::Waiting],
        Some("held") => vec![KeyState::Held],
        Some("dead") => vec![KeyState::Dead],
        Some(_) => {
            return Err(ApiError::input(
                "request/query/state must be equal to one of the allowed values: waiting, held, \
                 dead",
            ));
        }
    };
    let (mut entries, mut total) = (Vec::new(), 0);
    if let Some(key) = key {
        for key_state in states {
            let (found, _) = state.inspect.list(key_state, LIMIT_MAX).await?;
            entries.extend(found.into_iter().filter(|entry| entry.key == key));
        }
        let total = entries.len() as u64;
        let items = entries.into_iter().map(EntryBody::from);
        return Ok(json(StatusCode::OK, &slice.stored_page(items, total)));
    }
    for key_state in states {
        let missing = slice.end()?.saturating_sub(entries.len());
        let (found, count) = state.inspect.list(key_state, missing).await?;
        entries.extend(found);
        total += count;
    }
    Ok(json(StatusCode::OK, &slice.stored_page(entries.into_iter().map(EntryBody::from), total)))
}

impl From<Entry> for EntryBody {
    fn from(entry: Entry) -> Self {
        let reasons = entry.hint.reasons.to_string();
        Self {
            key: entry.key.to_string(),
            state: entry.state,
            lane: entry.lane,
            account: entry.account.to_string(),
            repository: entry.hint.name.map(|name| name.to_string()),
            reasons: reasons.split('+').map(str::to_owned).collect(),
            attempts: entry.attempts,
            at: entry.at.to_string(),
            error: entry.error,
        }
    }
}

async fn retry(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let key = dead_key(request).await?;
    match state.inspect.retry(key.clone()).await? {
        true => Ok(json(StatusCode::OK, &value!({ "key": key.to_string(), "retried": true }))),
        false => Err(not_dead(&key)),
    }
}

async fn drop_key(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let key = dead_key(request).await?;
    match Inspect::drop(&*state.inspect, key.clone()).await? {
        true => Ok(json(StatusCode::OK, &value!({ "key": key.to_string(), "dropped": true }))),
        false => Err(not_dead(&key)),
    }
}

async fn dead_key(request: Request) -> Result<WorkKey, ApiError> {
    Params::parse(&request, &[])?;
    let body = json_body(request).await?;
    only_text(&body, "key", &[])?.parse().map_err(|error| ApiError::input(format!("{error}")))
}

fn not_dead(key: &WorkKey) -> ApiError {
    ApiError::not_found(format!("{key} is not dead"))
}
