//! `POST /api/cuelight/v1/scans/preview`: what scans would do, computed by listing, comparing and
//! reading now.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde::Serialize;

use crate::http::answer::{ApiError, Page, json};
use crate::http::operate_api::account_only;
use crate::http::problems_api::ProblemBody;
use crate::http::state::{Shared, route};
use crate::operate::scans::{Forecast, Foreseen, Planned};

/// The routes, to be mounted at `/api/cuelight/v1`.
pub(super) fn routes() -> Router<Shared> {
    route(Router::new(), "/scans/preview", post(preview))
}

#[derive(Serialize)]
struct PreviewBody {
    account: String,
    listed: u64,
    added: Vec<PlannedBody>,
    changed: Vec<PlannedBody>,
    removed: Vec<PlannedBody>,
    held: Vec<String>,
}

#[derive(Serialize)]
struct PlannedBody {
    repository: String,
    why: String,
    /// Not of what is to go.
    #[serde(flatten)]
    found: Option<FoundBody>,
}

/// What reading the repository brought.
#[derive(Serialize)]
struct FoundBody {
    entities: Vec<String>,
    problems: Vec<ProblemBody>,
    error: Option<String>,
}

async fn preview(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let account = account_only(request).await?;
    let forecasts = state.operator.preview_scans(account.as_deref()).await?;
    let items: Vec<PreviewBody> = forecasts
        .into_iter()
        .map(|Forecast { account, preview, mut foreseen }| {
            let mut plan = |planned: Vec<Planned>| -> Vec<PlannedBody> {
                let body = |Planned { repository, why, .. }: Planned| {
                    let found = foreseen.remove(&repository).map(Into::into);
                    PlannedBody { repository, why, found }
                };
                planned.into_iter().map(body).collect()
            };
            PreviewBody {
                account: state.operator.label(&account),
                listed: preview.listed,
                added: plan(preview.added),
                changed: plan(preview.changed),
                removed: plan(preview.removed),
                held: preview.held,
            }
        })
        .collect();
    let total = items.len() as u64;
    Ok(json(StatusCode::OK, &Page::new(items, 0, total)))
}

impl From<Foreseen> for FoundBody {
    fn from(found: Foreseen) -> Self {
        Self {
            entities: found.entities,
            problems: found.problems.into_iter().map(Into::into).collect(),
            error: found.error,
        }
    }
}
