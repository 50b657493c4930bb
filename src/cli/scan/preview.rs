//! `cuelight scan --dry-run`: what a scan would add, change and remove, and why.

use std::io::Write;

use hyper::StatusCode;
use serde_json::Value;

use super::{body_of, text};
use crate::cli::DONE;
use crate::cli::reach::Cuelight;

/// Asks for the plan and prints it.
pub async fn preview(
    cuelight: &Cuelight,
    account: Option<&str>,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let answer = cuelight.post("/api/cuelight/v1/scans/preview", &body_of(account)).await?;
    for plan in cuelight.items(&answer, StatusCode::OK)? {
        print(plan, out)?;
    }
    Ok(DONE)
}

fn print(plan: &Value, out: &mut dyn Write) -> std::io::Result<()> {
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
            "  the brake would hold every removal: {} repositories would lose all their entities",
            count("held")
        )?;
    }
    Ok(())
}
