//! Metrics (every series exists at zero from the start) and how logging is set up.

use std::io::{IsTerminal, Write, stderr};
use std::panic::PanicHookInfo;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `RUST_LOG` cannot be read.
    #[error("RUST_LOG is not a filter of log lines: {0}")]
    Filter(String),
    /// Something else has set up a log before.
    #[error("the log was set up twice")]
    Twice,
}

/// Sets up the log of the process, on standard error. `directives` (`RUST_LOG`, tracing's own
/// language) stand in for `level` when they are there; other crates stay at `warn` without them.
pub fn init_logging(
    level: &str,
    format: LogFormat,
    directives: Option<&str>,
) -> Result<(), LogError> {
    let ours = match level {
        "error" => "error".to_owned(),
        level => format!("warn,cuelight={level}"),
    };
    let directives = directives.filter(|text| !text.trim().is_empty()).unwrap_or(&ours);
    let filter =
        EnvFilter::builder().parse(directives).map_err(|e| LogError::Filter(e.to_string()))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let done = match format {
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    done.map_err(|_| LogError::Twice)
}

/// Makes a panic one line: of the log when there is one, of standard error otherwise.
pub fn report_panics() {
    std::panic::set_hook(Box::new(report_panic));
}

fn report_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = text.unwrap_or("no message");
    let place = panic.location().map_or_else(|| "?".to_owned(), ToString::to_string);
    if tracing::dispatcher::has_been_set() {
        tracing::error!("this is a bug, please report it: panic at {place}: {message}");
    } else {
        // Nobody is left to tell when this fails.
        let _ = writeln!(
            stderr(),
            "cuelight: this is a bug, please report it: panic at {place}: {message}"
        );
    }
}

/// A label that names what a count is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// The outcome.
    pub outcome: &'static str,
}

/// A label that names an account as people know it, `github.com/acme`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AccountLabel {
    /// The account.
    pub account: String,
}

/// A label that names the code of a problem.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabel {
    /// The code.
    pub code: &'static str,
}

/// All metrics. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Webhooks answered, by outcome: queued, merged, duplicate, ignored, pong, and the refusals
    /// unauthorized, malformed, too-large, incomplete, off, unavailable, overloaded.
    pub webhooks: Family<Outcome, Counter>,
    /// Keys settled by workers: done, retry, dead, delay, held, stale, panic.
    pub runs: Family<Outcome, Counter>,
    /// Calls to GitHub: ok, limited, transient, unauthorized.
    pub github_calls: Family<Outcome, Counter>,
    /// GraphQL points spent.
    pub github_points: Counter,
    /// GraphQL points left of an account's hourly ones, when a scan asked last.
    pub github_points_remaining: Family<AccountLabel, Gauge>,
    /// Scans ended: ok, failed.
    pub scans: Family<Outcome, Counter>,
    /// Heartbeats that asked GitHub: ok, failed.
    pub heartbeats: Family<Outcome, Counter>,
    /// Seconds that scans took, failed ones too.
    pub scan_time: Histogram,
    /// Repositories whose removal waits for approval.
    pub removals_held: Gauge,
    /// Seconds from a webhook's receipt to its repository's record written.
    pub reconciled_lag: Histogram,
    /// Seconds from a webhook's receipt to its change visible in the API.
    pub visible_lag: Histogram,
    /// Keys waiting, held, dead.
    pub queue_keys: Family<Outcome, Gauge>,
    /// Age in seconds of the oldest waiting event.
    pub oldest_event_seconds: Gauge,
    /// Entities in the view.
    pub entities: Gauge,
    /// Problems in the view, by code.
    pub problems: Family<CodeLabel, Gauge>,
    /// Repositories that have problems.
    pub repositories_with_problems: Gauge,
}

const WEBHOOK_OUTCOMES: [&str; 12] = [
    "queued",
    "merged",
    "duplicate",
    "ignored",
    "pong",
    "unauthorized",
    "malformed",
    "too-large",
    "incomplete",
    "off",
    "unavailable",
    "overloaded",
];
const RUN_OUTCOMES: [&str; 7] = ["done", "retry", "dead", "delay", "held", "stale", "panic"];
const CALL_OUTCOMES: [&str; 4] = ["ok", "limited", "transient", "unauthorized"];
const SCAN_OUTCOMES: [&str; 2] = ["ok", "failed"];
const QUEUE_STATES: [&str; 4] = ["waiting-event", "waiting-scan", "held", "dead"];

impl Metrics {
    /// Registers everything, at zero.
    pub fn new(registry: &mut Registry) -> Self {
        let lag = || Histogram::new(exponential_buckets(0.001, 2.0, 18));
        let metrics = Self {
            webhooks: Family::default(),
            runs: Family::default(),
            github_calls: Family::default(),
            github_points: Counter::default(),
            github_points_remaining: Family::default(),
            scans: Family::default(),
            heartbeats: Family::default(),
            // From a page to an account of 100,000 repositories: 0.1 s to half an hour.
            scan_time: Histogram::new(exponential_buckets(0.1, 2.0, 15)),
            removals_held: Gauge::default(),
            reconciled_lag: lag(),
            visible_lag: lag(),
            queue_keys: Family::default(),
            oldest_event_seconds: Gauge::default(),
            entities: Gauge::default(),
            problems: Family::default(),
            repositories_with_problems: Gauge::default(),
        };
        for outcome in WEBHOOK_OUTCOMES {
            let _ = metrics.webhooks.get_or_create(&Outcome { outcome });
        }
        for outcome in RUN_OUTCOMES {
            let _ = metrics.runs.get_or_create(&Outcome { outcome });
        }
        for outcome in CALL_OUTCOMES {
            let _ = metrics.github_calls.get_or_create(&Outcome { outcome });
        }
        for outcome in SCAN_OUTCOMES {
            let _ = metrics.scans.get_or_create(&Outcome { outcome });
            let _ = metrics.heartbeats.get_or_create(&Outcome { outcome });
        }
        for outcome in QUEUE_STATES {
            let _ = metrics.queue_keys.get_or_create(&Outcome { outcome });
        }
        metrics.register(registry);
        metrics
    }

    fn register(&self, to: &mut Registry) {
        let m = self.clone();
        to.register("cuelight_webhooks", "Webhooks answered, by outcome", m.webhooks);
        to.register("cuelight_runs", "Keys settled by workers, by outcome", m.runs);
        to.register("cuelight_github_calls", "Calls to GitHub, by outcome", m.github_calls);
        to.register("cuelight_github_points", "GraphQL points spent", m.github_points);
        to.register(
            "cuelight_github_points_remaining",
            "GraphQL points left of an account's hourly ones",
            m.github_points_remaining,
        );
        to.register("cuelight_scans", "Scans ended, by outcome", m.scans);
        to.register("cuelight_heartbeats", "Heartbeats that asked, by outcome", m.heartbeats);
        to.register("cuelight_scan_seconds", "What scans took", m.scan_time);
        to.register(
            "cuelight_removals_held",
            "Repositories whose removal waits for approval",
            m.removals_held,
        );
        to.register(
            "cuelight_reconciled_lag_seconds",
            "From a webhook's receipt to its record written",
            m.reconciled_lag,
        );
        to.register(
            "cuelight_visible_lag_seconds",
            "From a webhook's receipt to its change visible in the API",
            m.visible_lag,
        );
        to.register("cuelight_queue_keys", "Keys in the queue, by state", m.queue_keys);
        to.register(
            "cuelight_oldest_event_seconds",
            "Age of the oldest waiting event",
            m.oldest_event_seconds,
        );
        to.register("cuelight_entities", "Entities in the catalog", m.entities);
        to.register("cuelight_problems", "Problems owners have to mend, by code", m.problems);
        to.register(
            "cuelight_repositories_with_problems",
            "Repositories that have problems",
            m.repositories_with_problems,
        );
    }

    /// Adds one to a family.
    pub fn count(family: &Family<Outcome, Counter>, outcome: &'static str) {
        family.get_or_create(&Outcome { outcome }).inc();
    }

    /// Sets an account's value.
    pub fn set(family: &Family<AccountLabel, Gauge>, account: AccountLabel, value: u64) {
        family.get_or_create(&account).set(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// Observes a span of time.
    pub fn observe(histogram: &Histogram, span: Duration) {
        histogram.observe(span.as_secs_f64());
    }
}
