//! `GET /api/cuelight/v1/explain?repository=owner/name`: why a repository is in or out.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;

use crate::catalog::view::ProblemFilter;
use crate::engine::queue::{Entry, LedgerEntry, State as KeyState};
use crate::engine::record::{Claim, FileRecord, Included, RepoRecord};
use crate::http::answer::{ApiError, json};
use crate::http::operate_api::ResultBody;
use crate::http::params::Params;
use crate::http::problems_api::LocatedBody;
use crate::http::state::{InternalState, Shared, key_of, route};
use crate::ids::FullName;
use crate::operate::approvals::Waiting;

/// The routes, to be mounted at `/api/cuelight/v1`.
pub(super) fn routes() -> Router<Shared> {
    route(Router::new(), "/explain", get(explain))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainBody {
    repository: String,
    standing: &'static str,
    why: String,
    providers: Vec<String>,
    filter: Option<String>,
    troubles: Vec<String>,
    account: Option<String>,
    record: Option<RecordBody>,
    problems: Vec<LocatedBody>,
    last_event: Option<EventBody>,
    queue: Vec<KeyBody>,
    held: Option<HeldBody>,
    last_scan: Option<ResultBody>,
    next_scan: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordBody {
    host: String,
    id: u64,
    full_name: String,
    visibility: String,
    archived: bool,
    fork: bool,
    topics: Vec<String>,
    default_branch: Option<String>,
    head: Option<String>,
    files: Vec<FileBody>,
    reconciled_at: String,
    reconciled_for: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileBody {
    provider: String,
    /// Where it lies, when not in the repository itself: `github.com/owner/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    elsewhere: Option<String>,
    branch: Option<String>,
    path: String,
    oid: String,
    entities: Vec<EntityBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntityBody {
    entity_ref: String,
    /// Why the last good version is kept, when it is.
    stale: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventBody {
    guid: String,
    event: String,
    action: Option<String>,
    received_at: String,
    outcome: &'static str,
    reason: Option<String>,
}

#[derive(Serialize)]
struct KeyBody {
    key: String,
    state: KeyState,
    reasons: Vec<String>,
    attempts: u32,
    at: String,
    error: Option<String>,
}

#[derive(Serialize)]
struct HeldBody {
    since: String,
    approve: String,
}

async fn explain(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let params = Params::parse(&request, &["repository"])?;
    let name = params
        .first("repository")
        .ok_or_else(|| ApiError::input("request/query/repository is required: owner/name"))?;
    let name = FullName::parse(name).map_err(|error| ApiError::input(error.to_string()))?;
    let key = key_of(&*state.complete_view()?, None, name.as_str());
    let found = state.operator.explain(&name, key, &*state.inspect).await?;
    let (label, last_scan) = match found.account {
        Some((label, last)) => (Some(label), last),
        None => (None, None),
    };
    let held = |one: Waiting| {
        let account = label.clone().unwrap_or_else(|| one.account.to_string());
        let approve = format!("cuelight scan --approve-removals {account}");
        HeldBody { since: one.since.to_string(), approve }
    };
    let full_name = found.record.as_ref().map(|record| record.full_name.to_string());
    let full_name = full_name.unwrap_or_else(|| name.to_string());
    let body = ExplainBody {
        problems: problems(&state, &full_name),
        repository: full_name,
        standing: found.place.as_str(),
        why: found.why,
        providers: found.providers,
        filter: found.filter,
        troubles: found.troubles,
        held: found.held.map(held),
        account: label,
        record: found.record.map(Into::into),
        last_event: found.last_event.map(Into::into),
        queue: found.queue.into_iter().map(Into::into).collect(),
        last_scan: last_scan.map(Into::into),
        next_scan: found.next_scan.map(|at| at.to_string()),
    };
    Ok(json(StatusCode::OK, &body))
}

/// The repository's problems as the view has them, so with conflicts.
fn problems(state: &InternalState, full_name: &str) -> Vec<LocatedBody> {
    let repositories = vec![full_name.to_owned()];
    let filter = ProblemFilter { repositories, ..ProblemFilter::default() };
    state.view().problems_where(&filter).into_iter().map(Into::into).collect()
}

impl From<RepoRecord> for RecordBody {
    fn from(record: RepoRecord) -> Self {
        Self {
            host: record.key.host.to_string(),
            id: record.key.id.0,
            full_name: record.full_name.to_string(),
            visibility: record.listed.visibility,
            archived: record.listed.archived,
            fork: record.listed.fork,
            topics: record.listed.topics,
            default_branch: record.listed.default_branch,
            head: record.head.map(|head| head.to_string()),
            files: record.files.into_iter().map(Into::into).collect(),
            reconciled_at: record.reconciled_at.to_string(),
            reconciled_for: reasons(&record.reconciled_for.to_string()),
        }
    }
}

impl From<FileRecord> for FileBody {
    fn from(file: FileRecord) -> Self {
        let entity = |claim: Claim| EntityBody {
            entity_ref: claim.entity.entity_ref.to_string(),
            stale: claim.entity.stale,
        };
        let own = file.entities.into_iter().filter(|claim| !claim.entity.generated);
        let elsewhere = file.included.and_then(|included| match included {
            Included::Own => None,
            Included::Other { host, full_name } => Some(format!("{host}/{full_name}")),
        });
        Self {
            elsewhere,
            provider: file.provider,
            branch: Some(file.branch).filter(|branch| !branch.is_empty()),
            path: file.path,
            oid: file.oid.to_string(),
            entities: own.map(entity).collect(),
        }
    }
}

impl From<LedgerEntry> for EventBody {
    fn from(entry: LedgerEntry) -> Self {
        Self {
            guid: entry.delivery.id.to_string(),
            event: entry.delivery.event,
            action: entry.delivery.action,
            received_at: entry.delivery.received_at.to_string(),
            outcome: entry.outcome,
            reason: entry.delivery.ignored,
        }
    }
}

impl From<Entry> for KeyBody {
    fn from(entry: Entry) -> Self {
        Self {
            key: entry.key.to_string(),
            state: entry.state,
            reasons: reasons(&entry.hint.reasons.to_string()),
            attempts: entry.attempts,
            at: entry.at.to_string(),
            error: entry.error,
        }
    }
}

fn reasons(joined: &str) -> Vec<String> {
    joined.split('+').map(str::to_owned).collect()
}
