//! What operators ask of `/api/cuelight/v1`: scans, approvals, explanations.
//!
//! The types here are the wire format; times are RFC 3339. A `POST` only pushes keys, so it is
//! answered before anything is done, except that a dry run answers when the listing is complete.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use serde_json::{Map, Value, json as value};

use crate::http::answer::{ApiError, Page, json};
use crate::http::params::{BODY_BYTES_MAX, Params, json_body_within};
use crate::http::state::{Shared, route};
use crate::operate::OperateError;
use crate::operate::scans::{Asked, Known, ScanResult};
use crate::work::WorkKey;

/// Largest body of an approval: as many names of repositories as one may hold, at GitHub's longest.
const APPROVAL_BYTES_MAX: usize = 4 << 20;

/// The routes, to be mounted at `/api/cuelight/v1`.
pub(super) fn routes() -> Router<Shared> {
    let router = route(Router::new(), "/scans", get(scans).post(start));
    route(router, "/approvals", get(waiting).post(approve))
}

impl From<OperateError> for ApiError {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::UnknownAccount(_) => Self::not_found(error.to_string()),
            OperateError::Changed { .. } => Self::conflict(error.to_string()),
            OperateError::NotStarted(_) | OperateError::GitHub(_) | OperateError::NotNow(_) => {
                Self::unavailable(error.to_string())
            }
            OperateError::Panicked(_) => Self::internal(error.to_string()),
            OperateError::Engine(error) => error.into(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScanBody {
    id: String,
    account: String,
    #[serde(flatten)]
    result: ResultBody,
    next: Option<String>,
}

/// How a scan ended.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResultBody {
    started_at: String,
    ended_at: String,
    listed: u64,
    pushed: u64,
    held: Vec<String>,
    error: Option<String>,
}

impl From<ScanResult> for ResultBody {
    fn from(result: ScanResult) -> Self {
        Self {
            started_at: result.started_at.to_string(),
            ended_at: result.ended_at.to_string(),
            listed: result.listed,
            pushed: result.pushed,
            held: result.held.into_iter().map(|(_, name)| name).collect(),
            error: result.error,
        }
    }
}

impl From<Known> for ScanBody {
    fn from(known: Known) -> Self {
        Self {
            id: WorkKey::Scan(known.account).to_string(),
            account: known.label,
            result: known.result.into(),
            next: known.next.map(|at| at.to_string()),
        }
    }
}

async fn scans(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let items: Vec<ScanBody> = state.operator.scans().await?.into_iter().map(Into::into).collect();
    let total = items.len() as u64;
    Ok(json(StatusCode::OK, &Page::new(items, 0, total)))
}

/// Pushes scan keys; what becomes of them is listed under the same ids.
async fn start(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let account = account_only(request).await?;
    let asked = state.operator.start_scans(account.as_deref()).await?;
    let item = |one: Asked| {
        value!({
            "id": WorkKey::Scan(one.account.clone()).to_string(),
            "account": state.operator.label(&one.account),
            "requestedAt": one.at.to_string(),
        })
    };
    let items: Vec<Value> = asked.into_iter().map(item).collect();
    let total = items.len() as u64;
    Ok(json(StatusCode::ACCEPTED, &Page::new(items, 0, total)))
}

#[derive(Serialize)]
struct WaitingBody {
    repository: String,
    account: String,
    since: String,
}

/// The removals that wait for approval, of one account or of all.
async fn waiting(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let params = Params::parse(&request, &["account"])?;
    let waiting = match params.first("account") {
        Some(account) => state.operator.waiting_of(account).await?.1,
        None => state.operator.waiting().await?,
    };
    let body = |one: crate::operate::approvals::Waiting| WaitingBody {
        repository: one.full_name,
        account: state.operator.label(&one.account),
        since: one.since.to_string(),
    };
    let items: Vec<WaitingBody> = waiting.into_iter().map(body).collect();
    let total = items.len() as u64;
    Ok(json(StatusCode::OK, &Page::new(items, 0, total)))
}

/// Approves exactly the list that was given; 409 names what is held when that is another.
async fn approve(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let body = json_body_within(request, APPROVAL_BYTES_MAX).await?;
    only_members(&body, &["account", "repositories"])?;
    let account = text(&body, "account")?
        .ok_or_else(|| ApiError::input("request/body must have required property 'account'"))?;
    let seen = match body.get("repositories") {
        None => None,
        Some(Value::Array(names)) => {
            let names: Option<Vec<String>> =
                names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
            let wrong = || ApiError::input("request/body/repositories must be strings");
            Some(names.ok_or_else(wrong)?)
        }
        Some(_) => return Err(ApiError::input("request/body/repositories must be array")),
    };
    match state.operator.approve(&account, seen.as_deref()).await {
        Ok(approved) => {
            let body = value!({
                "account": state.operator.label(&approved.account),
                "repositories": approved.repositories,
                "until": approved.until.to_string(),
            });
            Ok(json(StatusCode::OK, &body))
        }
        // A program has to show the list before it can be approved, so it is told apart too.
        Err(OperateError::Changed { held }) => {
            let message = OperateError::Changed { held: held.clone() }.to_string();
            let error = value!({ "name": "ConflictError", "message": message });
            Ok(json(StatusCode::CONFLICT, &value!({ "error": error, "held": held })))
        }
        Err(error) => Err(error.into()),
    }
}

/// The only member of a body that names an account, or none.
pub(super) async fn account_only(request: Request) -> Result<Option<String>, ApiError> {
    Params::parse(&request, &[])?;
    let body = json_body_within(request, BODY_BYTES_MAX).await?;
    only_members(&body, &["account"])?;
    text(&body, "account")
}

fn only_members(body: &Map<String, Value>, known: &[&str]) -> Result<(), ApiError> {
    if body.keys().all(|key| known.contains(&key.as_str())) {
        return Ok(());
    }
    Err(ApiError::input("request/body must NOT have additional properties"))
}

fn text(body: &Map<String, Value>, name: &str) -> Result<Option<String>, ApiError> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ApiError::input(format!("request/body/{name} must be string"))),
    }
}
