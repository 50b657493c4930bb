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
const NAME_WIDTH: usize = 12;

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
    let Some(told) = told else { return Ok(USAGE) };
    if format == Format::Json {
        writeln!(streams.out, "{told:#}")?;
        return Ok(DONE);
    }
    for (name, value) in lines(&told) {
        writeln!(streams.out, "{name:NAME_WIDTH$} {}", printable(&value))?;
    }
    Ok(DONE)
}

/// The answer; `None` when no provider is configured that it could be about.
async fn ask(
    cuelight: &Cuelight,
    path: &str,
    config: &Config,
    streams: &mut Streams<'_>,
) -> anyhow::Result<Option<Value>> {
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
        StatusCode::OK => Ok(Some(answer.body)),
        _ => Err(cuelight.refused(&answer)),
    }
}

/// What is told, a name and a value each.
fn lines(told: &Value) -> Vec<(&'static str, String)> {
    let standing = match text(told, "standing").as_str() {
        "in" => "in the catalog".to_owned(),
        "no-catalog-file" => "not in the catalog: no catalog file".to_owned(),
        "not-seen-yet" => "not in the catalog yet".to_owned(),
        "filtered-out" => "not wanted: a filter leaves it out".to_owned(),
        "stranger" => "not ours".to_owned(),
        "not-shown" => "GitHub does not show it".to_owned(),
        other => other.to_owned(),
    };
    let mut lines = vec![
        ("repository", text(told, "repository")),
        ("standing", standing),
        ("why", text(told, "why")),
    ];
    let providers: Vec<&str> = list(told, "providers").filter_map(Value::as_str).collect();
    if !providers.is_empty() {
        lines.push(("providers", providers.join(", ")));
    }
    if told["record"].is_object() {
        record(&told["record"], &mut lines);
    }
    for one in list(told, "problems") {
        let place = format!("{}:{}:{}", text(one, "path"), one["line"], one["column"]);
        let problem = format!("{place}: {}: {}", text(one, "code"), text(one, "message"));
        lines.push(("problem", problem));
    }
    let event = &told["lastEvent"];
    if event.is_object() {
        let action = event["action"].as_str().map(|a| format!(".{a}")).unwrap_or_default();
        let what = format!("{}{action}", text(event, "event"));
        let outcome = text(event, "outcome");
        lines.push(("last event", format!("{what} at {}: {outcome}", text(event, "receivedAt"))));
    }
    for key in list(told, "queue") {
        let error = key["error"].as_str().map(|e| format!(": {e}")).unwrap_or_default();
        let state = format!("{} at {}", text(key, "state"), text(key, "at"));
        lines.push(("queue", format!("{state} for {}{error}", reasons(&key["reasons"]))));
    }
    if told["held"].is_object() {
        let held = &told["held"];
        let approve = text(held, "approve");
        let value = format!("since {}; approve it with `{approve}`", text(held, "since"));
        lines.push(("removal held", value));
    }
    let scan = &told["lastScan"];
    if scan.is_object() {
        let error = scan["error"].as_str().map(|e| format!(", failed: {e}")).unwrap_or_default();
        lines.push(("last scan", format!("ended {}{error}", text(scan, "endedAt"))));
    }
    if told["nextScan"].is_string() {
        lines.push(("next scan", text(told, "nextScan")));
    }
    lines
}

fn record(record: &Value, lines: &mut Vec<(&'static str, String)>) {
    let head = format!("{} on {}", text(record, "head"), text(record, "defaultBranch"));
    lines.push(("head", head));
    for file in list(record, "files") {
        let branch = file["branch"].as_str().map(|b| format!(" on {b}")).unwrap_or_default();
        let entity = |entity: &Value| {
            let stale = if entity["stale"].is_string() { " (last good version)" } else { "" };
            format!("{}{stale}", text(entity, "entityRef"))
        };
        let entities: Vec<String> = list(file, "entities").map(entity).collect();
        let entities = if entities.is_empty() { "no entity".into() } else { entities.join(", ") };
        lines.push(("file", format!("{}{branch}: {entities}", text(file, "path"))));
    }
    let value =
        format!("{} for {}", text(record, "reconciledAt"), reasons(&record["reconciledFor"]));
    lines.push(("reconciled", value));
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
