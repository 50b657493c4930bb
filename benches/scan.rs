//! A cold scan of 5,000 repositories with a file each, and a second one: calls, time, memory.

#[path = "support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Instant;

use support::Fixture;

fn main() -> ExitCode {
    let count = std::env::var("CUELIGHT_BENCH_REPOSITORIES")
        .ok()
        .map_or(5_000, |n| n.parse().expect("CUELIGHT_BENCH_REPOSITORIES is a number"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(count));
    support::exit()
}

async fn measure(count: usize) {
    let fixture = Fixture::start(count, "{ seconds: 5 }").await;
    let world = fixture.github.state();
    let started = Instant::now();
    let all = f64::from(u32::try_from(count).expect("a count that fits"));
    // Each file is a component and its generated Location.
    fixture.until_metric("cuelight_entities ", |entities| entities >= 2.0 * all).await;
    fixture.until_metric("cuelight_scans_total{outcome=\"ok\"}", |scans| scans >= 1.0).await;
    let wall = started.elapsed();
    let first = world.calls().len();
    let (memory, peak, cpu) = fixture.usage();
    support::say(&format!(
        "scan: {count} repositories · cold {:.2} s, {first} calls, cpu {:.2} s",
        wall.as_secs_f64(),
        cpu.as_secs_f64()
    ));
    support::say(&format!("scan: resident {memory:.1} MB after it, {peak:.1} MB at most"));
    world.reset_calls();
    let scans = fixture.metric("cuelight_scans_total{outcome=\"ok\"}").await;
    fixture.until_metric("cuelight_scans_total{outcome=\"ok\"}", |now| now > scans).await;
    let second = world.calls().len();
    support::say(&format!("scan: a second one {second} calls"));
    if count == 5_000 {
        support::holds("a cold scan's calls ≤ 160", first <= 160);
        support::holds("a second scan's calls ≤ 51", second <= 51);
        support::holds("resident memory ≤ 80 MB", memory <= 80.0);
    }
}
