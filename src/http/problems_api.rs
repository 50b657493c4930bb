//! `GET /api/cuelight/v1/problems`: what owners have to mend, with a link to each line.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;

use crate::catalog::annotations::file_url;
use crate::catalog::view::{LocatedProblem, ProblemFilter};
use crate::catalog::{Code, Problem, Source};
use crate::http::answer::{ApiError, json};
use crate::http::cuelight_api::Slice;
use crate::http::params::Params;
use crate::http::state::{Shared, route};
use crate::ids::FullName;

/// The routes, to be mounted at `/api/cuelight/v1`.
pub(super) fn routes() -> Router<Shared> {
    route(Router::new(), "/problems", get(problems))
}

/// A problem of a file, wherever that lies.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProblemBody {
    code: &'static str,
    path: String,
    line: u32,
    column: u32,
    document: u32,
    entity_ref: Option<String>,
    message: String,
}

/// A problem with its repository and the page that shows its line.
#[derive(Serialize)]
pub(super) struct LocatedBody {
    #[serde(flatten)]
    problem: ProblemBody,
    repository: String,
    url: String,
}

async fn problems(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let known = ["limit", "offset", "repository", "kind", "code"];
    let params = Params::parse(&request, &known)?;
    let slice = Slice::parse(&params)?;
    let found = state.complete_view()?.problems_where(&filter(&params)?);
    let total = found.len() as u64;
    Ok(json(StatusCode::OK, &slice.page(found.into_iter().map(LocatedBody::from), total)))
}

/// Each of the three may be given several times, and then one of its values has to fit.
fn filter(params: &Params) -> Result<ProblemFilter, ApiError> {
    let repositories = params.all("repository");
    for name in &repositories {
        FullName::parse(name).map_err(|error| ApiError::input(error.to_string()))?;
    }
    let code = |name: String| {
        Code::parse(&name).ok_or_else(|| {
            let all = Code::ALL.map(Code::as_str).join(", ");
            let rule = "must be equal to one of the allowed values";
            ApiError::input(format!("request/query/code {rule}: {all}"))
        })
    };
    let codes = params.all("code").into_iter().map(code).collect::<Result<_, _>>()?;
    Ok(ProblemFilter { repositories, kinds: params.all("kind"), codes })
}

impl From<LocatedProblem> for LocatedBody {
    fn from(located: LocatedProblem) -> Self {
        let url = line_url(&located);
        let LocatedProblem { repository, problem, .. } = located;
        Self { problem: problem.into(), repository: repository.into(), url }
    }
}

impl From<Problem> for ProblemBody {
    fn from(problem: Problem) -> Self {
        Self {
            code: problem.code.as_str(),
            path: problem.path,
            line: problem.line,
            column: problem.column,
            document: problem.document,
            entity_ref: problem.entity_ref,
            message: problem.message,
        }
    }
}

/// The page that shows the line.
fn line_url(located: &LocatedProblem) -> String {
    // A file of another repository is told by its address.
    if located.problem.path.starts_with("https://") {
        return format!("{}#L{}", located.problem.path, located.problem.line);
    }
    let source = Source {
        host: located.host.to_string(),
        full_name: located.repository.to_string(),
        branch: located.branch.to_string(),
        path: located.problem.path.clone(),
    };
    format!("{}#L{}", file_url(&source), located.problem.line)
}
