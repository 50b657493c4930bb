//! What a push does to a key that is new, waiting, held or dead.

use cuelight::engine::queue::{Marked, Push, Pushed, Settled, Settlement, State};
use cuelight::work::{ATTEMPTS_MAX, HINT_PUSHES_MAX, Lane, Reasons};

use super::*;

behaviours! {
    a_pushed_key_is_taken_once,
    many_pushes_before_a_run_are_one_run,
    a_key_pushed_while_held_runs_again_with_that_hint_alone,
    many_pushes_during_a_run_are_one_more_run,
    hints_of_a_waiting_key_merge,
    a_push_takes_all_its_keys_or_none_twice,
    a_push_makes_a_waiting_retry_due_with_a_fresh_budget,
    a_push_makes_a_delayed_key_due_and_forgets_its_delays,
    a_push_revives_a_dead_key_with_a_fresh_budget,
    the_newest_push_says_whose_account_it_is,
    a_failed_run_that_was_pushed_meanwhile_is_due_at_once_with_both_hints,
    a_run_that_failed_for_good_but_was_pushed_meanwhile_waits,
    what_was_pushed_survives_a_crash,
    a_push_during_a_run_survives_a_crash,
}

async fn a_pushed_key_is_taken_once(rig: Rig) {
    assert_eq!(rig.push(7).await, Pushed::Accepted(vec![Marked::Queued]));
    let lease = rig.take_one().await;
    assert_eq!((id_of(&lease.key), lease.attempt, lease.delays), (7, 1, 0));
    assert_eq!((lease.lane, lease.account.clone()), (Lane::Event, account(1)));
    assert_eq!(lease.expires_at, rig.now() + LEASE);
    assert!(rig.take(10).await.is_empty());
    assert_eq!(rig.settle(&lease, Settlement::Done).await, Settled::Done);
    assert!(rig.take(10).await.is_empty());
}

async fn many_pushes_before_a_run_are_one_run(rig: Rig) {
    rig.push(7).await;
    for _ in 0..5 {
        assert_eq!(rig.push(7).await, Pushed::Accepted(vec![Marked::Merged]));
    }
    let lease = rig.take_one().await;
    assert_eq!(rig.settle(&lease, Settlement::Done).await, Settled::Done);
    assert!(rig.take(10).await.is_empty());
}

async fn a_key_pushed_while_held_runs_again_with_that_hint_alone(rig: Rig) {
    rig.push(7).await;
    let first = rig.take_one().await;
    rig.advance(1);
    let pushed = rig.now();
    let mut again = rig.key(repo(7), 1, Lane::Scan);
    again.hint = Hint::new(Reasons::SCAN, pushed);
    assert_eq!(rig.push_keys(vec![again]).await, Pushed::Accepted(vec![Marked::Merged]));
    assert!(rig.take(10).await.is_empty(), "nobody else may run it meanwhile");
    assert_eq!(rig.settle(&first, Settlement::Done).await, Settled::Waiting);
    let second = rig.take_one().await;
    assert_eq!(second.hint.reasons, Reasons::SCAN);
    assert_eq!((second.hint.first_seen, second.lane, second.attempt), (pushed, Lane::Scan, 1));
    assert!(second.token > first.token);
    assert_eq!(rig.settle(&second, Settlement::Done).await, Settled::Done);
}

async fn many_pushes_during_a_run_are_one_more_run(rig: Rig) {
    rig.push(7).await;
    let first = rig.take_one().await;
    for lane in [Lane::Scan, Lane::Event, Lane::Scan] {
        rig.push_to(7, 1, lane).await;
    }
    rig.settle(&first, Settlement::Done).await;
    let second = rig.take_one().await;
    assert_eq!(second.lane, Lane::Event, "the best lane of them");
    assert_eq!(rig.settle(&second, Settlement::Done).await, Settled::Done);
    assert!(rig.take(1).await.is_empty());
}

async fn hints_of_a_waiting_key_merge(rig: Rig) {
    let first_seen = rig.now();
    for n in 0..20 {
        let mut key = rig.key(repo(7), 1, Lane::Event);
        key.hint.reasons = if n == 0 { Reasons::CREATED } else { Reasons::PUSH };
        key.hint.pushes = vec![push_hint(n, n + 1)];
        rig.push_keys(vec![key]).await;
        rig.advance(1);
    }
    let lease = rig.take_one().await;
    assert_eq!(lease.hint.reasons, Reasons::CREATED.and(Reasons::PUSH));
    assert_eq!(lease.hint.first_seen, first_seen);
    assert_eq!(lease.hint.pushes.len(), HINT_PUSHES_MAX);
    assert_eq!(lease.hint.pushes.last().unwrap().after, oid(20));
}

async fn a_push_takes_all_its_keys_or_none_twice(rig: Rig) {
    let keys = vec![1, 2, 1].into_iter().map(|id| rig.key(repo(id), 1, Lane::Event)).collect();
    let marks = vec![Marked::Queued, Marked::Queued, Marked::Merged];
    assert_eq!(rig.push_keys(keys).await, Pushed::Accepted(marks));
    assert_eq!(rig.ids(State::Waiting).await, [1, 2]);
    let none = rig.engine().push(Push { delivery: None, keys: Vec::new() }).await.unwrap();
    assert_eq!(none, Pushed::Accepted(Vec::new()));
}

async fn a_push_makes_a_waiting_retry_due_with_a_fresh_budget(rig: Rig) {
    rig.push(7).await;
    let lease = rig.take_one().await;
    rig.settle(&lease, retry(600)).await;
    assert!(rig.take(1).await.is_empty());
    assert_eq!(rig.push(7).await, Pushed::Accepted(vec![Marked::Merged]));
    assert_eq!(rig.take_one().await.attempt, 1);
}

async fn a_push_makes_a_delayed_key_due_and_forgets_its_delays(rig: Rig) {
    rig.push(7).await;
    let lease = rig.take_one().await;
    rig.settle(&lease, delay(600)).await;
    rig.push(7).await;
    let lease = rig.take_one().await;
    assert_eq!((lease.attempt, lease.delays), (1, 0));
}

async fn a_push_revives_a_dead_key_with_a_fresh_budget(rig: Rig) {
    rig.kill(7).await;
    let entry = rig.list(State::Dead).await.remove(0);
    assert_eq!((entry.attempts, entry.error.as_deref()), (1, Some("broken")));
    assert_eq!(rig.push_to(7, 2, Lane::Scan).await, Pushed::Accepted(vec![Marked::Queued]));
    let lease = rig.take_one().await;
    assert_eq!((lease.attempt, lease.lane, lease.account), (1, Lane::Scan, account(2)));
    assert!(rig.list(State::Dead).await.is_empty());
}

async fn the_newest_push_says_whose_account_it_is(rig: Rig) {
    rig.push_to(7, 1, Lane::Event).await;
    rig.push_to(7, 2, Lane::Event).await;
    let lease = rig.take_one().await;
    assert_eq!(lease.account, account(2));
    rig.push_to(7, 3, Lane::Event).await;
    rig.settle(&lease, retry(60)).await;
    assert_eq!(rig.take_one().await.account, account(3));
}

async fn a_failed_run_that_was_pushed_meanwhile_is_due_at_once_with_both_hints(rig: Rig) {
    for how in [retry(60), delay(60), Settlement::Release] {
        let mut first = rig.key(repo(7), 1, Lane::Scan);
        first.hint.reasons = Reasons::SCAN;
        rig.push_keys(vec![first]).await;
        let lease = rig.take_one().await;
        rig.push_to(7, 1, Lane::Event).await;
        assert_eq!(rig.settle(&lease, how).await, Settled::Waiting);
        let lease = rig.take_one().await;
        assert_eq!(lease.hint.reasons, Reasons::SCAN.and(Reasons::PUSH));
        assert_eq!((lease.lane, lease.attempt, lease.delays), (Lane::Event, 1, 0));
        rig.settle(&lease, Settlement::Done).await;
    }
}

async fn a_run_that_failed_for_good_but_was_pushed_meanwhile_waits(rig: Rig) {
    rig.push(7).await;
    let lease = rig.take_one().await;
    rig.push(7).await;
    assert_eq!(rig.settle(&lease, dead("gone")).await, Settled::Waiting);
    for attempt in 1..ATTEMPTS_MAX {
        let lease = rig.take_one().await;
        assert_eq!(lease.attempt, attempt);
        rig.settle(&lease, retry(0)).await;
    }
    let lease = rig.take_one().await;
    rig.push(7).await;
    assert_eq!(rig.settle(&lease, retry(60)).await, Settled::Waiting);
    assert_eq!(rig.take_one().await.attempt, 1);
}

async fn what_was_pushed_survives_a_crash(mut rig: Rig) {
    rig.push(7).await;
    rig.push_to(8, 2, Lane::Scan).await;
    rig.reopen().await;
    assert_eq!(rig.ids(State::Waiting).await, [7, 8]);
    assert_eq!(rig.take_one().await.key, repo(7));
}

async fn a_push_during_a_run_survives_a_crash(mut rig: Rig) {
    let mut first = rig.key(repo(7), 1, Lane::Scan);
    first.hint.reasons = Reasons::SCAN;
    rig.push_keys(vec![first]).await;
    rig.take_one().await;
    rig.push(7).await;
    rig.reopen().await;
    let lease = rig.take_one().await;
    assert_eq!(lease.hint.reasons, Reasons::SCAN.and(Reasons::PUSH));
    assert_eq!((lease.lane, lease.attempt), (Lane::Event, 1));
}
