//! `cuelight scan`: scans and tells what came of it; shows what a scan would do; approves the
//! removals that the brake holds.
//!
//! The running server does the work, or this process when there is none: then it holds the
//! storage, works the queue off, and ends when nothing more can be done now.

mod approve;
mod preview;
mod progress;
mod watch;

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use hyper::StatusCode;
use serde_json::{Value, json};

use super::reach::Cuelight;
use super::table::{self, printable};
use super::{DONE, FAILED, Streams, USAGE, block_on, gaps};
use crate::app::alone::{Absent, Alone};
use crate::config::Config;
use progress::Progress;
use watch::{Look, Watch, time};

/// How long a dry run may take: some thousand pages at GitHub's slowest.
const PREVIEW_TIME: Duration = Duration::from_secs(30 * 60);

/// How long a question that leads the server to GitHub may take: one call there.
const ASK_TIME: Duration = Duration::from_secs(60);

/// How often it is looked how far the work is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a scan is waited for: longer than any account takes without limits.
const WAIT_MAX: Duration = Duration::from_secs(60 * 60);

/// What to do.
#[derive(Debug, Clone, Args)]
pub struct What {
    /// Only this account, as `github.com/acme` or `acme`; all accounts without it.
    #[arg(value_name = "ACCOUNT")]
    account: Option<String>,
    /// Tell what would be added, changed and removed, and why; write nothing.
    #[arg(long, conflicts_with = "approve_removals")]
    dry_run: bool,
    /// Approve the removals that are held for this account, after they were listed.
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "account")]
    approve_removals: Option<String>,
    /// Approve without asking.
    #[arg(long, requires = "approve_removals")]
    yes: bool,
}

/// Runs the command and returns the exit code. `org` is the one of `--org`: a server has its own
/// configuration, so there it names the account that is meant.
pub fn run(
    config: &Config,
    org: Option<&str>,
    what: &What,
    streams: &mut Streams<'_>,
) -> anyhow::Result<u8> {
    let (absent, answer_time) = match what {
        What { approve_removals: Some(_), .. } => (Absent::Refuse, ASK_TIME),
        What { dry_run: true, .. } => (Absent::Pretend, PREVIEW_TIME),
        // There is nothing to fill it with.
        What { .. } if config.providers.is_empty() => (Absent::Pretend, ASK_TIME),
        What { .. } => (Absent::Create, ASK_TIME),
    };
    block_on(async {
        let cuelight = Cuelight::reach(config, answer_time, absent).await?;
        let done = act(&cuelight, config, org, what, streams).await;
        cuelight.close().await;
        done
    })
}

async fn act(
    cuelight: &Cuelight,
    config: &Config,
    org: Option<&str>,
    what: &What,
    streams: &mut Streams<'_>,
) -> anyhow::Result<u8> {
    let mut account = what.account.as_deref();
    match cuelight.alone() {
        Some(alone) => {
            introduce(alone, config, streams)?;
            if config.providers.is_empty() {
                return Ok(USAGE);
            }
        }
        None => account = account.or(org),
    }
    match &what.approve_removals {
        Some(held_of) => approve::approve(cuelight, held_of, what.yes, streams).await,
        None if what.dry_run => preview::preview(cuelight, account, streams).await,
        None => scan(cuelight, account, streams).await,
    }
}

/// Says that no server does the work, and what is missing for it.
fn introduce(alone: &Alone, config: &Config, streams: &mut Streams<'_>) -> std::io::Result<()> {
    let at = config.server.internal_listen;
    match &alone.storage {
        Some(url) => writeln!(streams.err, "cuelight: no server at {at}, working on {url} alone")?,
        None => writeln!(
            streams.err,
            "cuelight: no server at {at} and no storage yet, comparing with an empty catalog"
        )?,
    }
    for gap in gaps(config) {
        writeln!(streams.err, "cuelight: {gap}")?;
    }
    Ok(())
}

async fn scan(
    cuelight: &Cuelight,
    account: Option<&str>,
    streams: &mut Streams<'_>,
) -> anyhow::Result<u8> {
    if let Some(alone) = cuelight.alone() {
        alone.push_due().await?;
        let status = cuelight.get("/api/cuelight/v1/status").await?.body;
        let events = status["queue"]["waitingEvent"].as_u64().unwrap_or(0);
        if events > 0 {
            let what = "repositories that webhooks named wait in the queue and are read too";
            writeln!(streams.err, "cuelight: {events} {what}")?;
        }
    }
    let answer = cuelight.post("/api/cuelight/v1/scans", &body_of(account)).await?;
    let asked = cuelight.items(&answer, StatusCode::ACCEPTED)?;
    if asked.is_empty() {
        bail!("the server has no provider to scan; see catalog.providers.github");
    }
    for one in asked {
        writeln!(streams.err, "cuelight: scanning {}", text(one, "account"))?;
    }
    let watch = Watch::new(cuelight, asked, account.is_some());
    let mut progress = Progress::new(streams.is_drawn);
    let look = match cuelight.alone() {
        Some(alone) => work(alone, &watch, &mut progress, streams).await,
        None => watch.until_done(&mut progress, streams).await,
    };
    progress.end();
    tell(cuelight, &look?, streams).await
}

/// Works everything off here, and shows how far it is.
async fn work(
    alone: &Alone,
    watch: &Watch<'_>,
    progress: &mut Progress,
    streams: &mut Streams<'_>,
) -> anyhow::Result<Look> {
    tokio::select! {
        worked = alone.work() => worked?,
        shown = watch.show(progress, streams) => shown?,
    }
    alone.load().await?;
    watch.look().await
}

async fn tell(cuelight: &Cuelight, look: &Look, streams: &mut Streams<'_>) -> anyhow::Result<u8> {
    let is_alone = cuelight.alone().is_some();
    // Not only what these scans left alone: the brake counts over an hour.
    let waiting = cuelight.get("/api/cuelight/v1/approvals").await?.body;
    let held = |scan: &Value| {
        let items = waiting["items"].as_array().into_iter().flatten();
        items.filter(|one| one["account"] == scan["account"]).count()
    };
    let row = |scan: &Value| {
        let spent = time(scan, "endedAt").zip(time(scan, "startedAt"));
        let seconds = spent.map_or(0.0, |(end, start)| end.since(start).as_secs_f64());
        let number = scan["id"].as_str().and_then(|id| id.strip_prefix("scan:"));
        let failed = look.failed.iter().filter(|key| key["account"].as_str() == number).count();
        // Without a server nothing comes by itself.
        let next = scan["next"].as_str().filter(|_| !is_alone);
        [
            text(scan, "account"),
            scan["listed"].to_string(),
            scan["pushed"].to_string(),
            held(scan).to_string(),
            failed.to_string(),
            format!("{seconds:.1}"),
            next.unwrap_or("-").to_owned(),
        ]
    };
    let head = ["ACCOUNT", "LISTED", "TO RECONCILE", "HELD", "FAILED", "SECONDS", "NEXT"];
    table::write(&head, look.ended.iter().map(row), streams.out)?;
    tell_catalog(cuelight, streams).await?;
    let mut code = DONE;
    for scan in &look.ended {
        let account = text(scan, "account");
        if let Some(error) = scan["error"].as_str() {
            let error = printable(error);
            writeln!(streams.err, "cuelight: the scan of {account} failed: {error}")?;
            code = FAILED;
        } else if held(scan) > 0 {
            let command = format!("cuelight scan --approve-removals {account}");
            let what = format!("removals of {account} are held; see them with `{command}`");
            writeln!(streams.err, "cuelight: {what}")?;
        }
    }
    code = code.max(tell_installations(cuelight, look, streams).await?);
    for one in &look.missing {
        let account = text(one, "account");
        writeln!(streams.err, "cuelight: the scan of {account} could not run yet")?;
        code = FAILED;
    }
    Ok(code.max(look.tell_left(streams)?))
}

/// Tells which accounts an App could not lead to, and why.
async fn tell_installations(
    cuelight: &Cuelight,
    look: &Look,
    streams: &mut Streams<'_>,
) -> anyhow::Result<u8> {
    let mut code = DONE;
    if look.ended.iter().all(|scan| !text(scan, "account").contains("/app ")) {
        return Ok(code);
    }
    let health = cuelight.get("/health").await?.body;
    for (name, check) in health["checks"].as_object().into_iter().flatten() {
        if name.starts_with("installation:") && check["state"] == "degraded" {
            writeln!(streams.err, "cuelight: {}", text(check, "detail"))?;
            code = FAILED;
        }
    }
    Ok(code)
}

async fn tell_catalog(cuelight: &Cuelight, streams: &mut Streams<'_>) -> anyhow::Result<()> {
    let status = cuelight.get("/api/cuelight/v1/status").await?.body;
    let count = |name: &str| status["view"][name].as_u64().unwrap_or(0);
    writeln!(
        streams.out,
        "the catalog holds {} repositories with {} entities and {} problems",
        count("repositories"),
        count("entities"),
        count("problems")
    )?;
    Ok(())
}

fn body_of(account: Option<&str>) -> Value {
    account.map_or_else(|| json!({}), |account| json!({ "account": account }))
}

fn text(value: &Value, name: &str) -> String {
    printable(value[name].as_str().unwrap_or("-"))
}
