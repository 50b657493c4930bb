//! `cuelight scan`: asks the running server to scan, waits, and tells what came of it; shows what
//! a scan would do; approves the removals that the brake holds.
//!
//! Only the server scans: it alone writes the catalog and keeps to GitHub's limits. Without one
//! there is nothing to do here that `cuelight serve` does not do by itself at its start.

use std::io::{IsTerminal, Write, stdin};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use hyper::StatusCode;
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::table::{self, printable};
use super::{DONE, FAILED, USAGE, block_on};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;

/// How long a dry run may take: some thousand pages at GitHub's slowest.
const PREVIEW_TIME: Duration = Duration::from_secs(30 * 60);

/// How long a question that leads the server to GitHub may take: one call there.
const ASK_TIME: Duration = Duration::from_secs(60);

/// How often the result is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a scan is waited for: longer than any account takes without limits.
const WAIT_MAX: Duration = Duration::from_secs(60 * 60);

/// What to do.
#[derive(Debug, Clone, Args)]
pub struct What {
    /// Only this account, as `github.com/acme` or `acme`; all accounts without it.
    #[arg(value_name = "ACCOUNT")]
    account: Option<String>,
    /// Tell what would be added, changed and removed, and why; do nothing.
    #[arg(long, conflicts_with = "approve_removals")]
    dry_run: bool,
    /// Approve the removals that are held for this account, after they were listed.
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "account")]
    approve_removals: Option<String>,
    /// Approve without asking.
    #[arg(long, requires = "approve_removals")]
    yes: bool,
}

/// Runs the command and returns the exit code.
pub fn run(
    config: &Config,
    what: &What,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let client = Client::new(&config.server)?.patient(ASK_TIME);
    block_on(async {
        match &what.approve_removals {
            Some(account) => approve(&client, account, what.yes, out, err).await,
            None if what.dry_run => {
                preview(&client.patient(PREVIEW_TIME), what.account.as_deref(), out).await
            }
            None => scan(&client, what.account.as_deref(), out, err).await,
        }
    })
}

async fn scan(
    client: &Client,
    account: Option<&str>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let answer = client.post("/api/cuelight/v1/scans", &body_of(account)).await?;
    let asked = items(client, &answer, StatusCode::ACCEPTED)?;
    if asked.is_empty() {
        bail!("the server at {} has no provider to scan", client.address());
    }
    for one in asked {
        writeln!(err, "cuelight: scanning {}", text(one, "account"))?;
    }
    let results = ended(client, asked).await?;
    let row = |scan: &Value| {
        let started = scan["startedAt"].as_str().and_then(parse);
        let spent = scan["endedAt"].as_str().and_then(parse).zip(started);
        let seconds = spent.map_or(0.0, |(end, start)| end.since(start).as_secs_f64());
        [
            text(scan, "account"),
            scan["listed"].to_string(),
            scan["pushed"].to_string(),
            scan["held"].as_array().map_or(0, Vec::len).to_string(),
            format!("{seconds:.1}"),
            scan["next"].as_str().unwrap_or("-").to_owned(),
        ]
    };
    let head = ["ACCOUNT", "LISTED", "TO RECONCILE", "HELD", "SECONDS", "NEXT"];
    table::write(&head, results.iter().map(row), out)?;
    let mut code = DONE;
    for scan in &results {
        let account = text(scan, "account");
        if let Some(error) = scan["error"].as_str() {
            writeln!(err, "cuelight: the scan of {account} failed: {}", printable(error))?;
            code = FAILED;
        } else if scan["held"].as_array().is_some_and(|held| !held.is_empty()) {
            let command = format!("cuelight scan --approve-removals {account}");
            writeln!(err, "cuelight: removals of {account} are held; see them with `{command}`")?;
        }
    }
    Ok(code)
}

/// Waits until each of the scans asked for has a result that began no earlier.
async fn ended(client: &Client, asked: &[Value]) -> anyhow::Result<Vec<Value>> {
    let deadline = SystemClock.now() + WAIT_MAX;
    loop {
        let answer = client.get("/api/cuelight/v1/scans").await?;
        let known = items(client, &answer, StatusCode::OK)?;
        let of = |one: &Value| {
            let since = one["requestedAt"].as_str().and_then(parse);
            let is_it = |scan: &&Value| {
                scan["id"] == one["id"] && scan["startedAt"].as_str().and_then(parse) >= since
            };
            known.iter().find(is_it).cloned()
        };
        if let Some(results) = asked.iter().map(of).collect::<Option<Vec<Value>>>() {
            return Ok(results);
        }
        if SystemClock.now() >= deadline {
            bail!("no scan has ended within {} s; see /health", WAIT_MAX.as_secs());
        }
        SystemClock.sleep(LOOK_EVERY).await;
    }
}

async fn preview(
    client: &Client,
    account: Option<&str>,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let answer = client.post("/api/cuelight/v1/scans/preview", &body_of(account)).await?;
    for plan in items(client, &answer, StatusCode::OK)? {
        let count = |name: &str| plan[name].as_array().map_or(0, Vec::len);
        let counts = ["added", "changed", "removed"].map(|name| format!("{} {name}", count(name)));
        let account = text(plan, "account");
        writeln!(out, "{account}: {} listed, {}", plan["listed"], counts.join(", "))?;
        for (name, sign) in [("added", '+'), ("changed", '~'), ("removed", '-')] {
            for one in plan[name].as_array().into_iter().flatten() {
                writeln!(out, "  {sign} {}: {}", text(one, "repository"), text(one, "why"))?;
            }
        }
        if count("held") > 0 {
            writeln!(
                out,
                "  the brake would hold every removal: {} repositories would lose all their \
                 entities",
                count("held")
            )?;
        }
    }
    Ok(DONE)
}

async fn approve(
    client: &Client,
    account: &str,
    is_agreed: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("account", account)
        .finish();
    let answer = client.get(&format!("/api/cuelight/v1/approvals?{query}")).await?;
    let held = items(client, &answer, StatusCode::OK)?;
    if held.is_empty() {
        writeln!(out, "no removal waits for approval")?;
        return Ok(DONE);
    }
    writeln!(out, "all entities of these repositories would go:")?;
    for one in held {
        writeln!(out, "  {} (since {})", text(one, "repository"), text(one, "since"))?;
    }
    if !is_agreed {
        if !stdin().is_terminal() {
            writeln!(err, "cuelight: nothing was approved; give --yes to approve this list")?;
            return Ok(USAGE);
        }
        write!(out, "approve the removal of these {}? [y/N] ", held.len())?;
        out.flush()?;
        let mut said = String::new();
        stdin().read_line(&mut said).context("cannot read the answer")?;
        if !matches!(said.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            writeln!(out, "nothing was approved")?;
            return Ok(FAILED);
        }
    }
    let names: Vec<&Value> = held.iter().map(|one| &one["repository"]).collect();
    let body = json!({ "account": account, "repositories": names });
    let answer = client.post("/api/cuelight/v1/approvals", &body).await?;
    if answer.status == StatusCode::CONFLICT {
        bail!("nothing was approved, what is held has changed meanwhile; run this again");
    }
    if answer.status != StatusCode::OK {
        bail!("the server at {} answered: {}", client.address(), answer.reason());
    }
    let until = text(&answer.body, "until");
    writeln!(
        out,
        "approved: each of these {} goes as soon as a read confirms it, until {until}",
        held.len()
    )?;
    Ok(DONE)
}

fn body_of(account: Option<&str>) -> Value {
    account.map_or_else(|| json!({}), |account| json!({ "account": account }))
}

/// The items of a list, or what the server said instead.
fn items<'a>(
    client: &Client,
    answer: &'a Answer,
    expected: StatusCode,
) -> anyhow::Result<&'a Vec<Value>> {
    match answer.body["items"].as_array() {
        Some(items) if answer.status == expected => Ok(items),
        _ => bail!("the server at {} answered: {}", client.address(), answer.reason()),
    }
}

fn text(value: &Value, name: &str) -> String {
    printable(value[name].as_str().unwrap_or("-"))
}

fn parse(text: &str) -> Option<crate::clock::Timestamp> {
    crate::clock::Timestamp::parse_rfc3339(text)
}
