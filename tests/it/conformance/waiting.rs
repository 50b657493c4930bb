//! Waking up: nobody polls, nothing is missed, and time that comes due wakes by itself.

use cuelight::engine::queue::Settlement;

use tokio::task::JoinHandle;

use super::*;

behaviours! {
    a_wait_ends_with_a_push,
    a_push_before_the_wait_is_not_missed,
    a_wait_ends_at_its_timeout,
    a_wait_ends_when_a_retry_comes_due,
    a_wait_ends_when_a_lease_or_a_gate_ends,
    a_take_that_leaves_keys_behind_wakes_the_next,
    a_wait_ends_with_a_retried_key,
    a_wait_ends_with_an_approved_key,
    a_wait_for_changes_ends_with_a_change,
    a_wait_for_changes_that_are_there_is_none,
    a_wait_for_changes_ends_at_its_timeout,
}

const LONG: Duration = Duration::from_secs(3600);

/// Begins a wait and returns once it waits for the clock.
async fn begin(rig: &Rig, timeout: Duration) -> JoinHandle<()> {
    let (engine, slept) = (rig.engine(), rig.clock.slept());
    asleep(rig, slept, tokio::spawn(async move { engine.wait(timeout).await })).await
}

/// The same for changes after `after`.
async fn begin_change(rig: &Rig, after: u64, timeout: Duration) -> JoinHandle<()> {
    let (engine, slept) = (rig.engine(), rig.clock.slept());
    asleep(rig, slept, tokio::spawn(async move { engine.wait_change(after, timeout).await })).await
}

async fn asleep(rig: &Rig, slept: u64, waiting: JoinHandle<()>) -> JoinHandle<()> {
    while rig.clock.slept() == slept {
        assert!(!waiting.is_finished(), "there was nothing to wait for");
        tokio::task::yield_now().await;
    }
    waiting
}

/// Lets the wait end; a wait that does not is a failure and not a hang.
async fn ends(waiting: JoinHandle<()>) {
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it waits on").unwrap();
}

/// Takes the wake-up that an earlier push has left.
async fn settle_down(rig: &Rig) {
    let (engine, clock) = (rig.engine(), Arc::clone(&rig.clock));
    let waiting = tokio::spawn(async move { engine.wait(Duration::from_millis(1)).await });
    tokio::task::yield_now().await;
    clock.advance(Duration::from_millis(1));
    ends(waiting).await;
}

async fn a_wait_ends_with_a_push(rig: Rig) {
    let waiting = begin(&rig, LONG).await;
    assert!(!waiting.is_finished());
    rig.push(7).await;
    ends(waiting).await;
}

async fn a_push_before_the_wait_is_not_missed(rig: Rig) {
    assert!(rig.take(1).await.is_empty());
    rig.push(7).await;
    let engine = rig.engine();
    ends(tokio::spawn(async move { engine.wait(LONG).await })).await;
}

async fn a_wait_ends_at_its_timeout(rig: Rig) {
    let waiting = begin(&rig, Duration::from_secs(10)).await;
    rig.advance(10);
    ends(waiting).await;
}

async fn a_wait_ends_when_a_retry_comes_due(rig: Rig) {
    rig.push(7).await;
    let lease = rig.take_one().await;
    settle_down(&rig).await;
    rig.settle(&lease, retry(5)).await;
    settle_down(&rig).await;
    let waiting = begin(&rig, LONG).await;
    rig.advance(5);
    ends(waiting).await;
    assert_eq!(rig.take_one().await.attempt, 2);
}

async fn a_wait_ends_when_a_lease_or_a_gate_ends(rig: Rig) {
    rig.push(7).await;
    rig.take_one().await;
    settle_down(&rig).await;
    let waiting = begin(&rig, LONG).await;
    rig.clock.advance(LEASE);
    ends(waiting).await;
    let lease = rig.take_one().await;
    let until = rig.now() + Duration::from_secs(7);
    rig.engine().gate(account(1), until, "rate limit".into()).await.unwrap();
    rig.settle(&lease, Settlement::Release).await;
    settle_down(&rig).await;
    settle_down(&rig).await;
    let waiting = begin(&rig, LONG).await;
    assert!(rig.take(1).await.is_empty(), "who waits opens no gate");
    rig.advance(7);
    ends(waiting).await;
    rig.take_one().await;
}

async fn a_take_that_leaves_keys_behind_wakes_the_next(rig: Rig) {
    let keys = (1..=3).map(|id| rig.key(repo(id), 1, Lane::Event)).collect();
    rig.push_keys(keys).await;
    settle_down(&rig).await;
    for _ in 0..2 {
        let waiting = begin(&rig, LONG).await;
        rig.take_one().await;
        ends(waiting).await;
    }
}

async fn a_wait_ends_with_a_retried_key(rig: Rig) {
    rig.kill(7).await;
    settle_down(&rig).await;
    let waiting = begin(&rig, LONG).await;
    assert!(rig.engine().retry(repo(7)).await.unwrap());
    ends(waiting).await;
}

async fn a_wait_ends_with_an_approved_key(rig: Rig) {
    let waiting = begin(&rig, LONG).await;
    rig.engine().approve(vec![rig.key(repo(7), 1, Lane::Event)]).await.unwrap();
    ends(waiting).await;
}

async fn a_wait_for_changes_ends_with_a_change(rig: Rig) {
    let waiting = begin_change(&rig, 0, LONG).await;
    rig.push(1).await;
    assert!(!waiting.is_finished());
    rig.store(1, &["a"]).await;
    ends(waiting).await;
}

async fn a_wait_for_changes_that_are_there_is_none(mut rig: Rig) {
    rig.store(1, &["a"]).await;
    rig.engine().wait_change(0, LONG).await;
    rig.reopen().await;
    rig.engine().wait_change(0, LONG).await;
}

async fn a_wait_for_changes_ends_at_its_timeout(rig: Rig) {
    rig.store(1, &["a"]).await;
    let waiting = begin_change(&rig, 1, Duration::from_secs(9)).await;
    rig.advance(9);
    ends(waiting).await;
}
