//! Whatever a file holds, processing it ends, never panics, and keeps its promises.

use std::collections::HashSet;

use cuelight::catalog::{AllowedKinds, Entity, process_alone};

use super::{read, repository_path, source};

/// Files that are damaged, several thousand times each run.
fn seeds() -> Vec<String> {
    let mut seeds = vec![
        read("fixtures/process/shop.yaml"),
        read("fixtures/process/cases.yaml"),
        read("fixtures/yaml/cases.json"),
    ];
    let validate = read("fixtures/validate/cases.yaml");
    seeds.extend(validate.split("\n\n").map(|case| {
        let lines = case.lines().skip_while(|line| !line.contains("entity: |")).skip(1);
        lines.map(|line| format!("{}\n", line.trim_start())).collect()
    }));
    seeds.retain(|seed: &String| !seed.is_empty());
    seeds
}

const PIECES: [&str; 30] = [
    "\n",
    " ",
    "\t",
    ":",
    ": ",
    "- ",
    "- - ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "&a ",
    "*a",
    "!t ",
    "|\n",
    ">\n",
    "# ",
    "? ",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "\r",
    "\u{feff}",
    "é",
    "😀",
    "\\ud83d",
    "\0",
    "<<: ",
];

fn mutate(random: &mut fastrand::Rng, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    // A long file is cut down to a window of it, so that each run does much.
    let window = chars.len().min(600);
    let start = random.usize(..=chars.len() - window);
    chars = chars[start..start + window].to_vec();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..=chars.len());
        let end = (at + random.usize(..8)).min(chars.len());
        let piece = PIECES[random.usize(..PIECES.len())];
        match random.u8(..4) {
            0 => drop(chars.drain(at..end)),
            1 => drop(chars.splice(at..at, piece.chars())),
            2 => drop(chars.splice(at..end, piece.chars())),
            _ => chars.extend_from_within(at..end),
        }
    }
    chars.into_iter().collect()
}

fn check_promises(text: &str, previous: &[Entity], allowed: &AllowedKinds) -> Vec<Entity> {
    let processed = process_alone(&source(), text, allowed, previous);
    assert_eq!(processed, process_alone(&source(), text, allowed, previous), "twice the same");
    let refs: HashSet<&str> = processed.entities.iter().map(|e| e.entity_ref.as_str()).collect();
    assert_eq!(refs.len(), processed.entities.len(), "each ref once in\n{text}");
    assert!(processed.entities[0].generated);
    let lines = u32::try_from(text.split('\n').count()).expect("a short text");
    for problem in &processed.problems {
        assert!((1..=lines).contains(&problem.line), "{problem:?} in\n{text}");
        assert!(problem.column >= 1);
        assert!(problem.document >= 1);
    }
    for entity in &processed.entities[1..] {
        assert!(entity.stale.is_none() || !processed.problems.is_empty(), "stale for a reason");
        assert!(entity.relations.is_sorted());
    }
    processed.entities
}

#[test]
fn damaged_files_never_break_a_promise() {
    let mut random = fastrand::Rng::with_seed(20_261_122);
    let allowed = AllowedKinds::default();
    let whole = process_alone(&source(), &read("fixtures/process/shop.yaml"), &allowed, &[]);
    for seed in &seeds() {
        let mut previous = whole.entities.clone();
        for _ in 0..60 {
            previous = check_promises(&mutate(&mut random, seed), &previous, &allowed);
        }
        let healed =
            process_alone(&source(), &read("fixtures/process/shop.yaml"), &allowed, &previous);
        assert_eq!(healed, whole, "a good file forgets what was before");
    }
}

#[test]
fn noise_never_breaks_a_promise() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..2_000 {
        let count = random.usize(..60);
        let text: String = (0..count).map(|_| PIECES[random.usize(..PIECES.len())]).collect();
        check_promises(&text, &[], &AllowedKinds::default());
    }
}

#[test]
fn the_fixtures_are_there() {
    assert!(repository_path("fixtures/process/shop.json").is_file());
    assert!(seeds().len() > 50);
}
