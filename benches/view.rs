//! The read API over 1,000, 10,000 and 100,000 entities, in one process.
//!
//! Each number is taken without a socket, one request after another, so that it is the catalog's
//! own cost; `api` asks the real program. Printed are rates and, for each size after the first, how
//! much more one question costs than at the size before.

#[path = "support/mod.rs"]
mod bench;
#[path = "../tests/it/support/internal_api.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "what tests share, of which a part is used")]
mod internal_api;
#[path = "../tests/it/support/stub_engine.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "what tests share, of which a part is used")]
mod stub_engine;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use bench::{holds, say};
use cuelight::catalog::{AllowedKinds, FileEntry, RepoEntry, Source, View, process_alone};
use cuelight::config::InternalAuth;
use internal_api::InternalApi;
use tower::ServiceExt;

/// Entities, half of them components and half the Locations of their files.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// How long each question is repeated.
const SPAN: Duration = Duration::from_millis(600);

/// Updates of one repository.
const UPDATES: u64 = 200;

/// Most bytes beside its own JSON that an entity may take.
const OVERHEAD_BYTES_MAX: f64 = 4096.0;

const BY_QUERY: &str = "/api/catalog/entities/by-query?limit=20&orderField=metadata.name,asc\
                        &filter=kind=component,spec.type=service";

const QUESTIONS: [(&str, &str); 6] = [
    ("by-name", "/api/catalog/entities/by-name/component/default/service-7"),
    ("by-query", BY_QUERY),
    (
        "by-query, no count",
        concat!(
            "/api/catalog/entities/by-query?limit=20&orderField=metadata.name,asc",
            "&filter=kind=component&totalItems=exclude"
        ),
    ),
    (
        "full text",
        concat!(
            "/api/catalog/entities/by-query?limit=20&orderField=metadata.name,asc",
            "&fullTextFilterTerm=ice-7&fullTextFilterFields=metadata.name,metadata.title"
        ),
    ),
    ("facets", "/api/catalog/entity-facets?facet=kind&facet=spec.type&facet=metadata.tags"),
    ("filter, one found", "/api/catalog/entities?filter=metadata.name=service-7,kind=component"),
];

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let sizes: Vec<usize> = match std::env::var("CUELIGHT_BENCH_ENTITIES") {
        Ok(text) => vec![text.parse().expect("CUELIGHT_BENCH_ENTITIES is a number")],
        Err(_) => SIZES.to_vec(),
    };
    let mut costs: BTreeMap<&str, Duration> = BTreeMap::new();
    for size in sizes {
        runtime.block_on(measure(size, &mut costs));
    }
    bench::exit()
}

async fn measure(size: usize, costs: &mut BTreeMap<&'static str, Duration>) {
    let before = resident_bytes();
    let started = Instant::now();
    let repositories = size as u64 / 2;
    let entries = (0..repositories).map(|id| repository(id, id, "service"));
    let view = View::empty().with_repositories(entries).complete_to(repositories);
    let built = started.elapsed();
    let json = json_bytes(&view);
    // What was read into trees for the etags has been freed again by now.
    let each = |bytes: usize| bytes as f64 / size as f64;
    let overhead = each(resident_bytes().saturating_sub(before)) - each(json);
    say(&format!(
        "view: {size} entities built in {:.2} s · {:.0} bytes of JSON and {overhead:.0} besides, \
         each",
        built.as_secs_f64(),
        each(json)
    ));
    let api = InternalApi::new(view.clone(), InternalAuth::None);
    for (name, path) in QUESTIONS {
        let cost = repeat(&api.router(), path).await;
        tell(size, name, cost, costs);
    }
    let cost = update(&view, repositories);
    tell(size, "update of one repository", cost, costs);
    if size == 100_000 {
        holds("an update at 100,000 entities ≤ 5 ms", cost <= Duration::from_millis(5));
        holds("an entity takes ≤ 4 kB beside its JSON", overhead <= OVERHEAD_BYTES_MAX);
    }
}

fn tell(
    size: usize,
    name: &'static str,
    cost: Duration,
    costs: &mut BTreeMap<&'static str, Duration>,
) {
    let before = costs.insert(name, cost);
    let growth = before
        .map(|before| format!(" · ×{:.1}", cost.as_secs_f64() / before.as_secs_f64()))
        .unwrap_or_default();
    say(&format!(
        "  {size:>6} {name:<26} {:>9.1} µs {:>9.0}/s{growth}",
        cost.as_secs_f64() * 1e6,
        1.0 / cost.as_secs_f64()
    ));
}

/// What one answer to a question costs.
async fn repeat(router: &Router, path: &str) -> Duration {
    let ask = async || {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = router.clone().oneshot(request).await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200, "{path}");
        to_bytes(response.into_body(), usize::MAX).await.expect("a body")
    };
    // What is made when it is first asked for belongs to the first.
    ask().await;
    let started = Instant::now();
    let mut rounds = 0;
    while started.elapsed() < SPAN {
        ask().await;
        rounds += 1;
    }
    started.elapsed() / rounds
}

/// What it costs to exchange one repository, with a new component type each time.
fn update(view: &View, repositories: u64) -> Duration {
    let entries: Vec<RepoEntry> = (0..UPDATES)
        .map(|round| {
            let id = round * 7919 % repositories;
            repository(id, repositories + round, &format!("type-{round}"))
        })
        .collect();
    let mut view = view.clone();
    let started = Instant::now();
    for entry in entries {
        view = view.with_repository(entry);
    }
    started.elapsed() / u32::try_from(UPDATES).expect("a few")
}

fn repository(id: u64, seq: u64, of_type: &str) -> RepoEntry {
    let name = format!("service-{id}");
    let of_type = if of_type == "service" && id.is_multiple_of(3) { "website" } else { of_type };
    let text = format!(
        "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\n\
         \x20 title: Service number {id}\n  tags: [rust, team-{}]\n\
         spec:\n  type: {of_type}\n  lifecycle: production\n  owner: team-{}\n  system: shop-{}\n",
        id % 50,
        id % 100,
        id % 300
    );
    let source = Source {
        host: "github.com".to_owned(),
        full_name: format!("acme/{name}"),
        branch: "main".to_owned(),
        path: "catalog-info.yaml".to_owned(),
    };
    let processed = process_alone(&source, &text, &AllowedKinds::default(), &[]);
    assert_eq!(processed.entities.len(), 2, "{:?}", processed.problems);
    RepoEntry {
        seq,
        host: "github.com".to_owned(),
        id,
        full_name: source.full_name,
        account: "github.com:7".to_owned(),
        default_branch: Some("main".to_owned()),
        head: Some(format!("{id:040x}")),
        reconciled_at: 0,
        files: vec![FileEntry {
            provider: "default".to_owned(),
            branch: String::new(),
            path: source.path,
            claims: processed.entities.into_iter().map(|entity| (entity, seq)).collect(),
            problems: Vec::new(),
        }],
    }
}

/// The length of all entities as JSON.
fn json_bytes(view: &View) -> usize {
    let mut text = Vec::new();
    let mut bytes = 0;
    for entity in view.select(None, &cuelight::catalog::query::Order::Ref).entities {
        text.clear();
        view.write_json(&entity, &mut text);
        bytes += text.len();
    }
    bytes
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kilobytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok());
    kilobytes.unwrap_or(0) * 1024
}
