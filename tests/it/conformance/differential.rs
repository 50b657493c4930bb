//! Random scripts on the model and on an engine, compared step by step.
//!
//! A failure prints the seed, the first step that differs, both answers, and a shorter script
//! that still differs. `CUELIGHT_SEED` repeats one script; `CUELIGHT_STEPS` sets the length;
//! `CUELIGHT_SHRINKS` says how many shorter scripts to try.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use fastrand::Rng;

use super::Rig;
use super::script::{Op, Player, draw};

/// Scripts in an ordinary run, each of its own seed.
const SCRIPTS: u64 = 6;

/// Steps of a script: 12,000 in all.
const STEPS: usize = 2_000;

/// Shorter scripts that are tried after a failure.
const SHRINKS_MAX: u64 = 200;

/// What the scripts must come to at least once, as the model's answers show it; otherwise they
/// compare less than they seem to.
const REACHED: [&str; 11] = [
    "Ok(Duplicate)",
    "Queued",
    "Merged",
    "delays: 2",
    "Ok([Dead",
    "Ok([Stale",
    "Written(None, Done)",
    "Written(None, Waiting)",
    "Ok(Held(",
    "changes Ok(None)",
    "Ok(true)",
];

/// A step at which the engines differ.
struct Difference {
    step: usize,
    model: String,
    engine: String,
}

/// Which engine is compared with the model.
#[derive(Clone, Copy)]
enum Pair {
    Sqlite,
    Redis,
}

impl Pair {
    /// How often a key is tried at least. Where a lost process costs an attempt of all that it
    /// held, some come further.
    const fn attempts(self) -> &'static &'static str {
        match self {
            Self::Sqlite => &"attempt: 5",
            Self::Redis => &"attempt: 3",
        }
    }

    /// The model of such an engine, and the engine, both new.
    async fn rigs(self) -> (Rig, Rig) {
        match self {
            Self::Sqlite => (Rig::model(), Rig::sqlite()),
            Self::Redis => (Rig::shared_model(), Rig::redis().await),
        }
    }
}

async fn play(pair: Pair, script: &[Op], reached: &mut BTreeSet<&str>) -> Option<Difference> {
    let (model, engine) = pair.rigs().await;
    let (mut model, mut engine) = (Player::new(model), Player::new(engine));
    for (step, op) in script.iter().enumerate() {
        let (expected, found) = (model.step(op).await, engine.step(op).await);
        let words = REACHED.iter().chain([pair.attempts()]);
        reached.extend(words.filter(|word| expected.contains(**word)));
        if expected != found {
            return Some(Difference { step, model: expected, engine: found });
        }
    }
    let (expected, found) = (model.look().await, engine.look().await);
    let step = script.len();
    (expected != found).then_some(Difference { step, model: expected, engine: found })
}

/// Cuts the script after the difference, then leaves out what is not needed for one.
async fn shrink(pair: Pair, mut script: Vec<Op>, first: &Difference) -> Vec<Op> {
    script.truncate(first.step + 1);
    let tries_max = number("CUELIGHT_SHRINKS").unwrap_or(SHRINKS_MAX);
    let mut tries = 0;
    let mut chunk = script.len() / 2;
    while chunk > 0 && tries < tries_max {
        let mut start = 0;
        while start < script.len() && tries < tries_max {
            tries += 1;
            let mut shorter = script.clone();
            shorter.drain(start..(start + chunk).min(script.len()));
            match play(pair, &shorter, &mut BTreeSet::new()).await {
                Some(difference) => {
                    shorter.truncate(difference.step + 1);
                    script = shorter;
                }
                None => start += chunk,
            }
        }
        chunk /= 2;
    }
    script
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

async fn check(pair: Pair, seed: u64, steps: usize, reached: &mut BTreeSet<&str>) {
    let mut rng = Rng::with_seed(seed);
    let script: Vec<Op> = (0..steps).map(|_| draw(&mut rng)).collect();
    let Some(difference) = play(pair, &script, reached).await else { return };
    let Difference { step, model, engine } = &difference;
    let op = script.get(*step);
    let mut message = format!("CUELIGHT_SEED={seed} CUELIGHT_STEPS={steps}, step {step}: {op:?}\n");
    for (model, engine) in model.lines().zip(engine.lines()).filter(|(m, e)| m != e) {
        writeln!(message, "  model:  {model}\n  engine: {engine}").unwrap();
    }
    let shorter = shrink(pair, script, &difference).await;
    writeln!(message, "{} steps are enough:", shorter.len()).unwrap();
    shorter.iter().for_each(|op| writeln!(message, "  {op:?}").unwrap());
    panic!("{message}");
}

#[tokio::test]
async fn random_scripts_end_alike_on_model_and_sqlite() {
    check_all(Pair::Sqlite).await;
}

#[tokio::test]
async fn random_scripts_end_alike_on_model_and_redis() {
    check_all(Pair::Redis).await;
}

async fn check_all(pair: Pair) {
    let steps = number("CUELIGHT_STEPS").map_or(STEPS, |steps| steps as usize);
    if let Some(seed) = number("CUELIGHT_SEED") {
        return check(pair, seed, steps, &mut BTreeSet::new()).await;
    }
    // The same seeds in every run, so that a green run stays green; others by hand.
    let mut reached = BTreeSet::new();
    for seed in 1..=SCRIPTS {
        check(pair, seed, steps, &mut reached).await;
    }
    let wanted = REACHED.iter().chain([pair.attempts()]);
    let missed: Vec<_> = wanted.filter(|word| !reached.contains(**word)).collect();
    assert!(missed.is_empty(), "the scripts never came to {missed:?}");
}
