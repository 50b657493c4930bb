//! Who is served next: lanes, accounts in turn, gates, kinds of keys.

use cuelight::engine::queue::{LANE_TURN, Settlement, State};
use cuelight::work::{BATCH_MAX, Lane};

use super::*;

behaviours! {
    keys_of_an_account_are_first_in_first_out,
    events_go_before_the_scan,
    every_eighth_take_starts_with_the_scan,
    a_take_is_of_one_account_and_one_lane,
    accounts_are_served_in_turn,
    a_key_raised_to_the_event_lane_goes_to_its_end,
    a_key_pushed_to_a_lower_lane_stays,
    keys_of_other_kinds_are_taken_alone,
    a_take_is_no_larger_than_asked_nor_than_a_batch,
    a_gate_stops_an_account_and_no_other,
    no_fresh_hint_jumps_a_gate,
    the_later_of_two_gates_wins,
    a_gate_survives_a_crash_and_costs_no_attempt,
    a_take_says_when_the_next_comes_due,
}

async fn keys_of_an_account_are_first_in_first_out(rig: Rig) {
    for id in [5, 3, 9, 1] {
        rig.push(id).await;
        rig.advance(1);
    }
    rig.push(5).await;
    assert_eq!(rig.ids(State::Waiting).await, [5, 3, 9, 1]);
    assert_eq!(ids_of(&rig.take(3).await), [5, 3, 9]);
    assert_eq!(ids_of(&rig.take(3).await), [1]);
}

async fn events_go_before_the_scan(rig: Rig) {
    rig.push_to(1, 1, Lane::Scan).await;
    rig.push_to(2, 1, Lane::Event).await;
    let lease = rig.take_one().await;
    assert_eq!((id_of(&lease.key), lease.lane), (2, Lane::Event));
    let lease = rig.take_one().await;
    assert_eq!((id_of(&lease.key), lease.lane), (1, Lane::Scan));
}

async fn every_eighth_take_starts_with_the_scan(rig: Rig) {
    for id in 0..20 {
        rig.push_to(id, 1, Lane::Event).await;
        rig.push_to(100 + id, 1, Lane::Scan).await;
    }
    for take in 1..=2 * LANE_TURN {
        let expected = if take % LANE_TURN == 0 { Lane::Scan } else { Lane::Event };
        assert_eq!(rig.take_one().await.lane, expected, "take {take}");
    }
}

async fn a_take_is_of_one_account_and_one_lane(rig: Rig) {
    for (id, owner, lane) in
        [(1, 1, Lane::Event), (2, 2, Lane::Event), (3, 1, Lane::Event), (4, 1, Lane::Scan)]
    {
        rig.push_to(id, owner, lane).await;
    }
    assert_eq!(ids_of(&rig.take(10).await), [1, 3]);
    assert_eq!(ids_of(&rig.take(10).await), [2]);
    assert_eq!(ids_of(&rig.take(10).await), [4]);
}

async fn accounts_are_served_in_turn(rig: Rig) {
    for id in 1..=6 {
        rig.push_to(id, 1, Lane::Event).await;
    }
    rig.push_to(20, 2, Lane::Event).await;
    rig.push_to(21, 2, Lane::Event).await;
    rig.push_to(30, 3, Lane::Event).await;
    let mut served = Vec::new();
    for _ in 0..7 {
        served.push(id_of(&rig.take_one().await.key));
    }
    assert_eq!(served, [1, 20, 30, 2, 21, 3, 4]);
    rig.push_to(31, 3, Lane::Event).await;
    assert_eq!(ids_of(&rig.take(1).await), [31], "it was served before the others");
}

async fn a_key_raised_to_the_event_lane_goes_to_its_end(rig: Rig) {
    rig.push_to(1, 1, Lane::Scan).await;
    rig.push_to(2, 1, Lane::Event).await;
    rig.push_to(1, 1, Lane::Event).await;
    rig.push_to(3, 1, Lane::Event).await;
    assert_eq!(ids_of(&rig.take(10).await), [2, 1, 3]);
}

async fn a_key_pushed_to_a_lower_lane_stays(rig: Rig) {
    rig.push_to(1, 1, Lane::Event).await;
    rig.push_to(1, 1, Lane::Scan).await;
    assert_eq!(rig.take_one().await.lane, Lane::Event);
}

async fn keys_of_other_kinds_are_taken_alone(rig: Rig) {
    let keys = [repo(1), WorkKey::Scan(account(1)), repo(2), app(9), repo(3)];
    let keys = keys.into_iter().map(|key| rig.key(key, 1, Lane::Scan)).collect();
    rig.push_keys(keys).await;
    assert_eq!(ids_of(&rig.take(10).await), [1, 2, 3], "repositories fill one call");
    let scan = rig.take(10).await;
    assert_eq!((scan.len(), &scan[0].key), (1, &WorkKey::Scan(account(1))));
    let installations = rig.take(10).await;
    assert_eq!((installations.len(), &installations[0].key), (1, &app(9)));
}

async fn a_take_is_no_larger_than_asked_nor_than_a_batch(rig: Rig) {
    let keys = (0..120).map(|id| rig.key(repo(id), 1, Lane::Scan)).collect();
    rig.push_keys(keys).await;
    assert_eq!(rig.take(0).await.len(), 0);
    assert_eq!(rig.take(20).await.len(), 20);
    assert_eq!(rig.take(1000).await.len(), BATCH_MAX);
    assert_eq!(ids_of(&rig.take(1000).await), (70..120).collect::<Vec<_>>());
}

async fn gate(rig: &Rig, owner: u64, secs: u64, reason: &str) {
    let until = rig.now() + Duration::from_secs(secs);
    rig.engine().gate(account(owner), until, reason.into()).await.unwrap();
}

async fn a_gate_stops_an_account_and_no_other(rig: Rig) {
    rig.push_to(1, 1, Lane::Event).await;
    rig.push_to(2, 2, Lane::Scan).await;
    gate(&rig, 1, 60, "rate limit").await;
    let other = rig.take_one().await;
    assert_eq!(id_of(&other.key), 2);
    rig.settle(&other, Settlement::Done).await;
    assert!(rig.take(10).await.is_empty());
    rig.clock.advance(Duration::from_millis(59_999));
    assert!(rig.take(10).await.is_empty());
    rig.clock.advance(Duration::from_millis(1));
    assert_eq!(ids_of(&rig.take(10).await), [1]);
}

async fn no_fresh_hint_jumps_a_gate(rig: Rig) {
    gate(&rig, 1, 60, "rate limit").await;
    rig.push(1).await;
    rig.push(1).await;
    assert!(rig.take(10).await.is_empty());
    assert_eq!(rig.ids(State::Waiting).await, [1]);
}

async fn the_later_of_two_gates_wins(rig: Rig) {
    gate(&rig, 1, 60, "first").await;
    gate(&rig, 1, 30, "sooner").await;
    let until = rig.now() + Duration::from_secs(60);
    let gates = rig.engine().stats().await.unwrap().gates;
    assert_eq!(gates, [(account(1), until, "first".to_owned())]);
    gate(&rig, 1, 90, "later").await;
    gate(&rig, 2, 10, "other").await;
    let gates = rig.engine().stats().await.unwrap().gates;
    assert_eq!(gates[0], (account(1), until + Duration::from_secs(30), "later".to_owned()));
    assert_eq!(gates.len(), 2);
    rig.advance(90);
    assert!(rig.engine().stats().await.unwrap().gates.is_empty());
}

async fn a_gate_survives_a_crash_and_costs_no_attempt(mut rig: Rig) {
    rig.push(1).await;
    let lease = rig.take_one().await;
    gate(&rig, 1, 60, "rate limit").await;
    rig.settle(&lease, Settlement::Release).await;
    rig.reopen().await;
    assert!(rig.take(1).await.is_empty());
    rig.advance(60);
    assert_eq!(rig.take_one().await.attempt, 1);
}

async fn a_take_says_when_the_next_comes_due(rig: Rig) {
    let next = async || rig.engine().take(1, LEASE).await.unwrap().next_due;
    let secs = |n| Some(rig.now() + Duration::from_secs(n));
    assert_eq!(next().await, None);
    rig.push(1).await;
    rig.push(2).await;
    assert!(next().await.unwrap() <= rig.now(), "another key is due already");
    let lease = rig.take_one().await;
    assert_eq!(next().await, secs(30), "a lease ends");
    rig.settle(&lease, retry(20)).await;
    assert_eq!(next().await, secs(20), "a retry");
    gate(&rig, 5, 10, "rate limit").await;
    assert_eq!(next().await, secs(10), "a gate");
}
