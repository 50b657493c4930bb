//! What an organisation at rest costs in an hour: calls and points, counted at the stand-in GitHub.
//!
//! The whole program runs in this process on a clock that is moved by hand: a heartbeat each minute
//! and a full scan each 20 minutes, by its own loops, over 100, 1,000 and 10,000 repositories with
//! a file each. Printed beside it is what one heartbeat takes, asking and comparing.

#[path = "../tests/it/support/clock.rs"]
#[allow(clippy::unwrap_used, dead_code, reason = "it is written for tests")]
mod clock;
#[path = "support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clock::ManualClock;
use cuelight::app::{App, Parts};
use cuelight::config::{Config, Frequency, Integration, LoadArgs, Storage};
use fake_github::{CallKind, FakeGitHub, POINTS_PER_HOUR, World};
use secrecy::SecretString;
use support::TOKEN;
use tempfile::TempDir;
use tokio::time::{interval, timeout};

const MINUTE: Duration = Duration::from_secs(60);
const PERCENT_MAX: u64 = 10;

/// The time between two scans: 20 minutes, and a second less, so that no other sleep ends when the
/// heartbeat's does and is mistaken for it.
const SCAN_EVERY: Duration = Duration::from_secs(20 * 60 - 1);

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(240);

/// How often it is looked whether everything is done.
const LOOK_EVERY: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    let counts = match std::env::var("CUELIGHT_BENCH_REPOSITORIES") {
        Ok(one) => vec![one.parse().expect("CUELIGHT_BENCH_REPOSITORIES is a number")],
        Err(_) => vec![100, 1_000, 10_000],
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for count in counts {
            measure(count).await;
        }
    });
    support::exit()
}

async fn measure(count: usize) {
    let github = support::repositories(count).await;
    let world = github.state();
    let dir = TempDir::new().expect("a temporary directory");
    let clock = ManualClock::new();
    let parts = Parts { clock: clock.clone(), ..Parts::default() };
    let app = App::start(config(&github, &dir), parts).await.expect("cuelight starts");
    until(|| app.view.borrow().counts().entities >= 2 * count).await;
    quiet(&app).await;

    world.reset_calls();
    let mut waited = Duration::ZERO;
    for _ in 0..60 {
        clock.wait_for_sleep(MINUTE).await;
        quiet(&app).await;
        let started = Instant::now();
        let before = world.calls_of(CallKind::Latest);
        clock.advance(MINUTE);
        until(|| world.calls_of(CallKind::Latest) > before).await;
        clock.wait_for_sleep(MINUTE).await;
        waited += started.elapsed();
        quiet(&app).await;
    }
    tell(&world, count, waited / 60);
    app.stop().await.expect("it stops");
}

fn tell(world: &World, count: usize, beat: Duration) {
    let (calls, points) = (world.calls().len(), world.points());
    let beats = world.calls_of(CallKind::Latest);
    let pages = world.calls_of(CallKind::List);
    support::say(&format!(
        "rest: {count:>6} repositories · an hour {calls:>4} calls, {points:>4} points = {:.1} % of \
         {POINTS_PER_HOUR} · {beats} heartbeats, {pages} pages of scans · a heartbeat {:.1} ms",
        points_percent(points),
        beat.as_secs_f64() * 1000.0,
    ));
    let bound = format!("{count} repositories at rest ≤ {PERCENT_MAX} % of the points");
    support::holds(&bound, points * 100 <= PERCENT_MAX * POINTS_PER_HOUR);
    support::holds("a heartbeat is one call", beats == 60);
}

fn points_percent(points: u64) -> f64 {
    let as_float = |n: u64| f64::from(u32::try_from(n).expect("a count that fits"));
    as_float(points) * 100.0 / as_float(POINTS_PER_HOUR)
}

fn config(github: &FakeGitHub, dir: &TempDir) -> Config {
    let args = LoadArgs { org: Some("acme".to_owned()), ..LoadArgs::default() };
    let mut config = Config::load(&args, |_| None).expect("the defaults hold").config;
    config.server.public_listen = ([127, 0, 0, 1], 0).into();
    config.server.internal_listen = ([127, 0, 0, 1], 0).into();
    config.providers[0].schedule.frequency = Frequency::Every(SCAN_EVERY);
    config.storage = Storage::Sqlite(dir.path().join("cuelight.db"));
    config.integrations = vec![Integration {
        host: "github.com".to_owned(),
        api_base_url: github.url(),
        token: Some(SecretString::from(TOKEN)),
        apps: Vec::new(),
    }];
    config
}

/// Waits until no key waits or is held.
async fn quiet(app: &App) {
    let mut ticks = interval(LOOK_EVERY);
    loop {
        let stats = app.inspect.stats().await.expect("the storage works");
        if stats.waiting_event + stats.waiting_scan + stats.held == 0 {
            return;
        }
        ticks.tick().await;
    }
}

async fn until(wanted: impl Fn() -> bool) {
    let mut ticks = interval(LOOK_EVERY);
    let looked = async {
        while !wanted() {
            ticks.tick().await;
        }
    };
    timeout(PATIENCE, looked).await.expect("it is as wanted in time");
}
