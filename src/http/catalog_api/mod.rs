//! `/api/catalog`: the catalog as Backstage's clients know it.
//!
//! Parameters, defaults, order and the words of refusals are Backstage's. All of it is answered
//! from one snapshot of the view, but for entities that are judged, for which GitHub may be asked;
//! the only thing that is written is the queue, by a refresh.

mod analyze;
mod entities;
mod facets;
mod locations;
mod lookup;
mod openapi;
mod pages;
mod refresh;
mod validate;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Map, Value};

use crate::catalog::View;
use crate::catalog::filter::Filter;
use crate::catalog::query::Fields;
use crate::catalog::view::ViewEntity;
use crate::http::answer::{ApiError, EntityList, tagged_text};
use crate::http::params::text_list;
use crate::http::state::{InternalState, Shared, route};

/// Entities up to which a question is answered where it arrives: it takes less than a millisecond.
/// A larger catalog is read on a thread that may take its time.
const INLINE_ENTITIES_MAX: usize = 20_000;

/// The routes, to be mounted at `/api/catalog`.
pub(super) fn routes() -> Router<Shared> {
    let router = route(Router::new(), "/entities", get(entities::list));
    let by_query = get(pages::by_parameters).post(pages::by_body);
    let router = route(router, "/entities/by-query", by_query);
    let router = route(router, "/entities/by-refs", post(lookup::by_refs));
    let by_name = "/entities/by-name/{kind}/{namespace}/{name}";
    let router = route(router, by_name, get(lookup::by_name));
    let router = route(
        router,
        "/entities/by-name/{kind}/{namespace}/{name}/ancestry",
        get(lookup::ancestry),
    );
    let by_uid = get(lookup::by_uid).delete(lookup::delete);
    let router = route(router, "/entities/by-uid/{uid}", by_uid);
    let by_facets = get(facets::by_parameters).post(facets::by_body);
    let router = route(router, "/entity-facets", by_facets);
    let all = get(locations::list).post(locations::create);
    let router = route(router, "/locations", all);
    let by_query = post(locations::by_query).get(locations::no_such);
    let by_query = by_query.put(locations::update).delete(locations::delete);
    let router = route(router, "/locations/by-query", by_query);
    let one = get(locations::by_id).put(locations::update).delete(locations::delete);
    let router = route(router, "/locations/{id}", one);
    let router =
        route(router, "/locations/by-entity/{kind}/{namespace}/{name}", get(locations::by_entity));
    let router = route(router, "/refresh", post(refresh::refresh));
    let router = route(router, "/validate-entity", post(validate::validate));
    let router = route(router, "/analyze-location", post(analyze::analyze));
    route(router, "/openapi.json", get(openapi::openapi))
}

/// Asks the newest view, on another thread where that may take long.
async fn ask<T: Send + 'static>(
    state: &InternalState,
    question: impl FnOnce(&Arc<View>) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let view = state.complete_view()?;
    if view.counts().entities <= INLINE_ENTITIES_MAX {
        return Ok(question(&view));
    }
    let asking = tokio::task::spawn_blocking(move || question(&view));
    asking.await.map_err(|_| ApiError::internal("the query failed"))
}

fn list(
    view: &Arc<View>,
    entities: Vec<Arc<ViewEntity>>,
    fields: Option<Fields>,
    opening: &'static str,
    closing: String,
) -> Response {
    let (view, entities) = (Arc::clone(view), entities.into_iter());
    EntityList { view, entities, fields, opening, closing }.into_response()
}

/// An entity alone; its etag stands for the whole of it.
fn one(view: &View, entity: &ViewEntity) -> Response {
    let mut text = Vec::new();
    view.write_json(entity, &mut text);
    tagged_text(text, &format!("W/\"{}\"", view.etag(entity)))
}

/// The `query` of a body.
fn query(body: &Map<String, Value>) -> Result<Option<Filter>, ApiError> {
    match body.get("query") {
        None => Ok(None),
        Some(Value::Object(query)) => Ok(Some(Filter::from_query(query)?)),
        Some(_) => Err(ApiError::input("request/body/query must be object")),
    }
}

/// The `fields` of a body.
fn fields(body: &Map<String, Value>) -> Result<Option<Fields>, ApiError> {
    Ok(Fields::parse(&text_list(body, "fields")?.unwrap_or_default())?)
}
