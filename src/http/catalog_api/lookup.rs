//! Entities by name, by uid and by refs, and what they come from.

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use crate::catalog::filter::Filter;
use crate::catalog::query::Fields;
use crate::catalog::schema::PREDICATE;
use crate::http::answer::{ApiError, tagged};
use crate::http::catalog_api::{ask, one, query};
use crate::http::params::{Params, optional_body, required_texts, text_list};
use crate::http::state::Shared;

/// Beyond so many bytes entities are asked for in smaller parts: one may be named again and again.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why nothing can be deleted here.
const NOT_DELETED: &str = "entities cannot be deleted by hand: this catalog holds what the \
                           repositories on GitHub hold. Remove the entity from its catalog file, \
                           and it goes by itself";

/// What a body with refs is told of, in Backstage's words.
fn malformed(objections: &str) -> ApiError {
    ApiError::input(format!(
        "Malformed request body (did you remember to specify an application/json content type?), \
         Validation error: {objections}"
    ))
}

type Name = Path<(String, String, String)>;

fn entity_ref(Path((kind, namespace, name)): &Name) -> String {
    format!("{kind}:{namespace}/{name}").to_lowercase()
}

pub(super) async fn by_name(
    State(state): State<Shared>,
    path: Name,
    request: Request,
) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let view = state.complete_view()?;
    let entity = view.entity(&entity_ref(&path)).ok_or_else(|| {
        let Path((kind, namespace, name)) = path;
        ApiError::not_found(format!(
            "No entity named '{name}' found, with kind '{kind}' in namespace '{namespace}'"
        ))
    })?;
    Ok(one(&view, entity))
}

pub(super) async fn by_uid(
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

/// `DELETE /entities/by-uid/{uid}`: refused.
pub(super) async fn delete(Path(_): Path<String>, request: Request) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    Err(ApiError::not_allowed(NOT_DELETED))
}

/// `POST /entities/by-refs`: the refs as they are written, so in lower case; null for what is not
/// there.
pub(super) async fn by_refs(
    State(state): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let params = Params::parse(&request, &["filter"])?;
    let filter = Filter::parse(&params.all("filter"))?;
    let body =
        optional_body(request).await?.ok_or_else(|| malformed("Required at \"entityRefs\""))?;
    let refs = required_texts(&body, "entityRefs")?;
    let fields = Fields::whole(text_list(&body, "fields")?.unwrap_or_default())?;
    if let Some(objections) = body
        .get("query")
        .filter(|query| query.is_object())
        .and_then(|query| PREDICATE.objections(query, Some("query")))
    {
        return Err(malformed(&objections));
    }
    let filter = Filter::both(filter, query(&body)?);
    ask(&state, move |view| {
        let set = filter.map(|filter| view.find(Some(&filter)));
        let mut text = b"{\"items\":[".to_vec();
        for (index, entity_ref) in refs.iter().enumerate() {
            if text.len() > ANSWER_BYTES_MAX {
                let message = format!("the answer has more than {ANSWER_BYTES_MAX} bytes");
                return ApiError::too_large(message).into_response();
            }
            if index > 0 {
                text.push(b',');
            }
            let entity = view.entity(entity_ref);
            let entity = entity.filter(|e| set.as_ref().is_none_or(|set| e.is_in(set)));
            match (entity, &fields) {
                (None, _) => text.extend_from_slice(b"null"),
                (Some(entity), None) => view.write_json(entity, &mut text),
                (Some(entity), Some(fields)) => {
                    let projected = fields.project(&view.json(entity));
                    text.extend_from_slice(projected.to_string().as_bytes());
                }
            }
        }
        text.extend_from_slice(b"]}");
        tagged(text)
    })
    .await
}

/// `GET …/ancestry`: the entity, its Location, and so on up to the file that was found.
pub(super) async fn ancestry(
    State(state): State<Shared>,
    path: Name,
    request: Request,
) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let view = state.complete_view()?;
    let entity_ref = entity_ref(&path);
    let entity = view
        .entity(&entity_ref)
        .ok_or_else(|| ApiError::not_found(format!("No such entity {entity_ref}")))?;
    let mut text = format!("{{\"rootEntityRef\":{},\"items\":[", Value::from(entity_ref.as_str()));
    for (index, ancestor) in view.ancestry(entity).into_iter().enumerate() {
        text.push_str(if index == 0 { "{\"entity\":" } else { ",{\"entity\":" });
        let mut entity = Vec::new();
        view.write_json(&ancestor.entity, &mut entity);
        text.push_str(&String::from_utf8_lossy(&entity));
        text.push_str(&format!(",\"parentEntityRefs\":{}}}", Value::from(ancestor.parents)));
    }
    text.push_str("]}");
    Ok(tagged(text.into_bytes()))
}
