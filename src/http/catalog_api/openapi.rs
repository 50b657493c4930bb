//! `GET /openapi.json`: our end points, described for machines.

use axum::extract::Request;
use axum::response::Response;

use crate::http::answer::{ApiError, tagged};
use crate::http::params::Params;

/// The description; a test compares it with the routes.
const OPENAPI: &str = include_str!("../openapi.json");

pub(super) async fn openapi(request: Request) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    Ok(tagged(OPENAPI.as_bytes().to_vec()))
}
