//! Web pages of other origins: which may read the API's answers, and what browsers are told.
//!
//! Before a page's request that carries a token, a browser asks whether it may be sent
//! (`OPTIONS`, without the token): that is answered before anybody is authenticated, and the same
//! for every path. It gives nothing away: what is read later needs the token all the same.

use std::time::Duration;

use axum::http::header::{AGE, ETAG, LINK, ORIGIN, RETRY_AFTER};
use axum::http::{HeaderValue, Method};
use tower_http::cors::{AllowHeaders, CorsLayer};

/// How long a browser may remember the answer: as soon as this an origin that is no longer
/// configured is shut out. Chromium remembers for two hours at most.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);

/// The layer for these origins; none when there are none, and then nothing is said at all.
///
/// Headers are those that are asked for, and credentials are allowed, as by a Backstage: its front
/// end may add headers for tracing. Cookies are never looked at.
pub(super) fn layer(origins: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> =
        origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods(methods)
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([LINK, ETAG, AGE, RETRY_AFTER])
        .allow_credentials(true)
        .max_age(REMEMBERED)
        .vary([ORIGIN]);
    Some(layer)
}
