//! What operators see and do: counts, lists, retry, drop.

use cuelight::engine::queue::State;
use cuelight::work::Lane;

use super::*;

behaviours! {
    stats_count_every_state_and_the_oldest_event,
    a_push_that_comes_late_makes_its_key_as_old_as_it_is,
    lists_are_oldest_first_and_say_how_many_there_are,
    a_dead_key_can_be_retried,
    a_dead_key_can_be_dropped,
    only_the_dead_can_be_retried_or_dropped,
}

async fn stats_count_every_state_and_the_oldest_event(rig: Rig) {
    rig.kill(9).await;
    rig.advance(5);
    rig.push(1).await;
    rig.take_one().await;
    rig.push_to(2, 1, Lane::Scan).await;
    rig.advance(5);
    let oldest = rig.now();
    rig.push(3).await;
    rig.advance(5);
    rig.push(4).await;
    rig.push(3).await;
    let stats = rig.engine().stats().await.unwrap();
    assert_eq!((stats.waiting_event, stats.waiting_scan), (2, 1));
    assert_eq!((stats.held, stats.dead), (1, 1));
    assert_eq!(stats.oldest_event, Some(oldest));
    assert!(!stats.durability.is_empty());
}

async fn a_push_that_comes_late_makes_its_key_as_old_as_it_is(rig: Rig) {
    let late = rig.key(repo(7), 1, Lane::Event);
    rig.advance(5);
    rig.push(7).await;
    rig.push(8).await;
    rig.push_keys(vec![late.clone()]).await;
    let stats = rig.engine().stats().await.unwrap();
    assert_eq!(stats.oldest_event, Some(late.hint.first_seen));
}

async fn lists_are_oldest_first_and_say_how_many_there_are(rig: Rig) {
    for id in [4, 2, 8] {
        rig.kill(id).await;
    }
    assert_eq!(rig.ids(State::Dead).await, [4, 2, 8]);
    let (first, total) = rig.engine().list(State::Dead, 2).await.unwrap();
    assert_eq!((first.len(), total), (2, 3));
    assert_eq!((&first[0].key, first[0].state), (&repo(4), State::Dead));
    assert_eq!((first[0].lane, &first[0].account), (Lane::Event, &account(1)));
    for id in [3, 1] {
        rig.push(id).await;
    }
    assert_eq!(rig.ids(State::Waiting).await, [3, 1]);
    rig.take(2).await;
    assert_eq!(rig.ids(State::Held).await, [3, 1]);
}

async fn a_dead_key_can_be_retried(mut rig: Rig) {
    rig.kill(7).await;
    assert!(rig.engine().retry(repo(7)).await.unwrap());
    assert_eq!(rig.ids(State::Waiting).await, [7]);
    rig.reopen().await;
    let lease = rig.take_one().await;
    assert_eq!((lease.attempt, lease.lane), (1, Lane::Event));
}

async fn a_dead_key_can_be_dropped(rig: Rig) {
    rig.kill(7).await;
    assert!(Inspect::drop(&*rig.engine(), repo(7)).await.unwrap());
    assert!(rig.list(State::Dead).await.is_empty());
    assert!(!rig.engine().retry(repo(7)).await.unwrap());
}

async fn only_the_dead_can_be_retried_or_dropped(rig: Rig) {
    rig.push(1).await;
    rig.take_one().await;
    rig.push(2).await;
    for id in 1..=3 {
        assert!(!rig.engine().retry(repo(id)).await.unwrap());
        assert!(!Inspect::drop(&*rig.engine(), repo(id)).await.unwrap());
    }
    assert_eq!((rig.ids(State::Held).await, rig.ids(State::Waiting).await), (vec![1], vec![2]));
}
