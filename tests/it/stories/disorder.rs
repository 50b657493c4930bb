//! Deliveries doubled, late, out of order, lost, and very many.
//!
//! The random plays print their seed and the shortest play found that still fails.
//! `CUELIGHT_SEED` plays one seed, `CUELIGHT_PLAYS` so many from that one on, `CUELIGHT_STEPS`
//! sets their length, `CUELIGHT_SHRINKS` says how many shorter plays to try.

mod organisations;
mod play;
mod texts;
mod truth;

use fake_github::{NewRepository, Push};

use self::play::{Ended, Heard, Play, play};

use crate::support::stage::{FILE, Stage, component};

#[tokio::test]
async fn a_delivery_that_comes_twice_is_worked_once() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let events = stage.world().put_file(&pay, FILE, component("pay", "website"));
    let delivery = stage.sign(&events[0]);
    let (_, first) = stage.deliver(&delivery).await;
    assert!(first.contains("\"queued\""), "{first}");
    stage.work().await;
    let (status, again) = stage.deliver(&delivery).await;
    assert_eq!(status, 202);
    assert!(again.contains("\"duplicate\""), "{again}");
    assert!(stage.work().await.is_empty());
    assert_eq!(stage.world().calls().len(), 1);
}

#[tokio::test]
async fn deliveries_out_of_order_end_in_githubs_last_state() {
    let stage = Stage::open().await;
    let world = stage.world();
    let new = NewRepository::named("pay").file(FILE, component("pay", "service"));
    let mut events = world.create_repository("acme", new);
    events.extend(world.put_file("acme/pay", FILE, component("pay", "website")));
    events.extend(world.archive("acme/pay"));
    events.extend(world.unarchive("acme/pay"));
    events.extend(world.put_file("acme/pay", FILE, component("pay", "library")));
    events.reverse();
    for event in &events {
        stage.cue(std::slice::from_ref(event)).await;
        stage.work().await;
    }
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("library"));
}

#[tokio::test]
async fn an_event_of_a_repository_that_is_long_gone_brings_nothing_back() {
    let stage = Stage::open().await;
    let world = stage.world();
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let late = world.put_file(&pay, FILE, component("pay", "website"));
    stage.cue(&world.delete_repository(&pay)).await;
    stage.work().await;
    stage.cue(&late).await;
    stage.work().await;
    assert!(!stage.has("pay").await);
}

#[tokio::test]
async fn two_hundred_pushes_to_one_repository_are_a_few_runs() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    for i in 0..200 {
        let push = Push::to("main").put(FILE, component("pay", &format!("type-{i}")));
        stage.cue(&stage.world().push(&pay, push)).await;
        if i % 100 == 50 {
            stage.work().await;
        }
    }
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("type-199"));
    assert!(stage.world().calls().len() <= 3, "{}", stage.world().calls().len());
}

/// Plays of each kind in an ordinary run: 2,000 changes in all.
const PLAYS: u64 = 2;

/// Changes of a play.
const STEPS: u64 = 500;

/// Shorter plays that are tried after a failure.
const SHRINKS_MAX: u64 = 40;

fn number(name: &str, usual: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => usual,
    }
}

async fn check_plays(heard: Heard) {
    let seed = number("CUELIGHT_SEED", 1);
    let usual = if std::env::var("CUELIGHT_SEED").is_ok() { 1 } else { PLAYS };
    for seed in seed..seed + number("CUELIGHT_PLAYS", usual) {
        let steps = (0..number("CUELIGHT_STEPS", STEPS)).collect();
        let whole = Play { seed, steps, heard };
        let ended = play(&whole).await;
        if !ended.wrong.is_empty() {
            let (kept, ended) = shorter(whole, ended).await;
            let trace = ended.trace.join("\n");
            panic!(
                "seed {seed}, {heard:?} heard, steps {:?}\n{trace}\n{:#?}",
                kept.steps, ended.wrong
            );
        }
    }
}

/// Leaves out ever smaller parts for as long as it still fails.
async fn shorter(mut kept: Play, mut ended: Ended) -> (Play, Ended) {
    let mut left = number("CUELIGHT_SHRINKS", SHRINKS_MAX);
    let mut size = kept.steps.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < kept.steps.len() && left > 0 {
            left -= 1;
            let mut fewer = kept.clone();
            fewer.steps.drain(at..(at + size).min(kept.steps.len()));
            let tried = play(&fewer).await;
            if tried.wrong.is_empty() {
                at += size;
            } else {
                (kept, ended) = (fewer, tried);
            }
        }
        size = if left == 0 { 0 } else { size / 2 };
    }
    (kept, ended)
}

#[tokio::test]
async fn whatever_the_order_of_webhooks_the_catalog_ends_as_github_is() {
    check_plays(Heard::Everything).await;
}

#[tokio::test]
async fn whatever_webhooks_were_lost_one_scan_mends_it() {
    check_plays(Heard::Some).await;
}
