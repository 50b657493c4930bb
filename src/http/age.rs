//! How old an answer is: while the storage is away the last view is served, and says so.

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::AGE;
use axum::middleware::Next;
use axum::response::Response;

use crate::health::VIEW_FOLLOWS;
use crate::http::state::Shared;

/// Adds `Age`, in seconds, while the view cannot follow the storage: what it shows was true that
/// long ago. An answer without it is as new as the storage.
pub(super) async fn tell(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(since) = state.health.since(VIEW_FOLLOWS) {
        let age = state.clock.now().since(since).as_secs();
        response.headers_mut().insert(AGE, HeaderValue::from(age));
    }
    response
}
