//! `POST /validate-entity`: whether an entity would be taken, and all that is wrong with it.
//!
//! The same rules as for catalog files run, without `catalog.rules` and without reading what
//! placeholders name.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::catalog::location_ref;
use crate::catalog::verdict::verdict;
use crate::http::answer::{ApiError, json};
use crate::http::params::{Params, json_body, text};
use crate::http::state::Shared;

pub(super) async fn validate(
    State(_): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let body = json_body(request).await?;
    let missing =
        |name: &str| ApiError::input(format!("request/body must have required property '{name}'"));
    let location = text(&body, "location")?.ok_or_else(|| missing("location"))?;
    let entity = body.get("entity").ok_or_else(|| missing("entity"))?;
    if !entity.is_object() {
        return Err(ApiError::input("request/body/entity must be object"));
    }
    let wrong_location = match location_ref::parse(&location) {
        Ok(("url", _)) => None,
        Ok(_) => Some(format!(
            "Invalid location ref {location}, only 'url:<target>' is supported, e.g. \
             url:https://host/path"
        )),
        Err(error) => Some(error.to_string()),
    };
    // The envelope is looked at before the location.
    let verdict = verdict(entity);
    if let Some(message) = wrong_location.filter(|_| verdict.has_envelope) {
        return Ok(refused(vec![json!({ "name": "TypeError", "message": message })]));
    }
    if verdict.errors.is_empty() {
        return Ok(StatusCode::OK.into_response());
    }
    let errors = verdict.errors.into_iter();
    Ok(refused(errors.map(|(name, message)| json!({ "name": name, "message": message })).collect()))
}

fn refused(errors: Vec<Value>) -> Response {
    json(StatusCode::BAD_REQUEST, &json!({ "errors": errors }))
}
