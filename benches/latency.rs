//! From a webhook's 202 to the change being visible in the API, beside the GitHub call itself.
//!
//! The real program runs as a child process; the stand-in GitHub answers at once in one run and
//! after 50 ms in the next. Printed are percentiles of (visible − accepted − GitHub's latency).

#[path = "support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use fake_github::{Calls, Fault, Webhooks};
use support::{FILE, Fixture, SECRET, component, percentile};

const ROUNDS: usize = 500;
const REPOSITORIES: usize = 50;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for latency in [Duration::ZERO, Duration::from_millis(50)] {
            measure(latency).await;
        }
    });
    support::exit()
}

async fn measure(latency: Duration) {
    let fixture = Fixture::start(REPOSITORIES, "{ trigger: manual }").await;
    let world = fixture.github.state();
    world.fail_always(Calls::All, Fault::Latency(latency));
    let hooks = Webhooks::new();
    let url = format!("{}/webhooks/github", fixture.served.public);
    let mut accepts = Vec::with_capacity(ROUNDS);
    let mut costs = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let name = format!("svc-{}", round % REPOSITORIES);
        let kind = format!("type-{round}");
        let events = world.put_file(&format!("acme/{name}"), FILE, component(&name, &kind));
        let sent = Instant::now();
        let (status, body) = hooks.deliver(&url, SECRET, &events[0]).await;
        assert_eq!(status, 202, "{body}");
        let accepted = Instant::now();
        fixture.until_visible(&name, &kind).await;
        accepts.push(accepted - sent);
        costs.push(accepted.elapsed().saturating_sub(latency));
    }
    accepts.sort();
    costs.sort();
    let bounds = [(50, Duration::from_millis(5)), (99, Duration::from_millis(25))];
    support::say(&format!(
        "latency: GitHub {:>2} ms · accepted p50 {} p99 {} · visible on top p50 {} p99 {} ",
        latency.as_millis(),
        percentile(&accepts, 50),
        percentile(&accepts, 99),
        percentile(&costs, 50),
        percentile(&costs, 99),
    ));
    for (percent, bound) in bounds {
        let held = support::at(&costs, percent) <= bound;
        support::holds(&format!("visible on top, p{percent} ≤ {} ms", bound.as_millis()), held);
    }
}
