//! `/locations`: the catalog files that were found, as Backstage shows registered locations.
//!
//! They follow GitHub and cannot be written by hand: what tries to is refused with the reason. A
//! dry run is answered as far as the catalog knows the file, because it changes nothing.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::catalog::View;
use crate::catalog::filter::Filter;
use crate::catalog::javascript::from_base64;
use crate::catalog::query::QueryError;
use crate::catalog::schema::{LOCATION, LOCATIONS_CURSOR};
use crate::catalog::uid::Uid;
use crate::catalog::view::ViewEntity;
use crate::http::answer::{self, ApiError, tagged};
use crate::http::catalog_api::ask;
use crate::http::params::{Params, json_body, optional_body, text};
use crate::http::state::Shared;

/// Items of a page of `by-query` when the client names no number: Backstage's default.
const LIMIT_DEFAULT: usize = 1000;

/// Why nothing can be registered, changed or removed here.
const NOT_WRITTEN: &str = "locations cannot be written by hand: this catalog holds what the \
                           repositories on GitHub hold. Add, change or remove a catalog file in a \
                           repository that cuelight covers, and its location follows";

/// A catalog file as a location.
struct Location {
    uid: Uid,
    target: String,
    entity_ref: String,
}

impl Location {
    fn of(view: &View, entity: &ViewEntity) -> Self {
        // Too long to be searched is still a target.
        let target = view.values(entity, "spec.target").into_iter().next().unwrap_or_else(|| {
            view.json(entity)["spec"]["target"].as_str().unwrap_or_default().to_owned()
        });
        Self { uid: entity.uid(), target, entity_ref: entity.entity_ref().to_owned() }
    }

    fn json(&self) -> Value {
        json!({
            "id": self.uid.to_string(), "type": "url", "target": self.target,
            "entityRef": self.entity_ref,
        })
    }

    fn value(&self, key: &str) -> Option<String> {
        match key {
            "id" => Some(self.uid.to_string()),
            "type" => Some("url".to_owned()),
            "target" => Some(self.target.to_lowercase()),
            "entityref" => Some(self.entity_ref.clone()),
            _ => None,
        }
    }
}

/// All of them, by id.
fn all(view: &View) -> Vec<Location> {
    let mut all: Vec<Location> =
        view.generated_locations().map(|entity| Location::of(view, entity)).collect();
    all.sort_by_key(|location| location.uid);
    all
}

fn tagged_json(value: &Value) -> Response {
    tagged(value.to_string().into_bytes())
}

pub(super) async fn list(
    State(state): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    ask(&state, |view| {
        let items: Vec<Value> =
            all(view).iter().map(|location| json!({ "data": location.json() })).collect();
        tagged_json(&items.into())
    })
    .await
}

pub(super) async fn by_query(
    State(state): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let body = optional_body(request).await?.unwrap_or_default();
    let (mut filter, mut limit) = (query(&body)?, wanted(&body)?.unwrap_or(LIMIT_DEFAULT));
    let mut after = None;
    if let Some(cursor) = text(&body, "cursor")? {
        let cursor = decode(&cursor)?;
        limit = cursor["limit"].as_f64().unwrap_or_default() as usize;
        after = cursor["afterId"].as_str().map(Uid::near);
        filter = match cursor.get("query") {
            None => None,
            Some(Value::Object(query)) => Some(Filter::from_location_cursor(query)?),
            Some(_) => return Err(ApiError::input("Query must be an object")),
        };
    }
    ask(&state, move |view| {
        let holds = |location: &Location| {
            filter.as_ref().is_none_or(|f| f.holds(&|key| location.value(key)))
        };
        let found: Vec<Location> = all(view).into_iter().filter(holds).collect();
        let from = after.map_or(0, |after| found.partition_point(|found| found.uid <= after));
        let page = &found[from..found.len().min(from.saturating_add(limit))];
        let mut page_info = Map::new();
        if let Some(last) = page.last().filter(|_| from + page.len() < found.len()) {
            let mut cursor = json!({ "limit": limit, "afterId": last.uid.to_string() });
            if let Some(filter) = &filter {
                cursor["query"] = filter.to_query();
            }
            page_info.insert("nextCursor".into(), STANDARD.encode(cursor.to_string()).into());
        }
        let items: Vec<Value> = page.iter().map(Location::json).collect();
        tagged_json(&json!({ "items": items, "totalItems": found.len(), "pageInfo": page_info }))
    })
    .await
}

fn decode(cursor: &str) -> Result<Value, QueryError> {
    if cursor.is_empty() {
        return Err(QueryError::EmptyCursor);
    }
    let json = serde_json::from_slice(&from_base64(cursor));
    let cursor = json.map_err(|_| QueryError::CursorEncoding)?;
    match LOCATIONS_CURSOR.objections(&cursor, None) {
        None => Ok(cursor),
        Some(objections) => Err(QueryError::Cursor(format!("Validation error: {objections}"))),
    }
}

/// The `query` of a body.
fn query(body: &Map<String, Value>) -> Result<Option<Filter>, ApiError> {
    match body.get("query") {
        None => Ok(None),
        Some(Value::Object(query)) => Ok(Some(Filter::from_location_query(query)?)),
        Some(_) => Err(ApiError::input("request/body/query must be object")),
    }
}

pub(super) async fn by_id(
    State(state): State<Shared>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let view = state.complete_view()?;
    let entity = view
        .entity_by_uid(&id)
        .filter(|entity| entity.is_generated())
        .ok_or_else(|| ApiError::not_found(format!("Found no location with ID {id}")))?;
    Ok(tagged_json(&Location::of(&view, entity).json()))
}

pub(super) async fn by_entity(
    State(state): State<Shared>,
    Path((kind, namespace, name)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let view = state.complete_view()?;
    let entity_ref = format!("{kind}:{namespace}/{name}").to_lowercase();
    let entity = view
        .entity(&entity_ref)
        .ok_or_else(|| ApiError::not_found(format!("found no entity for ref {entity_ref}")))?;
    let location = view.origin(entity).ok_or_else(|| {
        ApiError::not_found(format!("found no location that {entity_ref} comes from"))
    })?;
    Ok(tagged_json(&Location::of(&view, location).json()))
}

/// `POST /locations`: refused, but for a dry run of a file that is known.
pub(super) async fn create(
    State(state): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let params = Params::parse(&request, &["dryRun", "onConflict"])?;
    if params.first("onConflict").is_some_and(|choice| !["refresh", "reject"].contains(&choice)) {
        return Err(ApiError::input(
            "request/query/onConflict must be equal to one of the allowed values: refresh, reject",
        ));
    }
    let is_dry = params.first("dryRun").is_some_and(|choice| choice.eq_ignore_ascii_case("true"));
    let body = json_body(request).await?;
    require(&body, ["target", "type"])?;
    let target = written(body)?;
    let view = state.complete_view()?;
    match view.generated_location("url", &target).filter(|_| is_dry) {
        Some(location) => Ok(answer::json(StatusCode::CREATED, &rehearsal(&view, location))),
        None => Err(ApiError::not_allowed(NOT_WRITTEN)),
    }
}

/// What registering a known file would answer.
fn rehearsal(view: &View, location: &Arc<ViewEntity>) -> Value {
    let entities = [location].into_iter().chain(view.entities_of_file(location));
    let entities: Vec<Value> = entities.map(|entity| view.json(entity)).collect();
    let mut shown = Location::of(view, location).json();
    // It might not be registered yet: a rehearsal has no id of its own.
    shown["id"] = format!("url:{}", shown["target"].as_str().unwrap_or_default()).into();
    json!({ "exists": true, "location": shown, "entities": entities })
}

/// `PUT /locations/{id}`: refused.
pub(super) async fn update(request: Request) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let body = json_body(request).await?;
    require(&body, ["type", "target"])?;
    if body.keys().any(|key| !["type", "target"].contains(&key.as_str())) {
        return Err(ApiError::input("request/body must NOT have additional properties"));
    }
    written(body)?;
    Err(ApiError::not_allowed(NOT_WRITTEN))
}

/// `DELETE /locations/{id}`: refused.
pub(super) async fn delete(request: Request) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    Err(ApiError::not_allowed(NOT_WRITTEN))
}

/// `GET /locations/by-query`: the name of no location.
pub(super) async fn no_such(request: Request) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    Err(ApiError::not_found("Found no location with ID by-query"))
}

/// The `limit` of a body: a number of items, at least one.
fn wanted(body: &Map<String, Value>) -> Result<Option<usize>, ApiError> {
    let Some(value) = body.get("limit") else { return Ok(None) };
    if !value.is_number() {
        return Err(ApiError::input("request/body/limit must be number"));
    }
    let wanted = value.as_u64().map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    let wrong = || ApiError::input("Limit must be a positive integer >= 1");
    wanted.filter(|wanted| *wanted > 0).map(Some).ok_or_else(wrong)
}

/// Refuses a body without the texts `names`, in the order in which what is missing is told.
fn require(body: &Map<String, Value>, names: [&str; 2]) -> Result<(), ApiError> {
    for name in names {
        text(body, name)?.ok_or_else(|| {
            ApiError::input(format!("request/body must have required property '{name}'"))
        })?;
    }
    Ok(())
}

/// The target of a location that somebody wants to write.
fn written(body: Map<String, Value>) -> Result<String, ApiError> {
    let body = Value::Object(body);
    if let Some(objections) = LOCATION.objections_as_json(&body) {
        return Err(ApiError::input(format!("Malformed request: {objections}")));
    }
    if body["type"] != "url" {
        return Err(ApiError::input("Registered locations must be of an allowed type [\"url\"]"));
    }
    Ok(body["target"].as_str().unwrap_or_default().to_owned())
}
