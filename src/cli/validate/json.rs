//! Problems for programs: one JSON document whose shape only grows.
//!
//! ```json
//! {"version": 1, "files": 2, "problems": [{"code": "schema", "path": "catalog-info.yaml",
//!  "line": 6, "column": 10, "document": 1, "entityRef": "system:default/shop",
//!  "message": "…", "help": "https://…"}]}
//! ```
//!
//! A problem has the members that the API gives it, without those that need GitHub.

use std::io::{self, Write};

use serde::Serialize;

use super::{Finding, Report, help_url};

/// Raised when a member changes its meaning or goes; new ones may come without.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct ReportBody<'a> {
    version: u32,
    files: usize,
    problems: Vec<ProblemBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProblemBody<'a> {
    code: &'static str,
    path: &'a str,
    line: u32,
    column: u32,
    document: u32,
    entity_ref: Option<&'a str>,
    message: &'a str,
    help: String,
}

/// Writes the report as JSON. Paths are as they were given.
pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let problems = report.findings.iter().map(ProblemBody::from).collect();
    let body = ReportBody { version: VERSION, files: report.files, problems };
    serde_json::to_writer_pretty(&mut *out, &body)?;
    writeln!(out)
}

impl<'a> From<&'a Finding> for ProblemBody<'a> {
    fn from(finding: &'a Finding) -> Self {
        let problem = &finding.problem;
        Self {
            code: problem.code.as_str(),
            path: &problem.path,
            line: problem.line,
            column: problem.column,
            document: problem.document,
            entity_ref: problem.entity_ref.as_deref(),
            message: &problem.message,
            help: help_url(problem.code),
        }
    }
}
