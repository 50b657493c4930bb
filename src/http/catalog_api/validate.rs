//! `POST /validate-entity`: whether an entity would be taken, and all that is wrong with it.
//!
//! The same rules as for catalog files run, without `catalog.rules`. What placeholders and targets
//! name is read where it lies in the repository of `location` and that is one of the catalog's.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::catalog::verdict::Said;
use crate::catalog::{Source, location_ref};
use crate::http::answer::{ApiError, json};
use crate::http::params::{Params, json_body_and_text, text};
use crate::http::state::{Shared, key_of};

/// The entity in the order in which it is written, which tells what the first error is.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    entity: &'a RawValue,
}

pub(super) async fn validate(
    State(state): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let (body, body_text) = json_body_and_text(request).await?;
    let missing =
        |name: &str| ApiError::input(format!("request/body must have required property '{name}'"));
    let location = text(&body, "location")?.ok_or_else(|| missing("location"))?;
    let entity = body.get("entity").ok_or_else(|| missing("entity"))?;
    if !entity.is_object() {
        return Err(ApiError::input("request/body/entity must be object"));
    }
    let as_written = serde_json::from_slice(&body_text).map(|Written { entity }| entity.get());
    let entity: Arc<str> = as_written.map_or_else(|_| entity.to_string().into(), Arc::from);
    let address = match location_ref::parse(&location) {
        Ok(("url", address)) => Ok(address),
        Ok(_) => Err(format!(
            "Invalid location ref {location}, only 'url:<target>' is supported, e.g. \
             url:https://host/path"
        )),
        Err(error) => Err(error.to_string()),
    };
    let operator = &state.operator;
    let address = match address {
        Ok(address) => address,
        Err(message) => {
            // The envelope is looked at before the location.
            let verdict = operator.judge_alone(entity).await?;
            let error = ("TypeError", message);
            return Ok(refused(if verdict.has_envelope { vec![error] } else { verdict.errors }));
        }
    };
    let key = |file: &Source| key_of(&state.view(), Some(&file.host), &file.full_name);
    let verdict = operator.judge(entity, address, key, state.inspect.as_ref()).await?;
    if verdict.errors.is_empty() {
        return Ok(StatusCode::OK.into_response());
    }
    Ok(refused(verdict.errors))
}

fn refused(errors: Vec<Said>) -> Response {
    let error = |(name, message)| json!({ "name": name, "message": message });
    let errors: Vec<Value> = errors.into_iter().map(error).collect();
    json(StatusCode::BAD_REQUEST, &json!({ "errors": errors }))
}
