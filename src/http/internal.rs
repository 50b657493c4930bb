//! The internal listener: the catalog for Backstage and people, and how cuelight is.
//!
//! Everything but the probes and the metrics stands behind the listener's guard. All of it is
//! answered from the view in memory, or by a question to the storage.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::predicate::{And, DefaultPredicate, Predicate, SizeAbove};
use tower_http::compression::{CompressionLayer, CompressionLevel};

use crate::http::answer::{answer_not_modified, render_errors};
use crate::http::auth::{Guard, require};
use crate::http::paths::refuse_malformed;
use crate::http::state::{Shared, route};
use crate::http::{
    age, catalog_api, changes_api, cors, cuelight_api, explain_api, health, metrics, operate_api,
    preview_api, problems_api,
};

pub use crate::http::state::{Info, InternalState, ProviderInfo, Webhooks};
pub use crate::http::streams::Streams;

/// Answers from which on compression saves a packet.
const COMPRESSED_BYTES_MIN: u64 = 1024;

/// All routes of the internal listener.
pub fn router(state: InternalState) -> Router {
    let state = Arc::new(state);
    let guard = from_fn_with_state(Guard::new(&state.auth, &state.clock), require);
    let empty = || async { StatusCode::NOT_FOUND };
    let readable = cors::layer(&state.origins);
    let aged = from_fn_with_state(state.clone(), age::tell);
    let guarded = |routes: Router<Shared>| {
        let routes = routes.fallback(empty).method_not_allowed_fallback(empty);
        let routes = routes.layer(aged.clone()).layer(guard.clone());
        let routes = routes.layer(from_fn(refuse_malformed)).layer(from_fn(render_errors));
        let routes = routes.layer(from_fn(answer_not_modified)).layer(compression());
        match &readable {
            Some(readable) => routes.layer(readable.clone()),
            None => routes,
        }
    };
    let own = cuelight_api::routes().merge(operate_api::routes()).merge(explain_api::routes());
    let own = own.merge(preview_api::routes()).merge(problems_api::routes());
    let own = own.merge(changes_api::routes());
    let open = route(Router::new(), "/health", get(health::health));
    let open = route(open, "/livez", get(health::livez));
    let open = route(open, "/readyz", get(health::readyz));
    let open = route(open, "/metrics", get(metrics::metrics));
    open.route("/", get(index))
        .nest("/api/catalog", guarded(catalog_api::routes()))
        .nest("/api/cuelight/v1", guarded(own))
        .with_state(state)
        .layer(CatchPanicLayer::new())
}

/// Gzip, br or zstd, as the client prefers, and none for event streams. Answers are made anew for
/// each request, so the quickest level is the best one.
fn compression() -> CompressionLayer<And<DefaultPredicate, SizeAbove>> {
    let large = DefaultPredicate::new().and(SizeAbove::new(COMPRESSED_BYTES_MIN));
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(large)
}

const INDEX: &str = "cuelight: a software catalog that follows GitHub

/health                            how every dependency is
/livez, /readyz                    probes
/metrics                           OpenMetrics
/api/catalog/entities              the catalog, as Backstage serves it
/api/catalog/entities/by-query
/api/catalog/entities/by-name/KIND/NAMESPACE/NAME
/api/catalog/entities/by-uid/UID
/api/catalog/entity-facets         which values a key has: ?facet=kind
/api/catalog/locations             the catalog files
/api/catalog/openapi.json          all end points, for machines
/api/catalog/refresh               POST {\"entityRef\": \"component:default/name\"}
/api/cuelight/v1/status            what cuelight is doing
/api/cuelight/v1/repositories      what it knows of each repository
/api/cuelight/v1/problems          what owners have to mend: ?repository= ?kind= ?code=
/api/cuelight/v1/deliveries        the newest webhooks and what became of them
/api/cuelight/v1/queue             keys: waiting, held, dead; POST queue/retry, queue/drop
/api/cuelight/v1/scans             the last scan of each account; POST starts one, scans/preview
/api/cuelight/v1/approvals         removals that wait; POST {\"account\": \"github.com/acme\"}
/api/cuelight/v1/changes           the catalog as a stream of events: a snapshot, then changes
/api/cuelight/v1/explain           why ?repository=owner/name is in or out
";

async fn index() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], INDEX)
}
