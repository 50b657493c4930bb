//! `GET` and `POST /entity-facets`: which values some keys have, and how often.

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::catalog::filter::Filter;
use crate::http::answer::{ApiError, tagged};
use crate::http::catalog_api::{ask, query};
use crate::http::params::{Params, json_body, required_texts};
use crate::http::state::Shared;

/// Most facets of one question: each may go through every value of the catalog. Front ends ask for
/// one or a handful.
const FACETS_MAX: usize = 100;

pub(super) async fn by_parameters(
    State(state): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let params = Params::parse(&request, &["facet", "filter"])?;
    let filter = Filter::parse(&params.all("filter"))?;
    let mut facets = params.all("facet");
    facets.retain(|facet| !facet.is_empty());
    if facets.is_empty() {
        return Err(ApiError::input("request/query must have required property 'facet'"));
    }
    answer(&state, facets, filter).await
}

pub(super) async fn by_body(
    State(state): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let body = json_body(request).await?;
    let mut facets = required_texts(&body, "facets")?;
    facets.retain(|facet| !facet.is_empty());
    if facets.is_empty() {
        return Err(ApiError::input("Missing or empty facets parameter"));
    }
    answer(&state, facets, query(&body)?).await
}

async fn answer(
    state: &Shared,
    mut facets: Vec<String>,
    filter: Option<Filter>,
) -> Result<Response, ApiError> {
    facets.sort();
    facets.dedup();
    if facets.len() > FACETS_MAX {
        return Err(ApiError::input(format!("more than {FACETS_MAX} facets")));
    }
    ask(state, move |view| {
        let set = view.find(filter.as_ref());
        let mut found = Map::new();
        for facet in facets {
            let key = facet.to_lowercase();
            let values = view.facet(&set, &key).into_iter();
            let values: Vec<Value> =
                values.map(|(value, count)| json!({ "value": value, "count": count })).collect();
            found.insert(facet, values.into());
        }
        tagged(json!({ "facets": found }).to_string().into_bytes())
    })
    .await
}
