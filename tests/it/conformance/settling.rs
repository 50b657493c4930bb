//! How a run may end.

use cuelight::engine::queue::{ERROR_CHARS_MAX, Settled, Settlement, State};
use cuelight::work::{ATTEMPTS_MAX, Lane};

use super::*;

behaviours! {
    a_retry_waits_its_time_and_counts,
    the_last_failed_attempt_is_death,
    death_is_at_once_and_says_why,
    a_delay_waits_its_time_and_costs_no_attempt,
    a_released_key_is_back_in_its_place_and_costs_nothing,
    a_batch_is_settled_in_order,
    a_retried_key_goes_to_the_end,
    a_long_error_is_cut,
}

async fn a_retry_waits_its_time_and_counts(rig: Rig) {
    rig.push(7).await;
    let lease = rig.take_one().await;
    assert_eq!(rig.settle(&lease, retry(60)).await, Settled::Waiting);
    let entry = rig.list(State::Waiting).await.remove(0);
    assert_eq!((entry.attempts, entry.error.as_deref()), (1, Some("no answer")));
    assert_eq!(entry.at, rig.now() + Duration::from_secs(60));
    rig.advance(59);
    assert!(rig.take(1).await.is_empty());
    rig.advance(1);
    assert_eq!(rig.take_one().await.attempt, 2);
}

async fn the_last_failed_attempt_is_death(rig: Rig) {
    rig.push(7).await;
    for attempt in 1..ATTEMPTS_MAX {
        let lease = rig.take_one().await;
        assert_eq!(lease.attempt, attempt);
        assert_eq!(rig.settle(&lease, retry(0)).await, Settled::Waiting);
    }
    let lease = rig.take_one().await;
    assert_eq!(rig.settle(&lease, retry(0)).await, Settled::Dead);
    assert!(rig.take(1).await.is_empty());
    assert_eq!(rig.list(State::Dead).await[0].attempts, ATTEMPTS_MAX);
}

async fn death_is_at_once_and_says_why(rig: Rig) {
    rig.push(7).await;
    let lease = rig.take_one().await;
    rig.advance(3);
    assert_eq!(rig.settle(&lease, dead("no such App")).await, Settled::Dead);
    let entry = rig.list(State::Dead).await.remove(0);
    assert_eq!((entry.error.as_deref(), entry.at), (Some("no such App"), rig.now()));
}

async fn a_delay_waits_its_time_and_costs_no_attempt(rig: Rig) {
    rig.push(7).await;
    for delays in 0..2 * ATTEMPTS_MAX {
        let lease = rig.take_one().await;
        assert_eq!((lease.attempt, lease.delays), (1, delays));
        assert_eq!(rig.settle(&lease, delay(10)).await, Settled::Waiting);
        rig.advance(9);
        assert!(rig.take(1).await.is_empty());
        rig.advance(1);
    }
}

async fn a_released_key_is_back_in_its_place_and_costs_nothing(rig: Rig) {
    for id in 1..=3 {
        rig.push(id).await;
    }
    let leases = rig.take(2).await;
    for lease in leases.iter().rev() {
        assert_eq!(rig.settle(lease, Settlement::Release).await, Settled::Waiting);
    }
    let again = rig.take(10).await;
    assert_eq!(ids_of(&again), [1, 2, 3]);
    assert!(again.iter().all(|lease| (lease.attempt, lease.delays) == (1, 0)));
}

async fn a_batch_is_settled_in_order(rig: Rig) {
    for id in 1..=4 {
        rig.push(id).await;
    }
    let leases = rig.take(4).await;
    let how = [Settlement::Done, retry(9), dead("x")];
    let mut batch: Vec<_> = leases.iter().map(LeaseRef::from).zip(how).collect();
    batch.push((stale_ref(&leases[3]), Settlement::Done));
    let settled = rig.engine().settle(batch).await.unwrap();
    assert_eq!(settled, [Settled::Done, Settled::Waiting, Settled::Dead, Settled::Stale]);
    assert_eq!(rig.ids(State::Held).await, [4]);
}

async fn a_retried_key_goes_to_the_end(rig: Rig) {
    rig.push(1).await;
    rig.push(2).await;
    let lease = rig.take_one().await;
    rig.settle(&lease, retry(1)).await;
    rig.push_to(3, 1, Lane::Event).await;
    rig.advance(1);
    assert_eq!(ids_of(&rig.take(10).await), [2, 1, 3]);
}

async fn a_long_error_is_cut(rig: Rig) {
    rig.push(7).await;
    let lease = rig.take_one().await;
    rig.settle(&lease, dead(&"é".repeat(5000))).await;
    let error = rig.list(State::Dead).await.remove(0).error.unwrap();
    assert_eq!(error, "é".repeat(ERROR_CHARS_MAX));
}
