//! A cold scan of 5,000 and of 20,000 repositories with a file each, and a second one: calls, time,
//! processor, memory, and how each of them grows with the size.

#[path = "support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Instant;

use support::Fixture;

/// What one size takes.
struct Taken {
    count: usize,
    calls: usize,
    wall_seconds: f64,
    cpu_seconds: f64,
    peak_mb: f64,
}

fn main() -> ExitCode {
    let counts = match std::env::var("CUELIGHT_BENCH_REPOSITORIES") {
        Ok(one) => vec![one.parse().expect("CUELIGHT_BENCH_REPOSITORIES is a number")],
        Err(_) => vec![5_000, 20_000],
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut before: Option<Taken> = None;
        for count in counts {
            let taken = measure(count).await;
            if let Some(before) = &before {
                tell_growth(before, &taken);
            }
            before = Some(taken);
        }
    });
    support::exit()
}

async fn measure(count: usize) -> Taken {
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
    // A page holds a hundred repositories and a read fifty; one call asks for the login.
    let pages = count.div_ceil(100);
    let bound = format!("a cold scan's calls ≤ {}", 3 * pages + 10);
    support::holds(&bound, first <= 3 * pages + 10);
    support::holds(&format!("a second scan's calls ≤ {}", pages + 1), second <= pages + 1);
    if count == 5_000 {
        support::holds("resident memory ≤ 80 MB", memory <= 80.0);
    }
    Taken {
        count,
        calls: first,
        wall_seconds: wall.as_secs_f64(),
        cpu_seconds: cpu.as_secs_f64(),
        peak_mb: peak,
    }
}

fn tell_growth(small: &Taken, large: &Taken) {
    let ratio = |of: fn(&Taken) -> f64| of(large) / of(small);
    let float = |n: usize| f64::from(u32::try_from(n).expect("a count that fits"));
    let size = float(large.count) / float(small.count);
    let calls = float(large.calls) / float(small.calls);
    support::say(&format!(
        "scan: {size:.1} times the repositories take {calls:.2} times the calls, {:.2} times the \
         time, {:.2} times the cpu, {:.2} times the memory at most",
        ratio(|taken| taken.wall_seconds),
        ratio(|taken| taken.cpu_seconds),
        ratio(|taken| taken.peak_mb),
    ));
    support::holds("calls grow no faster than the repositories", calls <= size);
}
