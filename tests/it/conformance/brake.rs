//! The brake on removals.

use cuelight::engine::queue::{Settled, State};
use cuelight::engine::store::{BRAKE_WINDOW, allowance};

use super::*;

behaviours! {
    five_may_go_within_an_hour_and_the_sixth_is_held,
    a_tenth_may_go_when_that_is_more,
    a_file_without_entities_is_a_loss_too,
    a_removal_that_an_event_named_passes_and_does_not_count,
    the_window_rolls,
    a_held_repository_stays_held_when_the_window_has_passed,
    an_event_releases_a_held_repository,
    entities_that_come_back_lift_the_hold,
    accounts_have_brakes_of_their_own,
    a_generated_location_is_no_entity_of_the_owner,
    a_hold_survives_a_crash_and_so_does_the_count,
    a_repository_that_came_back_counts_once,
}

const GONE: Applied = Applied::Held(Settled::Done);

async fn fill(rig: &Rig, ids: std::ops::Range<u64>) {
    for id in ids {
        rig.store(id, &["a"]).await;
    }
}

async fn remove(rig: &Rig, id: u64) -> Applied {
    rig.write(id, Change::Remove, Cause::Other).await
}

async fn held(rig: &Rig) -> Vec<u64> {
    rig.engine().held().await.unwrap().iter().map(|held| held.key.id.0).collect()
}

fn written(applied: Applied) -> bool {
    matches!(applied, Applied::Written(Some(_), Settled::Done))
}

async fn five_may_go_within_an_hour_and_the_sixth_is_held(rig: Rig) {
    fill(&rig, 0..10).await;
    for id in 0..5 {
        assert!(written(remove(&rig, id).await), "{id}");
    }
    let since = rig.now();
    assert_eq!(remove(&rig, 5).await, GONE);
    rig.advance(1);
    assert_eq!(remove(&rig, 6).await, GONE);
    assert_eq!(remove(&rig, 5).await, GONE);
    assert!(rig.list(State::Held).await.is_empty(), "the key is settled");
    let entries = rig.engine().held().await.unwrap();
    assert_eq!(held(&rig).await, [5, 6]);
    assert_eq!((entries[0].since, &entries[0].account), (since, &account(1)));
    assert_eq!(entries[0].full_name.as_str(), "acme/repo-5");
    let kept = rig.engine().get(vec![repo_key(5)]).await.unwrap();
    assert_eq!(kept[0].as_ref().unwrap().seq, 6, "the record is as it was");
    assert_eq!(rig.engine().last_seq().await.unwrap(), 15);
}

async fn a_tenth_may_go_when_that_is_more(rig: Rig) {
    assert_eq!([0, 50, 51, 61, 600].map(allowance), [5, 5, 6, 7, 60]);
    fill(&rig, 0..61).await;
    for id in 0..7 {
        assert!(written(remove(&rig, id).await), "{id}");
    }
    assert_eq!(remove(&rig, 7).await, GONE);
}

async fn a_file_without_entities_is_a_loss_too(rig: Rig) {
    fill(&rig, 0..6).await;
    for id in 0..5 {
        assert!(written(rig.store(id, &[]).await), "{id}");
    }
    assert_eq!(rig.store(5, &[]).await, GONE);
    assert!(written(rig.store(0, &[]).await), "it had none to lose");
    assert!(written(remove(&rig, 0).await));
}

async fn a_removal_that_an_event_named_passes_and_does_not_count(rig: Rig) {
    fill(&rig, 0..20).await;
    for id in 0..10 {
        assert!(written(rig.write(id, Change::Remove, Cause::Event).await));
    }
    for id in 10..15 {
        assert!(written(remove(&rig, id).await));
    }
    assert_eq!(remove(&rig, 15).await, GONE);
    assert!(written(rig.write(16, Change::Remove, Cause::Event).await));
}

async fn the_window_rolls(rig: Rig) {
    fill(&rig, 0..10).await;
    for id in 0..5 {
        remove(&rig, id).await;
        rig.advance(1);
    }
    rig.clock.advance(BRAKE_WINDOW - Duration::from_millis(5001));
    assert_eq!(remove(&rig, 5).await, GONE);
    rig.clock.advance(Duration::from_millis(1));
    assert!(written(remove(&rig, 6).await), "the first one is an hour ago");
    assert_eq!(remove(&rig, 7).await, GONE);
}

async fn a_held_repository_stays_held_when_the_window_has_passed(rig: Rig) {
    fill(&rig, 0..6).await;
    for id in 0..6 {
        remove(&rig, id).await;
    }
    rig.clock.advance(2 * BRAKE_WINDOW);
    assert_eq!(remove(&rig, 5).await, GONE);
    assert_eq!(held(&rig).await, [5]);
}

async fn an_event_releases_a_held_repository(rig: Rig) {
    fill(&rig, 0..6).await;
    for id in 0..6 {
        remove(&rig, id).await;
    }
    assert!(written(rig.write(5, Change::Remove, Cause::Event).await));
    assert!(held(&rig).await.is_empty());
}

async fn entities_that_come_back_lift_the_hold(rig: Rig) {
    fill(&rig, 0..6).await;
    for id in 0..6 {
        remove(&rig, id).await;
    }
    assert_eq!(held(&rig).await, [5]);
    assert!(written(rig.store(5, &["a"]).await));
    assert!(held(&rig).await.is_empty());
    rig.clock.advance(BRAKE_WINDOW);
    assert!(written(remove(&rig, 5).await));
}

async fn accounts_have_brakes_of_their_own(rig: Rig) {
    fill(&rig, 0..6).await;
    let mut other = record(50, &["a"]);
    other.account = account(2);
    rig.write(50, put(other), Cause::Other).await;
    for id in 0..6 {
        remove(&rig, id).await;
    }
    assert!(written(remove(&rig, 50).await));
}

async fn a_generated_location_is_no_entity_of_the_owner(rig: Rig) {
    for id in 0..8 {
        rig.store(id, &[]).await;
    }
    for id in 0..8 {
        assert!(written(remove(&rig, id).await));
    }
}

async fn a_hold_survives_a_crash_and_so_does_the_count(mut rig: Rig) {
    fill(&rig, 0..8).await;
    for id in 0..6 {
        remove(&rig, id).await;
    }
    rig.reopen().await;
    assert_eq!(held(&rig).await, [5]);
    assert_eq!(remove(&rig, 6).await, GONE);
}

async fn a_repository_that_came_back_counts_once(rig: Rig) {
    fill(&rig, 0..8).await;
    for _ in 0..4 {
        assert!(written(remove(&rig, 0).await));
        assert!(written(rig.store(0, &["a"]).await));
    }
    for id in 1..5 {
        assert!(written(remove(&rig, id).await), "{id}");
    }
    assert_eq!(remove(&rig, 5).await, GONE);
}
