//! Approvals of removals that the brake holds, or would hold.

use cuelight::engine::queue::{Settled, State};
use cuelight::engine::store::APPROVAL_KEEP;

use super::*;

behaviours! {
    an_approved_loss_passes_once_and_is_not_counted,
    approving_brings_the_keys_that_confirm_it,
    an_approval_holds_for_exactly_its_repositories,
    an_approval_holds_for_the_account_it_was_given_for,
    entities_that_are_still_there_end_the_approval,
    an_approval_ends_after_its_time,
    an_approval_survives_a_crash,
    a_failed_run_keeps_the_approval,
    summaries_tell_what_is_approved_until_it_is_written,
}

const GONE: Applied = Applied::Held(Settled::Done);

/// Six repositories more than may go at once, and those that may are gone.
async fn exhausted(rig: &Rig) {
    for id in 0..12 {
        rig.store(id, &["a"]).await;
    }
    for id in 0..5 {
        assert!(written(remove(rig, id).await), "{id}");
    }
}

async fn remove(rig: &Rig, id: u64) -> Applied {
    rig.write(id, Change::Remove, Cause::Other).await
}

async fn approve(rig: &Rig, ids: &[u64]) {
    let keys = ids.iter().map(|id| rig.key(repo(*id), 1, Lane::Event)).collect();
    let until = rig.engine().approve(keys).await.unwrap();
    assert_eq!(until, rig.now() + APPROVAL_KEEP);
}

/// Runs the next key, which removes its repository.
async fn confirm(rig: &Rig) -> Applied {
    let lease = rig.take_one().await;
    rig.apply(&lease, Change::Remove, Cause::Other).await
}

async fn held(rig: &Rig) -> Vec<u64> {
    rig.engine().held().await.unwrap().iter().map(|held| held.key.id.0).collect()
}

fn written(applied: Applied) -> bool {
    matches!(applied, Applied::Written(Some(_), Settled::Done))
}

async fn an_approved_loss_passes_once_and_is_not_counted(rig: Rig) {
    exhausted(&rig).await;
    assert_eq!(remove(&rig, 5).await, GONE);
    approve(&rig, &[5]).await;
    assert_eq!(held(&rig).await, [5], "until the read confirms it");
    assert!(written(confirm(&rig).await));
    assert!(held(&rig).await.is_empty());
    rig.store(5, &["a"]).await;
    assert_eq!(remove(&rig, 5).await, GONE, "once");
    rig.clock.advance(cuelight::engine::store::BRAKE_WINDOW);
    approve(&rig, &[6]).await;
    assert!(written(confirm(&rig).await));
    for id in [7, 8, 9, 10, 11] {
        assert!(written(remove(&rig, id).await), "{id}: the approved one is not counted");
    }
}

async fn approving_brings_the_keys_that_confirm_it(rig: Rig) {
    exhausted(&rig).await;
    approve(&rig, &[5, 7, 6]).await;
    assert_eq!(rig.ids(State::Waiting).await, [5, 7, 6]);
    for _ in 0..3 {
        assert!(written(confirm(&rig).await));
    }
}

async fn an_approval_holds_for_exactly_its_repositories(rig: Rig) {
    exhausted(&rig).await;
    approve(&rig, &[5]).await;
    assert!(written(confirm(&rig).await));
    assert_eq!(remove(&rig, 6).await, GONE);
}

async fn an_approval_holds_for_the_account_it_was_given_for(rig: Rig) {
    exhausted(&rig).await;
    let other = rig.key(repo(5), 2, Lane::Event);
    rig.engine().approve(vec![other]).await.unwrap();
    assert_eq!(confirm(&rig).await, GONE);
}

async fn entities_that_are_still_there_end_the_approval(rig: Rig) {
    exhausted(&rig).await;
    assert_eq!(remove(&rig, 5).await, GONE);
    approve(&rig, &[5]).await;
    let lease = rig.take_one().await;
    assert!(written(rig.apply(&lease, put(record(5, &["a"])), Cause::Other).await));
    assert!(held(&rig).await.is_empty());
    assert_eq!(remove(&rig, 5).await, GONE);
}

async fn an_approval_ends_after_its_time(rig: Rig) {
    exhausted(&rig).await;
    assert_eq!(remove(&rig, 5).await, GONE);
    approve(&rig, &[5]).await;
    rig.clock.advance(APPROVAL_KEEP);
    assert_eq!(confirm(&rig).await, GONE);
    approve(&rig, &[5]).await;
    rig.clock.advance(APPROVAL_KEEP - Duration::from_millis(1));
    assert!(written(confirm(&rig).await));
}

async fn an_approval_survives_a_crash(mut rig: Rig) {
    exhausted(&rig).await;
    approve(&rig, &[5]).await;
    rig.reopen().await;
    assert!(written(confirm(&rig).await));
}

async fn a_failed_run_keeps_the_approval(rig: Rig) {
    exhausted(&rig).await;
    approve(&rig, &[5]).await;
    let lease = rig.take_one().await;
    assert_eq!(rig.settle(&lease, retry(10)).await, Settled::Waiting);
    rig.advance(10);
    assert!(written(confirm(&rig).await));
}

async fn summaries_tell_what_is_approved_until_it_is_written(rig: Rig) {
    exhausted(&rig).await;
    approve(&rig, &[5, 6, 7]).await;
    let approved = async || {
        let summaries = rig.engine().summaries(account(1)).await.unwrap();
        let approved = summaries.iter().filter(|summary| summary.is_approved);
        approved.map(|summary| summary.key.id.0).collect::<Vec<_>>()
    };
    assert_eq!(approved().await, [5, 6, 7]);
    confirm(&rig).await;
    let lease = rig.take_one().await;
    rig.apply(&lease, put(record(6, &["a"])), Cause::Other).await;
    assert_eq!(approved().await, [7]);
    rig.clock.advance(APPROVAL_KEEP);
    assert_eq!(approved().await, [0_u64; 0]);
}
