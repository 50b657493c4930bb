//! `cuelight explain OWNER/REPO`: why a repository is in the catalog, or why it is not.

use std::time::Duration;

use clap::ValueEnum;
use hyper::StatusCode;
use serde_json::Value;

use super::reach::Cuelight;
use super::table::printable;
use super::{DONE, Streams, USAGE, block_on, gaps};
use crate::app::alone::Absent;
use crate::config::Config;
use crate::ids::FullName;

/// How long the answer may take: the server may have to ask GitHub, three calls at most.
const ASK_TIME: Duration = Duration::from_secs(120);

/// Width of the names before the values.
const NAME_WIDTH: usize = 14;

/// How an explanation is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people.
    Text,
    /// The API's answer, for programs.
    Json,
}

/// Asks why, tells it, and returns the exit code.
pub fn run(
    config: &Config,
    repository: &FullName,
    format: Format,
    streams: &mut Streams<'_>,
) -> anyhow::Result<u8> {
    let path = format!("/api/cuelight/v1/explain?repository={repository}");
    let told = block_on(async {
        let cuelight = Cuelight::reach(config, ASK_TIME, Absent::Pretend).await?;
        let told = ask(&cuelight, &path, config, streams).await;
        cuelight.close().await;
        told
    })?;
    let Some((told, is_alone)) = told else { return Ok(USAGE) };
    if format == Format::Json {
        writeln!(streams.out, "{told:#}")?;
        return Ok(DONE);
    }
    for (name, value) in lines(&told, is_alone) {
        writeln!(streams.out, "{name:NAME_WIDTH$} {}", printable(&value))?;
    }
    Ok(DONE)
}

/// The answer, and whether no server gave it; `None` when no provider is configured that it could
/// be about.
async fn ask(
    cuelight: &Cuelight,
    path: &str,
    config: &Config,
    streams: &mut Streams<'_>,
) -> anyhow::Result<Option<(Value, bool)>> {
    if let Some(alone) = cuelight.alone() {
        for gap in gaps(config) {
            writeln!(streams.err, "cuelight: {gap}")?;
        }
        if config.providers.is_empty() {
            return Ok(None);
        }
        alone.load().await?;
    }
    let answer = cuelight.get(path).await?;
    match answer.status {
        StatusCode::OK => Ok(Some((answer.body, cuelight.alone().is_some()))),
        _ => Err(cuelight.refused(&answer)),
    }
}

/// What is told, a name and a value each. What there is none of is said too: nobody has to guess
/// whether it was looked for.
fn lines(told: &Value, is_alone: bool) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("repository", text(told, "repository")),
        ("standing", standing(told)),
        ("why", text(told, "why")),
    ];
    let providers: Vec<&str> = list(told, "providers").filter_map(Value::as_str).collect();
    lines.push(("providers", or_none(&providers.join(", "))));
    lines.push(("filter", or_none(told["filter"].as_str().unwrap_or_default())));
    let troubles = list(told, "troubles").filter_map(Value::as_str);
    lines.extend(troubles.map(|trouble| ("trouble", trouble.to_owned())));
    let held = &told["held"];
    if held.is_object() {
        let approve = text(held, "approve");
        let value = format!("since {}; approve it with `{approve}`", text(held, "since"));
        lines.push(("removal held", value));
    }
    record(&told["record"], &mut lines);
    let problem = |one: &Value| {
        let place = format!("{}:{}:{}", text(one, "path"), one["line"], one["column"]);
        format!("{place}: {}: {}", text(one, "code"), text(one, "message"))
    };
    push_each("problem", list(told, "problems").map(problem), &mut lines);
    let event = &told["lastEvent"];
    let value = if event.is_object() {
        let action = event["action"].as_str().map(|a| format!(".{a}")).unwrap_or_default();
        let what = format!("{}{action}", text(event, "event"));
        format!("{what} at {}: {}", text(event, "receivedAt"), text(event, "outcome"))
    } else {
        "none known".to_owned()
    };
    lines.push(("last event", value));
    push_each("queue", list(told, "queue").map(key), &mut lines);
    let scan = &told["lastScan"];
    let value = if scan.is_object() {
        let error = scan["error"].as_str().map(|e| format!(", failed: {e}")).unwrap_or_default();
        format!("ended {}{error}", text(scan, "endedAt"))
    } else {
        "none known".to_owned()
    };
    lines.push(("last scan", value));
    lines.push(("next scan", next_scan(told, is_alone)));
    lines
}

fn standing(told: &Value) -> String {
    let is_kept = told["record"].is_object();
    match told["standing"].as_str() {
        Some("in") => "in the catalog",
        Some("no-catalog-file") => "not in the catalog: no catalog file",
        Some("not-seen-yet") => "not in the catalog yet",
        Some("filtered-out") if is_kept => {
            "no longer wanted: a filter leaves it out, and what the catalog has of it still stands"
        }
        Some("filtered-out") => "not wanted: a filter leaves it out",
        Some("stranger") if is_kept => {
            "no longer ours, and what the catalog has of it still stands"
        }
        Some("stranger") => "not ours",
        Some("not-shown") => "GitHub does not show it",
        Some("unknown") => "not known: there is no record of it, and GitHub does not say",
        other => other.unwrap_or("-"),
    }
    .to_owned()
}

fn record(record: &Value, lines: &mut Vec<(&'static str, String)>) {
    if !record.is_object() {
        for name in ["head", "file", "entity", "last reconcile"] {
            lines.push((name, "none: it was never read".to_owned()));
        }
        return;
    }
    let head = match record["head"].as_str() {
        Some(head) => format!("{head} on {}", text(record, "defaultBranch")),
        None => "none: it is empty".to_owned(),
    };
    lines.push(("head", head));
    let file = |file: &Value| {
        let branch = file["branch"].as_str().map(|b| format!(" on {b}")).unwrap_or_default();
        let (path, provider) = (text(file, "path"), text(file, "provider"));
        let elsewhere = file["elsewhere"].as_str().map(|at| format!(" of {at}"));
        let elsewhere = elsewhere.unwrap_or_default();
        format!("{path}{elsewhere}{branch}, for provider {provider}, blob {}", text(file, "oid"))
    };
    push_each("file", list(record, "files").map(file), lines);
    let entity = |entity: &Value| {
        let stale = entity["stale"].as_str().map(|why| format!(" (last good version: {why})"));
        format!("{}{}", text(entity, "entityRef"), stale.unwrap_or_default())
    };
    let entities = list(record, "files").flat_map(|file| list(file, "entities"));
    push_each("entity", entities.map(entity), lines);
    let value =
        format!("{} for {}", text(record, "reconciledAt"), reasons(&record["reconciledFor"]));
    lines.push(("last reconcile", value));
}

fn key(key: &Value) -> String {
    let (name, state) = (text(key, "key"), text(key, "state"));
    let error = key["error"].as_str().map(|e| format!(": {e}")).unwrap_or_default();
    let when = match state.as_str() {
        "waiting" => "waiting, due",
        "held" => "being worked on, until",
        _ => "given up",
    };
    let what = format!("{when} {} for {}{error}", text(key, "at"), reasons(&key["reasons"]));
    match state.as_str() {
        "dead" => format!("{what}; try it again with `cuelight queue retry {name}`"),
        _ => what,
    }
}

fn next_scan(told: &Value, is_alone: bool) -> String {
    match told["nextScan"].as_str() {
        _ if told["standing"] == "stranger" => "none: no provider scans it".to_owned(),
        _ if is_alone => {
            "when `cuelight serve` starts or `cuelight scan` is typed: no server runs".to_owned()
        }
        Some(at) => at.to_owned(),
        None => "not scheduled: after the one under way, or by `cuelight scan`".to_owned(),
    }
}

/// A line for each, or one that says that there is none.
fn push_each(
    name: &'static str,
    values: impl Iterator<Item = String>,
    lines: &mut Vec<(&'static str, String)>,
) {
    let before = lines.len();
    lines.extend(values.map(|value| (name, value)));
    if lines.len() == before {
        lines.push((name, "none".to_owned()));
    }
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none".to_owned() } else { text.to_owned() }
}

fn reasons(reasons: &Value) -> String {
    let names: Vec<&str> =
        reasons.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    names.join(", ")
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or("-").to_owned()
}
