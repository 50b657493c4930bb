//! The ledger of deliveries: duplicates, outcomes, bounds.

use cuelight::engine::queue::{LEDGER_KEEP, Marked, Push, Pushed, Settled, Settlement, State};

use super::*;

behaviours! {
    a_delivery_is_accepted_once,
    a_duplicate_changes_nothing,
    a_duplicate_whose_key_is_dead_revives_it,
    the_ledger_says_what_became_of_a_delivery,
    a_delivery_without_keys_is_remembered,
    the_ledger_is_bounded_in_rows,
    the_ledger_is_bounded_in_time,
    the_ledger_survives_a_crash,
}

async fn outcomes(rig: &Rig) -> Vec<(String, &'static str)> {
    let (entries, total) = rig.engine().deliveries(1000).await.unwrap();
    assert_eq!(entries.len() as u64, total);
    entries.into_iter().map(|e| (e.delivery.id.to_string(), e.outcome)).collect()
}

async fn a_delivery_is_accepted_once(rig: Rig) {
    assert_eq!(rig.deliver("a", &[1]).await, Pushed::Accepted(vec![Marked::Queued]));
    assert_eq!(rig.deliver("a", &[1]).await, Pushed::Duplicate);
    assert_eq!(rig.deliver("b", &[1]).await, Pushed::Accepted(vec![Marked::Merged]));
    let lease = rig.take_one().await;
    assert_eq!(rig.settle(&lease, Settlement::Done).await, Settled::Done);
    assert_eq!(rig.deliver("a", &[1]).await, Pushed::Duplicate);
    assert!(rig.take(1).await.is_empty());
}

async fn a_duplicate_changes_nothing(rig: Rig) {
    rig.deliver("a", &[1]).await;
    let lease = rig.take_one().await;
    assert_eq!(rig.deliver("a", &[1, 2]).await, Pushed::Duplicate);
    assert_eq!(rig.settle(&lease, Settlement::Done).await, Settled::Done, "it is not dirty");
    assert!(rig.list(State::Waiting).await.is_empty());
}

async fn a_duplicate_whose_key_is_dead_revives_it(rig: Rig) {
    rig.deliver("a", &[1]).await;
    let lease = rig.take_one().await;
    rig.settle(&lease, dead("x")).await;
    assert_eq!(rig.deliver("a", &[1]).await, Pushed::Accepted(vec![Marked::Queued]));
    assert_eq!(rig.deliver("a", &[1]).await, Pushed::Duplicate);
    assert_eq!(rig.take_one().await.attempt, 1);
    assert_eq!(outcomes(&rig).await.len(), 1);
}

async fn the_ledger_says_what_became_of_a_delivery(rig: Rig) {
    rig.deliver("a", &[1]).await;
    rig.deliver("b", &[1]).await;
    rig.deliver("c", &[1, 2]).await;
    let mut ignored = delivery("d", rig.now());
    ignored.ignored = Some("another branch".into());
    ignored.action = Some("edited".into());
    rig.engine().push(Push { delivery: Some(ignored), keys: Vec::new() }).await.unwrap();
    let expected = [("d", "ignored"), ("c", "queued"), ("b", "merged"), ("a", "queued")];
    assert_eq!(outcomes(&rig).await, expected.map(|(id, outcome)| (id.to_owned(), outcome)));
    let (newest, total) = rig.engine().deliveries(1).await.unwrap();
    let newest = &newest[0].delivery;
    assert_eq!((total, newest.received_at, newest.event.as_str()), (4, rig.now(), "push"));
    assert_eq!(newest.ignored.as_deref(), Some("another branch"));
    assert_eq!(newest.action.as_deref(), Some("edited"));
    assert_eq!(newest.repository.as_ref().unwrap().as_str(), "acme/shop");
}

async fn a_delivery_without_keys_is_remembered(rig: Rig) {
    assert_eq!(rig.deliver("a", &[]).await, Pushed::Accepted(Vec::new()));
    assert_eq!(rig.deliver("a", &[]).await, Pushed::Duplicate);
    assert_eq!(outcomes(&rig).await, [("a".to_owned(), "ignored")]);
}

async fn the_ledger_is_bounded_in_rows(rig: Rig) {
    let max = LIMITS.ledger_rows_max;
    for n in 0..10 * max {
        rig.deliver(&format!("d{n}"), &[]).await;
    }
    let ids = outcomes(&rig).await;
    assert_eq!(ids.len() as u64, max);
    assert_eq!(ids[0].0, format!("d{}", 10 * max - 1));
    let oldest = format!("d{}", 9 * max);
    assert_eq!(rig.deliver(&oldest, &[]).await, Pushed::Duplicate);
    assert_eq!(rig.deliver("d0", &[]).await, Pushed::Accepted(Vec::new()));
    assert_eq!(rig.deliver(&oldest, &[]).await, Pushed::Accepted(Vec::new()), "pushed out");
}

async fn the_ledger_is_bounded_in_time(rig: Rig) {
    rig.deliver("a", &[]).await;
    rig.clock.advance(LEDGER_KEEP - Duration::from_millis(1));
    assert_eq!(rig.deliver("a", &[]).await, Pushed::Duplicate);
    rig.clock.advance(Duration::from_millis(1));
    assert!(outcomes(&rig).await.is_empty());
    assert_eq!(rig.deliver("a", &[]).await, Pushed::Accepted(Vec::new()));
}

async fn the_ledger_survives_a_crash(mut rig: Rig) {
    rig.deliver("a", &[1]).await;
    rig.reopen().await;
    assert_eq!(rig.deliver("a", &[1]).await, Pushed::Duplicate);
}
