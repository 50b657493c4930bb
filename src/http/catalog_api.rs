//! `/api/catalog`: the catalog as Backstage's clients know it.
//!
//! Here are the reads that need no cursor, and refresh. Parameters, defaults, order and the words
//! of refusals are Backstage's; predicates, full text, cursors, facets and locations are not here
//! yet, and what asks for them is refused, not ignored.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::LINK;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::catalog::View;
use crate::catalog::query::{Fields, Filter, Order, OrderField};
use crate::catalog::select::Selected;
use crate::catalog::view::ViewEntity;
use crate::engine::queue::{Push, PushKey};
use crate::http::answer::{ApiError, EntityList, json_text};
use crate::http::params::{Params, json_body, only_text};
use crate::http::state::{InternalState, Shared, route};
use crate::ids::{FullName, Host, RepoId};
use crate::work::{Hint, Lane, Reasons, RepoKey, WorkKey};

/// Items of a page of `by-query` when the client names no number.
const QUERY_LIMIT_DEFAULT: usize = 200;

/// The routes, to be mounted at `/api/catalog`.
pub(super) fn routes() -> Router<Shared> {
    let router = route(Router::new(), "/entities", get(entities));
    let router = route(router, "/entities/by-query", get(by_query));
    let router = route(router, "/entities/by-name/{kind}/{namespace}/{name}", get(by_name));
    let router = route(router, "/entities/by-uid/{uid}", get(by_uid));
    route(router, "/refresh", post(refresh))
}

async fn entities(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let known = ["filter", "fields", "order", "limit", "offset", "after"];
    let params = Params::parse(&request, &known)?;
    let filter = Filter::parse(&params.all("filter"))?;
    let fields = Fields::parse(&params.all("fields"))?;
    let order: Vec<OrderField> = params
        .all("order")
        .iter()
        .map(|order| OrderField::parse_order(order))
        .collect::<Result<_, _>>()?;
    let Some(window) = window(&params)? else {
        let order = order.into_iter().next().map_or(Order::Uid, Order::Values);
        let (view, selected) = select(&state, filter, order).await?;
        return Ok(list(view, selected.entities, fields, "[", "]".to_owned()));
    };
    let order = if order.is_empty() { Order::Ref } else { Order::Fields(order) };
    let (view, selected) = select(&state, filter, order).await?;
    let (page, has_more) = cut(selected.entities, window.offset, window.limit);
    let next = window
        .limit
        .filter(|_| has_more)
        .map(|limit| Window { limit: Some(limit), offset: window.offset + limit });
    let mut response = list(view, page, fields, "[", "]".to_owned());
    if let Some(next) = next {
        let query = params.with(&["offset", "after"], "after", &next.encode());
        let link = format!("</entities?{query}>; rel=\"next\"");
        let value = HeaderValue::from_str(&link)
            .map_err(|_| ApiError::internal("the link to the next page is no header"))?;
        response.headers_mut().insert(LINK, value);
    }
    Ok(response)
}

/// The part of a list that `/entities` is asked for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Window {
    limit: Option<usize>,
    #[serde(default)]
    offset: usize,
}

impl Window {
    fn encode(self) -> String {
        STANDARD
            .encode(serde_json::json!({ "limit": self.limit, "offset": self.offset }).to_string())
    }

    fn decode(text: &str) -> Option<Self> {
        let window: Self = serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()?;
        (window.limit != Some(0)).then_some(window)
    }
}

/// What `limit`, `offset` and `after` ask for; `None` when none of them is given.
fn window(params: &Params) -> Result<Option<Window>, ApiError> {
    let (mut limit, mut offset) = (params.number("limit")?, params.number("offset")?);
    if limit == Some(0) {
        return Err(ApiError::input("Invalid limit, must be one or greater"));
    }
    if let Some(after) = params.first("after") {
        let window = Window::decode(after)
            .ok_or_else(|| ApiError::input("Malformed after cursor, could not be parsed"))?;
        limit = window.limit.or(limit);
        offset = Some(window.offset);
    }
    if limit.is_none() && offset.is_none() {
        return Ok(None);
    }
    Ok(Some(Window { limit, offset: offset.unwrap_or(0) }))
}

/// The entities from `offset` on, at most `limit`, and whether there are more.
fn cut(
    mut entities: Vec<Arc<ViewEntity>>,
    offset: usize,
    limit: Option<usize>,
) -> (Vec<Arc<ViewEntity>>, bool) {
    let mut page = entities.split_off(offset.min(entities.len()));
    let has_more = limit.is_some_and(|limit| page.len() > limit);
    page.truncate(limit.unwrap_or(usize::MAX));
    (page, has_more)
}

async fn by_query(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let not_yet = ["cursor", "fullTextFilterTerm", "fullTextFilterFields"];
    let known = ["filter", "fields", "limit", "offset", "orderField", "totalItems"];
    let params = Params::parse(&request, &[&known[..], &not_yet[..]].concat())?;
    if let Some(name) = not_yet.iter().find(|name| params.first(name).is_some()) {
        return Err(ApiError::not_implemented(format!("'{name}' is not supported yet")));
    }
    let filter = Filter::parse(&params.all("filter"))?;
    let fields = Fields::parse(&params.all("fields"))?;
    let order = match params.first("orderField") {
        Some(text) => Order::Values(OrderField::parse_order_field(text)?),
        None => Order::Uid,
    };
    let limit = params.number("limit")?.unwrap_or(QUERY_LIMIT_DEFAULT);
    let offset = params.number("offset")?.unwrap_or(0);
    let counts = match params.first("totalItems") {
        None | Some("include") => true,
        Some("exclude") => false,
        Some(_) => {
            return Err(ApiError::input(
                "request/query/totalItems must be equal to one of the allowed values: include, \
                 exclude",
            ));
        }
    };
    let (view, selected) = select(&state, filter, order).await?;
    let total = if counts { selected.distinct } else { 0 };
    let (page, _) = cut(selected.entities, offset, Some(limit));
    let closing = format!("],\"totalItems\":{total},\"pageInfo\":{{}}}}");
    Ok(list(view, page, fields, "{\"items\":[", closing))
}

/// Selects on a thread that may take its time, because reading a large catalog does.
async fn select(
    state: &InternalState,
    filter: Option<Filter>,
    order: Order,
) -> Result<(Arc<View>, Selected), ApiError> {
    let view = state.complete_view()?;
    let selecting = tokio::task::spawn_blocking(move || {
        let selected = view.select(filter.as_ref(), &order);
        (view, selected)
    });
    selecting.await.map_err(|_| ApiError::internal("the query failed"))
}

fn list(
    view: Arc<View>,
    entities: Vec<Arc<ViewEntity>>,
    fields: Option<Fields>,
    opening: &'static str,
    closing: String,
) -> Response {
    let entities = entities.into_iter();
    EntityList { view, entities, fields, opening, closing }.into_response()
}

async fn by_name(
    State(state): State<Shared>,
    Path((kind, namespace, name)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let view = state.complete_view()?;
    let entity_ref = format!("{kind}:{namespace}/{name}").to_lowercase();
    let entity = view.entity(&entity_ref).ok_or_else(|| {
        ApiError::not_found(format!(
            "No entity named '{name}' found, with kind '{kind}' in namespace '{namespace}'"
        ))
    })?;
    Ok(one(&view, entity))
}

async fn by_uid(
    State(state): State<Shared>,
    Path(uid): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let view = state.complete_view()?;
    let entity = view
        .entity_by_uid(&uid)
        .ok_or_else(|| ApiError::not_found(format!("No entity with uid {uid}")))?;
    Ok(one(&view, entity))
}

fn one(view: &View, entity: &ViewEntity) -> Response {
    let mut text = Vec::new();
    view.write_json(entity, &mut text);
    json_text(text)
}

/// Pushes the key of the repository that declares an entity, as if an event had named it.
async fn refresh(State(state): State<Shared>, request: Request) -> Result<StatusCode, ApiError> {
    Params::parse(&request, &[])?;
    let body = json_body(request).await?;
    let entity_ref = only_text(&body, "entityRef", &["authorizationToken"])?.to_lowercase();
    let view = state.complete_view()?;
    let entity = view
        .entity(&entity_ref)
        .ok_or_else(|| ApiError::not_found(format!("Entity {entity_ref} not found")))?;
    let key = push_key(&state, &view, entity)
        .ok_or_else(|| ApiError::internal(format!("{entity_ref} has no repository to read")))?;
    state.queue.push(Push { delivery: None, keys: vec![key] }).await?;
    Ok(StatusCode::OK)
}

fn push_key(state: &InternalState, view: &View, entity: &ViewEntity) -> Option<PushKey> {
    let id = entity.repository();
    let repository = view.repository(id)?;
    let mut hint = Hint::new(Reasons::REFRESH, state.clock.now());
    hint.name = FullName::parse(&repository.full_name).ok();
    Some(PushKey {
        key: WorkKey::Repo(RepoKey { host: Host::parse(&id.host).ok()?, id: RepoId(id.id) }),
        account: repository.account.parse().ok()?,
        lane: Lane::Event,
        hint,
    })
}
