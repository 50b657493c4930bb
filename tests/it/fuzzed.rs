//! What fuzzing found, and what it starts from: every input of `fixtures/fuzz/` and `fuzz/seeds/`
//! keeps the promises of its target. `scripts/fuzz` looks for more.

#[path = "../../fuzz/src/lib.rs"]
mod promises;

use std::fs;
use std::path::{Path, PathBuf};

use cuelight::catalog::yaml::parse;
use promises::TARGETS;
use serde_json::{Value, json};

/// All inputs below a folder of inputs, a folder a target.
fn inputs(folder: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.expect("a readable folder").path()).collect()
}

#[test]
fn seeds_and_past_findings_keep_the_promises() {
    for (target, check) in TARGETS {
        let found = [inputs("fuzz/seeds", target), inputs("fixtures/fuzz", target)].concat();
        assert!(!found.is_empty() || target == "webhook", "{target} starts from nothing");
        for path in found {
            let data = fs::read(&path).expect("a readable file");
            let kept = std::panic::catch_unwind(|| check(&data));
            assert!(kept.is_ok(), "{} breaks a promise of {target}", path.display());
        }
    }
}

#[test]
fn every_documented_delivery_keeps_the_promises() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/webhooks");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the payloads") {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let event = name.split('.').next().expect("the event");
        let body = fs::read(&path).expect("a readable file");
        promises::webhook(&[event.as_bytes(), b"\n", &body].concat());
        count += 1;
    }
    assert!(count > 80, "the payloads were not found");
}

#[test]
fn the_fuzz_package_has_a_target_for_each_promise() {
    let manifest = include_str!("../../fuzz/Cargo.toml");
    let names = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    let names: Vec<&str> = names.filter_map(|rest| rest.strip_suffix(".rs\"")).collect();
    assert_eq!(names, TARGETS.map(|(name, _)| name));
}

/// An input with some of its bytes changed, doubled, taken out or put in.
fn damaged(random: &mut fastrand::Rng, input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(..12)).min(bytes.len());
        let piece = PIECES[random.usize(..PIECES.len())].bytes();
        match random.u8(..4) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, piece)),
            2 => drop(bytes.splice(at..end, piece)),
            _ => bytes.extend_from_within(at..end),
        }
    }
    bytes
}

const PIECES: [&str; 18] = [
    "\n", " ", "\t", ": ", "- ", "[", "]", "{", "}", "\"", "'", "\\", ",", "=", "%", "é", "0",
    "null",
];

#[test]
fn damaged_seeds_keep_the_promises() {
    let mut random = fastrand::Rng::with_seed(20_261_122);
    for (target, check) in TARGETS {
        for path in inputs("fuzz/seeds", target) {
            let seed = fs::read(&path).expect("a readable file");
            for _ in 0..150 {
                check(&damaged(&mut random, &seed));
            }
        }
    }
    let push = include_bytes!("../../fixtures/webhooks/push.default-branch.json");
    for _ in 0..300 {
        promises::webhook(&[b"push\n", damaged(&mut random, push).as_slice()].concat());
    }
}

/// Any JSON, with what writers of YAML stumble over.
fn random_value(random: &mut fastrand::Rng, depth: u8) -> Value {
    match random.u8(..if depth == 0 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => random.bool().into(),
        // Beyond that numbers are read as JavaScript reads them, to the nearest double.
        2 => random.i64(-(1 << 53)..=1 << 53).into(),
        3 => (random.f64() * 10f64.powi(random.i32(-30..3))).into(),
        4 => random_text(random).into(),
        5 => (0..random.usize(..4)).map(|_| random_value(random, depth - 1)).collect(),
        _ => {
            let member = |_| (random_text(random), random_value(random, depth - 1));
            Value::Object((0..4).map(member).collect())
        }
    }
}

fn random_text(random: &mut fastrand::Rng) -> String {
    const TEXTS: [&str; 22] = [
        "a", "null", "~", "7", "1e3", "0x1f", "true", "- ", ": ", "# ", "'", "\"", "\\", "\n",
        "\r\n", "\t", "\u{85}", "\u{2028}", "\u{feff}", "\u{7f}", "é😀", "<<",
    ];
    (0..random.usize(..4)).map(|_| TEXTS[random.usize(..TEXTS.len())]).collect()
}

#[test]
fn what_is_written_as_json_is_read_back_as_yaml() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..3_000 {
        let value = random_value(&mut random, 4);
        let texts = [value.to_string(), format!("{value:#}"), format!("x: {value}\n")];
        let values = [value.clone(), value.clone(), json!({ "x": value })];
        for (text, value) in texts.iter().zip(values) {
            let mut documents = parse(text);
            let read = documents.pop().map(|document| document.root.expect(text).to_json());
            assert_eq!(read.unwrap_or(Value::Null), value, "{text}");
            assert!(documents.is_empty(), "{text}");
        }
    }
}
