//! `cuelight scan --dry-run`: what a scan would add, change and remove, and why, with the entities
//! and problems of each repository that it would read.

use std::collections::BTreeMap;
use std::io::Write;

use hyper::StatusCode;
use serde_json::Value;

use super::{body_of, text};
use crate::cli::reach::Cuelight;
use crate::cli::table::printable;
use crate::cli::{DONE, FAILED, Streams};

/// Asks for the plan and prints it; fails when a repository could not be read.
pub async fn preview(
    cuelight: &Cuelight,
    account: Option<&str>,
    streams: &mut Streams<'_>,
) -> anyhow::Result<u8> {
    let answer = cuelight.post("/api/cuelight/v1/scans/preview", &body_of(account)).await?;
    let mut code = DONE;
    for plan in cuelight.items(&answer, StatusCode::OK)? {
        print(plan, streams.out)?;
        let planned = ["added", "changed"].into_iter().flat_map(|name| list(plan, name));
        let unread = planned.filter(|one| one["error"].is_string()).count();
        if unread > 0 {
            let account = text(plan, "account");
            writeln!(streams.err, "cuelight: {unread} repositories of {account} were not read")?;
            code = FAILED;
        }
    }
    if cuelight.alone().is_some_and(|alone| alone.storage.is_none()) {
        let serve = "`cuelight serve` with the same settings keeps this catalog true";
        writeln!(streams.err, "cuelight: nothing was written; {serve}")?;
    }
    Ok(code)
}

fn print(plan: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let count = |name: &str| list(plan, name).count();
    let counts = ["added", "changed", "removed"].map(|name| format!("{} {name}", count(name)));
    let account = text(plan, "account");
    writeln!(out, "{account}: {} listed, {}", plan["listed"], counts.join(", "))?;
    for (name, sign) in [("added", '+'), ("changed", '~'), ("removed", '-')] {
        for one in list(plan, name) {
            writeln!(out, "  {sign} {}: {}", text(one, "repository"), text(one, "why"))?;
            print_found(one, out)?;
        }
    }
    if count("added") + count("changed") > 0 {
        writeln!(out, "  these have {}", in_all(plan))?;
    }
    if count("held") > 0 {
        writeln!(
            out,
            "  the brake would hold every removal: {} repositories would lose all their entities",
            count("held")
        )?;
    }
    Ok(())
}

/// What reading the repository brought.
fn print_found(one: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    for entity in list(one, "entities").filter_map(Value::as_str) {
        writeln!(out, "      {}", printable(entity))?;
    }
    for problem in list(one, "problems") {
        let place = format!("{}:{}:{}", text(problem, "path"), problem["line"], problem["column"]);
        let (code, message) = (text(problem, "code"), text(problem, "message"));
        writeln!(out, "    ! {place}: {code}: {message}")?;
    }
    if let Some(error) = one["error"].as_str() {
        writeln!(out, "    ! not read: {}", printable(error))?;
    }
    Ok(())
}

/// How many entities of each kind, and how many problems.
fn in_all(plan: &Value) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut problems = 0;
    for one in ["added", "changed"].into_iter().flat_map(|name| list(plan, name)) {
        problems += list(one, "problems").count();
        for entity in list(one, "entities").filter_map(Value::as_str) {
            *kinds.entry(entity.split(':').next().unwrap_or_default()).or_default() += 1;
        }
    }
    let total: usize = kinds.values().sum();
    let kinds: Vec<String> =
        kinds.into_iter().map(|(kind, count)| format!("{} {count}", printable(kind))).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    format!("{total} entities{kinds} and {problems} problems")
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}
