//! One holder at a time: tokens, renewal, expiry, loss of the process.

use cuelight::engine::queue::{Settled, Settlement, State};
use cuelight::work::{ATTEMPTS_MAX, Lane};

use super::*;

behaviours! {
    a_wrong_token_settles_nothing,
    a_settled_lease_is_stale,
    an_extended_lease_lives_longer,
    extending_names_the_leases_that_are_lost,
    an_expired_lease_is_refused_and_the_key_taken_again,
    an_expired_lease_is_a_failed_attempt_and_the_last_one_kills,
    a_push_meanwhile_saves_a_key_whose_last_lease_expires,
    a_key_whose_lease_has_expired_is_taken_alone,
    a_run_that_ends_well_clears_the_suspicion,
    tokens_grow_also_over_a_crash,
    a_crash_ends_every_lease_at_once_and_counts_the_attempt,
    a_unit_that_kills_its_process_ends_dead_and_not_in_a_loop,
    leases_of_a_process_before_are_stale,
}

async fn a_wrong_token_settles_nothing(rig: Rig) {
    rig.push(7).await;
    let lease = rig.take_one().await;
    for how in [Settlement::Done, retry(1), delay(1), dead("x"), Settlement::Release] {
        let settled = rig.engine().settle(vec![(stale_ref(&lease), how)]).await.unwrap();
        assert_eq!(settled, [Settled::Stale]);
    }
    let other = LeaseRef { key: repo(8), token: lease.token };
    let settled = rig.engine().settle(vec![(other, Settlement::Done)]).await.unwrap();
    assert_eq!(settled, [Settled::Stale]);
    assert_eq!(rig.settle(&lease, Settlement::Done).await, Settled::Done);
}

async fn a_settled_lease_is_stale(rig: Rig) {
    rig.push(7).await;
    let lease = rig.take_one().await;
    assert_eq!(rig.settle(&lease, retry(0)).await, Settled::Waiting);
    assert_eq!(rig.settle(&lease, Settlement::Done).await, Settled::Stale);
    let next = rig.take_one().await;
    assert_eq!(rig.settle(&lease, Settlement::Done).await, Settled::Stale);
    assert_eq!(rig.settle(&next, Settlement::Done).await, Settled::Done);
    assert_eq!(rig.settle(&next, Settlement::Done).await, Settled::Stale);
}

async fn an_extended_lease_lives_longer(rig: Rig) {
    rig.push(7).await;
    let lease = rig.take_one().await;
    for _ in 0..3 {
        rig.advance(20);
        assert!(rig.engine().extend(vec![(&lease).into()], LEASE).await.unwrap().is_empty());
    }
    assert_eq!(rig.list(State::Held).await[0].at, rig.now() + LEASE);
    assert!(rig.take(1).await.is_empty());
    rig.clock.advance(LEASE - Duration::from_millis(1));
    assert_eq!(rig.settle(&lease, Settlement::Done).await, Settled::Done);
}

async fn extending_names_the_leases_that_are_lost(rig: Rig) {
    rig.push(1).await;
    rig.push(2).await;
    rig.push(3).await;
    let leases = rig.take(3).await;
    rig.settle(&leases[1], retry(0)).await;
    let wrong = stale_ref(&leases[2]);
    let asked = vec![(&leases[0]).into(), (&leases[1]).into(), wrong.clone()];
    let lost = rig.engine().extend(asked, LEASE).await.unwrap();
    assert_eq!(lost, [(&leases[1]).into(), wrong]);
}

async fn an_expired_lease_is_refused_and_the_key_taken_again(rig: Rig) {
    rig.push(7).await;
    let old = rig.take_one().await;
    rig.clock.advance(LEASE);
    assert_eq!(rig.engine().extend(vec![(&old).into()], LEASE).await.unwrap(), [(&old).into()]);
    let new = rig.take_one().await;
    assert_eq!(new.attempt, 2);
    assert!(new.token > old.token);
    assert_eq!(rig.settle(&old, Settlement::Done).await, Settled::Stale);
    assert_eq!(rig.settle(&new, Settlement::Done).await, Settled::Done);
}

async fn an_expired_lease_is_a_failed_attempt_and_the_last_one_kills(rig: Rig) {
    rig.push(7).await;
    for attempt in 1..=ATTEMPTS_MAX {
        assert_eq!(rig.take_one().await.attempt, attempt);
        rig.clock.advance(LEASE);
    }
    assert!(rig.take(1).await.is_empty());
    let entry = rig.list(State::Dead).await.remove(0);
    assert_eq!((entry.attempts, entry.at), (ATTEMPTS_MAX, rig.now()));
    assert!(entry.error.unwrap().contains("lease ended"));
}

async fn a_push_meanwhile_saves_a_key_whose_last_lease_expires(rig: Rig) {
    rig.push(7).await;
    for _ in 1..ATTEMPTS_MAX {
        rig.take_one().await;
        rig.clock.advance(LEASE);
    }
    rig.take_one().await;
    rig.push(7).await;
    rig.clock.advance(LEASE);
    assert_eq!(rig.take_one().await.attempt, 1);
}

async fn a_key_whose_lease_has_expired_is_taken_alone(rig: Rig) {
    for id in 1..=3 {
        rig.push(id).await;
    }
    assert_eq!(ids_of(&rig.take(1).await), [1]);
    rig.clock.advance(LEASE);
    assert_eq!(ids_of(&rig.take(10).await), [2, 3], "the suspect does not go along");
    assert_eq!(ids_of(&rig.take(10).await), [1]);
    rig.clock.advance(LEASE);
    for id in [2, 3, 1] {
        assert_eq!(ids_of(&rig.take(10).await), [id], "now all are suspects");
    }
}

async fn a_run_that_ends_well_clears_the_suspicion(rig: Rig) {
    rig.push(1).await;
    rig.take_one().await;
    rig.clock.advance(LEASE);
    let suspect = rig.take_one().await;
    rig.push(1).await;
    rig.settle(&suspect, Settlement::Done).await;
    rig.push(2).await;
    assert_eq!(ids_of(&rig.take(10).await), [1, 2]);
}

async fn tokens_grow_also_over_a_crash(mut rig: Rig) {
    let mut last = 0;
    for round in 0..4 {
        rig.push(7).await;
        let lease = rig.take_one().await;
        assert!(lease.token > last, "round {round}");
        last = lease.token;
        rig.settle(&lease, Settlement::Done).await;
        rig.reopen().await;
    }
}

async fn a_crash_ends_every_lease_at_once_and_counts_the_attempt(mut rig: Rig) {
    rig.push(1).await;
    rig.push_to(2, 2, Lane::Scan).await;
    rig.take_one().await;
    rig.take_one().await;
    rig.reopen().await;
    assert_eq!(rig.ids(State::Waiting).await, [1, 2]);
    assert!(rig.list(State::Held).await.is_empty());
    assert_eq!(rig.take_one().await.attempt, 2);
    assert_eq!(rig.take_one().await.attempt, 2);
}

async fn a_unit_that_kills_its_process_ends_dead_and_not_in_a_loop(mut rig: Rig) {
    rig.push(7).await;
    for _ in 0..ATTEMPTS_MAX {
        rig.take_one().await;
        rig.reopen().await;
    }
    assert!(rig.take(1).await.is_empty());
    assert_eq!(rig.ids(State::Dead).await, [7]);
}

async fn leases_of_a_process_before_are_stale(mut rig: Rig) {
    rig.push(7).await;
    let old = rig.take_one().await;
    rig.reopen().await;
    assert_eq!(rig.settle(&old, Settlement::Done).await, Settled::Stale);
    assert_eq!(rig.take_one().await.attempt, 2);
}
