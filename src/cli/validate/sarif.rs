//! Problems as SARIF 2.1.0 (an OASIS standard), which code scanning and editors read.
//!
//! One run, all codes as its rules, columns in characters. A result is known again, when other
//! lines moved it, by a fingerprint that does not hold its line.

use std::collections::HashMap;
use std::io::{self, Write};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Finding, Report, Root, help_url};
use crate::catalog::Code;
use crate::catalog::annotations::encode_path;

/// Where the schema of the format lies.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// What a repository's root is called in SARIF, by agreement.
const ROOT: &str = "%SRCROOT%";

/// The name of our fingerprint; its number is raised when it is made in another way.
const FINGERPRINT: &str = "cuelightProblem/v1";

/// Writes the log.
pub(super) fn write(report: &Report, root: &Root, out: &mut dyn Write) -> io::Result<()> {
    let mut seen = HashMap::new();
    let results: Vec<Value> =
        report.findings.iter().map(|finding| result(finding, root, &mut seen)).collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "cuelight",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": Code::ALL.map(rule),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    serde_json::to_writer_pretty(&mut *out, &log)?;
    writeln!(out)
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.as_str(),
        "shortDescription": {"text": code.summary()},
        "helpUri": help_url(code),
        "defaultConfiguration": {"level": "error"},
    })
}

/// `seen` counts how often each fingerprint was given.
fn result(finding: &Finding, root: &Root, seen: &mut HashMap<String, u32>) -> Value {
    let problem = &finding.problem;
    let path = root.relative(&problem.path);
    let mut digest = Sha256::new();
    let entity = problem.entity_ref.as_deref().unwrap_or_default();
    for part in [problem.code.as_str(), &path, entity, &problem.message] {
        // The length keeps parts apart.
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let digest: String = digest.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect();
    let count = seen.entry(digest.clone()).or_default();
    *count += 1;
    let mut place = Map::new();
    place.insert("artifactLocation".to_owned(), artifact(&path));
    if finding.text.is_some() {
        let region = json!({"startLine": problem.line, "startColumn": problem.column});
        place.insert("region".to_owned(), region);
    }
    json!({
        "ruleId": problem.code.as_str(),
        "ruleIndex": problem.code as usize,
        "level": "error",
        "message": {"text": problem.message},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {FINGERPRINT: format!("{digest}:{count}")},
    })
}

fn artifact(path: &str) -> Value {
    // Nothing before a colon is to be taken for a scheme.
    let uri = encode_path(path).replace(':', "%3A");
    match path.starts_with('/') {
        true => json!({"uri": format!("file://{uri}")}),
        false => json!({"uri": uri, "uriBaseId": ROOT}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Problem;

    fn finding(path: &str, line: u32, text: Option<&str>) -> Finding {
        let problem = Problem {
            code: Code::Envelope,
            path: path.to_owned(),
            line,
            column: 3,
            document: 1,
            entity_ref: None,
            message: "it is \"wrong\"".to_owned(),
        };
        Finding { problem, text: text.map(Into::into) }
    }

    fn log(findings: Vec<Finding>) -> Value {
        let report = Report { files: 1, findings };
        let mut out = Vec::new();
        write(&report, &Root::new("/r".into(), None), &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_log_has_the_tool_its_rules_and_the_results() {
        let log = log(vec![finding("./a b/ü:c.yaml", 7, Some(""))]);
        assert_eq!((&log["version"], &log["$schema"]), (&json!("2.1.0"), &json!(SCHEMA)));
        let run = &log["runs"][0];
        let driver = &run["tool"]["driver"];
        assert_eq!(
            (&driver["name"], &run["columnKind"]),
            (&json!("cuelight"), &json!("unicodeCodePoints"))
        );
        let rules = driver["rules"].as_array().unwrap();
        assert_eq!(rules.len(), Code::ALL.len());
        for rule in rules {
            let id = rule["id"].as_str().unwrap();
            let help = rule["helpUri"].as_str().unwrap();
            assert!(help.ends_with(&format!("/docs/problems.md#{id}")), "{help}");
            assert!(rule["shortDescription"]["text"].as_str().unwrap().ends_with('.'), "{rule}");
        }
        let mut result = run["results"][0].clone();
        assert_eq!(rules[result["ruleIndex"].as_u64().unwrap() as usize]["id"], result["ruleId"]);
        result.as_object_mut().unwrap().remove("partialFingerprints");
        let location = json!({
            "artifactLocation": {"uri": "a%20b/%C3%BC%3Ac.yaml", "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": 7, "startColumn": 3},
        });
        assert_eq!(
            result,
            json!({
                "ruleId": "envelope", "ruleIndex": 2, "level": "error",
                "message": {"text": "it is \"wrong\""},
                "locations": [{"physicalLocation": location}],
            })
        );
    }

    #[test]
    fn what_was_not_read_has_no_region_and_what_lies_elsewhere_no_base() {
        let log = log(vec![finding("/else where/a.yaml", 1, None)]);
        let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
        let uri = "file:///else%20where/a.yaml";
        assert_eq!(*place, json!({"artifactLocation": {"uri": uri}}));
    }

    #[test]
    fn a_fingerprint_outlives_a_move_and_is_given_once() {
        let of = |findings| {
            let results = log(findings)["runs"][0]["results"].clone();
            let print = |result: &Value| result["partialFingerprints"][FINGERPRINT].clone();
            results.as_array().unwrap().iter().map(print).collect::<Vec<_>>()
        };
        let first = of(vec![finding("a.yaml", 7, Some(""))]);
        assert_eq!(first, of(vec![finding("./a.yaml", 9, Some(""))]));
        assert_ne!(first, of(vec![finding("b.yaml", 7, Some(""))]));
        let twice = of(vec![finding("a.yaml", 7, Some("")), finding("a.yaml", 9, Some(""))]);
        assert_eq!(twice[0], first[0]);
        assert_ne!(twice[0], twice[1]);
    }
}
