//! The rules every source file keeps, as a test: who may import whom, heads, sizes, and what must
//! not be called where.
//!
//! To let a part import another, change [`MAY_IMPORT`] in a commit of its own that says why.
//! Lints that clippy has (function length, unwrap, sleeping) are clippy's; what is repeated here
//! cannot be switched off by an attribute.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use source::Source;

/// Root modules, lowest first, and the root modules each may import. A module may import only
/// modules above its line, so that no cycle can be written down.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("catalog", &[]),
    ("repository", &[]),
    ("clock", &[]),
    ("ids", &[]),
    ("work", &["clock", "ids"]),
    // Pushes are routed by it, and the feed of the view keeps it.
    ("dependents", &["ids", "work"]),
    ("health", &["clock", "ids"]),
    // One YAML reader for the whole program.
    ("config", &["catalog"]),
    ("telemetry", &["config"]),
    // A delivery and its pushes carry times, as values.
    ("webhook", &["clock", "dependents", "ids", "work"]),
    ("engine", &["ids", "work", "catalog", "clock", "config", "repository"]),
    // Only whoever makes a call to GitHub can count it.
    ("github", &["clock", "config", "ids", "repository", "telemetry", "work"]),
    ("membership", &["config", "ids", "repository"]),
    // Who a login is, is asked of GitHub and remembered.
    ("accounts", &["config", "engine", "github", "ids", "membership"]),
    ("freshness", &["clock", "engine", "github", "ids", "work"]),
    ("reconcile", LOOPS),
    ("scan", LOOPS),
    // Whoever discovers accounts tells the scans' board.
    (
        "installations",
        &["accounts", "engine", "github", "health", "ids", "scan", "telemetry", "work"],
    ),
    ("worker", &with_steps()),
    // GitHub's limits hold for the question who the account is, too.
    ("schedule", SCHEDULE),
    // Compares as a scan does, tells what a scan tells, and keys who depends on what was pushed.
    ("heartbeat", HEARTBEAT),
    // What people ask of the running server: scans, approvals, why something is in or out.
    ("operate", &with_schedule()),
    // What records depend on goes to routing as they go to the view.
    ("view_feed", FEED),
    ("sinks", &["catalog", "clock", "config", "engine"]),
    ("http", HTTP),
    ("app", APP),
    // The rest is what `queue` needs to open the SQLite file itself when no server runs.
    (
        "cli",
        &["app", "catalog", "clock", "config", "engine", "ids", "repository", "telemetry", "work"],
    ),
    ("main", &["cli"]),
];

/// What a reconcile or a scan is made of.
const LOOPS: &[&str] = &[
    "accounts",
    "catalog",
    "clock",
    "config",
    "engine",
    "freshness",
    "github",
    "health",
    "ids",
    "membership",
    "repository",
    "telemetry",
    "webhook",
    "work",
];

/// Operators start scans and read their results, and a dry run reads as a reconcile would.
const fn with_schedule() -> [&'static str; LOOPS.len() + 4] {
    let steps = with_steps();
    let mut all = ["schedule"; LOOPS.len() + 4];
    let mut at = 0;
    while at < steps.len() {
        all[at + 1] = steps[at];
        at += 1;
    }
    all
}

/// The worker calls reconcile, scan and discovery.
const fn with_steps() -> [&'static str; LOOPS.len() + 3] {
    let mut all = ["reconcile"; LOOPS.len() + 3];
    all[1] = "scan";
    all[2] = "installations";
    let mut at = 0;
    while at < LOOPS.len() {
        all[at + 3] = LOOPS[at];
        at += 1;
    }
    all
}

const FEED: &[&str] =
    &["catalog", "clock", "dependents", "engine", "health", "ids", "telemetry", "webhook", "work"];

const SCHEDULE: &[&str] =
    &["accounts", "clock", "config", "engine", "github", "health", "ids", "scan", "work"];

const HEARTBEAT: &[&str] = &[
    "accounts",
    "clock",
    "config",
    "dependents",
    "engine",
    "github",
    "health",
    "ids",
    "membership",
    "repository",
    "scan",
    "telemetry",
    "webhook",
    "work",
];

const HTTP: &[&str] = &[
    "catalog",
    "clock",
    "config",
    "engine",
    "health",
    "ids",
    "operate",
    "repository",
    "telemetry",
    "view_feed",
    "webhook",
    "work",
];

/// Builds everything, so it may know everything below it.
const APP: &[&str] = &[
    "accounts",
    "catalog",
    "clock",
    "config",
    "engine",
    "github",
    "health",
    "heartbeat",
    "http",
    "ids",
    "membership",
    "operate",
    "reconcile",
    "repository",
    "scan",
    "schedule",
    "sinks",
    "telemetry",
    "view_feed",
    "webhook",
    "work",
    "worker",
];

const FILE_LINES_MAX: usize = 500;
const LINE_CHARS_MAX: usize = 100;

/// A file of the repository: its path from the root, with `/`, and its text.
type File = (String, String);

#[test]
fn every_source_file_keeps_the_rules() {
    let files = rust_files(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(files.iter().any(|(path, _)| path == "src/lib.rs"), "the sources were not found");
    let mut found: Vec<String> = files.iter().flat_map(check_file).collect();
    found.extend(cycles(&files));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_table_of_imports_has_no_cycle_and_no_stranger() {
    let mut above = BTreeSet::new();
    for (module, imports) in MAY_IMPORT {
        for import in *imports {
            assert!(
                above.contains(import),
                "`{module}` may not import `{import}`, it stands below"
            );
        }
        assert!(above.insert(module), "`{module}` stands twice");
    }
}

#[test]
fn the_fake_does_not_know_the_program() {
    let manifest = include_str!("../fake-github/Cargo.toml");
    assert!(!manifest.lines().any(|line| line.trim_start().starts_with("cuelight")), "{manifest}");
}

/// All `.rs` files that are ours, sorted by path.
fn rust_files(root: &Path) -> Vec<File> {
    let mut files = Vec::new();
    for top in ["src", "tests", "examples", "benches", "fuzz/src", "fuzz/fuzz_targets"] {
        let mut open = vec![root.join(top)];
        while let Some(folder) = open.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry.expect("a readable folder").path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).expect("a readable file");
                    let path = path.strip_prefix(root).expect("a path below the root");
                    files.push((path.to_string_lossy().replace('\\', "/"), text));
                }
            }
        }
    }
    files.sort();
    files
}

/// What is wrong with one file, a line each.
fn check_file((path, text): &File) -> Vec<String> {
    let source = Source::read(text);
    let mut found = check_form(path, text, &source);
    let is_test_code = path.ends_with("/tests.rs") || path.contains("/tests/");
    if path.starts_with("tests/fake-github/") {
        found.extend(lines_with(&source.code, "cuelight::", path, "the fake imports cuelight"));
    }
    if let Some(inside) = path.strip_prefix("src/")
        && !is_test_code
    {
        let shipped = source.shipped();
        found.extend(check_calls(path, &shipped));
        let module = inside.split(['/', '.']).next().unwrap_or_default();
        found.extend(check_imports(path, module, &shipped));
    }
    found
}

/// Head, size and unfinished business.
fn check_form(path: &str, text: &str, source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//! ") {
        found.push(format!("{path}:1: does not open with `//!` and what it is"));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        found.push(format!("{path}: {lines} lines, more than {FILE_LINES_MAX}"));
    }
    for (at, line) in text.lines().enumerate() {
        // rustfmt leaves long literals alone.
        if line.chars().count() > LINE_CHARS_MAX && !source.string_lines.contains(&at) {
            found.push(format!("{path}:{}: longer than {LINE_CHARS_MAX} characters", at + 1));
        }
    }
    for word in ["TODO", "FIXME", "XXX"] {
        found.extend(lines_with(&source.comments, word, path, "unfinished business in a comment"));
    }
    found
}

/// Calls that only some files may make.
fn check_calls(path: &str, shipped: &str) -> Vec<String> {
    let mut found = lines_with(shipped, ".unwrap()", path, "unwrap outside tests");
    if path != "src/clock.rs" {
        found.extend(lines_with(shipped, "SystemTime::now", path, "time comes from clock.rs"));
    }
    if path != "src/main.rs" && !path.starts_with("src/cli/") {
        for print in ["print!(", "println!(", "eprint!(", "eprintln!("] {
            let reason = "the library prints nothing";
            let hits = lines_with(shipped, print, path, reason);
            found.extend(hits);
        }
    }
    found
}

/// Imports of the root module `module` that the table does not allow.
fn check_imports(path: &str, module: &str, shipped: &str) -> Vec<String> {
    if module == "lib" {
        return Vec::new();
    }
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{path}: `{module}` has no line in MAY_IMPORT")];
    };
    let mut found = Vec::new();
    for (line, target) in paths(path, shipped) {
        let root = target.first().map_or("", String::as_str);
        let known = MAY_IMPORT.iter().any(|(name, _)| *name == root);
        if known && root != module && !allowed.contains(&root) {
            found.push(format!("{path}:{line}: `{module}` may not import `{root}`"));
        }
    }
    found
}

/// Every path into this crate that `shipped` names, as segments from the crate's root, with its
/// line from 1. `use` trees are flattened.
fn paths(path: &str, shipped: &str) -> Vec<(usize, Vec<String>)> {
    let here = module_of(path);
    let mut found = Vec::new();
    for start in ["crate::", "super::", "cuelight::"] {
        for (at, _) in shipped.match_indices(start) {
            let before = shipped[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let mut base = here.clone();
            let mut rest = &shipped[at..];
            while let Some(after) = rest.strip_prefix("super::") {
                base.pop();
                rest = after;
            }
            for root in ["crate::", "cuelight::"] {
                if let Some(after) = rest.strip_prefix(root) {
                    (base, rest) = (Vec::new(), after);
                }
            }
            let line = shipped[..at].matches('\n').count() + 1;
            let mut leaves = Vec::new();
            flatten(rest, &base, &mut leaves);
            found.extend(leaves.into_iter().map(|leaf| (line, leaf)));
        }
    }
    found
}

/// Reads a path or a `use` tree at the start of `text` and returns what is left after it.
fn flatten<'a>(text: &'a str, base: &[String], leaves: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = flatten(rest, base, leaves).trim_start();
            // ` as name` and the comma.
            let end = rest.find([',', '}']).unwrap_or(rest.len());
            let closes = rest[end..].starts_with('}') || end == rest.len();
            rest = rest.get(end + 1..).unwrap_or("");
            if closes || rest.is_empty() {
                return rest;
            }
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let mut full = base.to_vec();
    if end > 0 && &text[..end] != "self" {
        full.push(text[..end].to_owned());
    }
    match text[end..].strip_prefix("::") {
        Some(rest) if end > 0 => flatten(rest, &full, leaves),
        _ => {
            leaves.push(full);
            &text[end..]
        }
    }
}

/// The module a file is: `src/a/b.rs` is `a::b`, `src/a/mod.rs` is `a`, `src/lib.rs` the root.
fn module_of(path: &str) -> Vec<String> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib")) {
        parts.pop();
    }
    parts
}

/// Cycles between files of `src`. What a file shares with the folders it stands in is no import:
/// a parent re-exports its children and holds what they share.
fn cycles(files: &[File]) -> Vec<String> {
    let sources = files.iter().filter(|(path, _)| path.starts_with("src/"));
    let modules: BTreeMap<Vec<String>, &File> =
        sources.map(|file| (module_of(&file.0), file)).collect();
    let mut graph: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for (module, (path, text)) in &modules {
        for (_, target) in paths(path, &Source::read(text).shipped()) {
            let deepest =
                (0..=target.len()).rev().find_map(|n| modules.get_key_value(&target[..n]));
            let Some((found, _)) = deepest else { continue };
            if !found.starts_with(module) && !module.starts_with(found) {
                graph.entry(module).or_default().insert(found);
            }
        }
    }
    let mut done = BTreeSet::new();
    let mut found = Vec::new();
    for module in graph.keys() {
        follow(module, &graph, &mut Vec::new(), &mut done, &mut found);
    }
    found
}

fn follow<'a>(
    module: &'a [String],
    graph: &BTreeMap<&'a [String], BTreeSet<&'a [String]>>,
    trail: &mut Vec<&'a [String]>,
    done: &mut BTreeSet<&'a [String]>,
    found: &mut Vec<String>,
) {
    if let Some(at) = trail.iter().position(|m| *m == module) {
        let names: Vec<String> = trail[at..].iter().map(|m| m.join("::")).collect();
        found.push(format!("import cycle: {} → {}", names.join(" → "), names[0]));
        return;
    }
    if done.contains(module) {
        return;
    }
    trail.push(module);
    for next in graph.get(module).into_iter().flatten() {
        follow(next, graph, trail, done, found);
    }
    trail.pop();
    done.insert(module);
}

fn lines_with(text: &str, what: &str, path: &str, reason: &str) -> Vec<String> {
    let starts_word = |line: &str| {
        line.match_indices(what).any(|(at, _)| {
            !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                || what.starts_with('.')
        })
    };
    let hits = text.lines().enumerate().filter(|(_, line)| starts_word(line));
    hits.map(|(at, _)| format!("{path}:{}: {reason} (`{what}`)", at + 1)).collect()
}

mod rules;
