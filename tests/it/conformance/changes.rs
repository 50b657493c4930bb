//! The change log.

use cuelight::engine::store::Seq;

use super::*;

behaviours! {
    every_write_is_a_change,
    a_repository_is_in_the_log_once_with_its_newest_change,
    the_log_is_read_in_pages,
    a_log_that_no_longer_reaches_back_says_so,
    a_position_beyond_the_end_is_not_of_this_log,
    the_log_survives_a_crash,
}

/// The log after a position: sequence number, repository, whether it has a record.
async fn changes(rig: &Rig, after: Seq) -> Option<Vec<(Seq, u64, bool)>> {
    let entries = rig.engine().changes(after, 100).await.unwrap()?;
    Some(entries.into_iter().map(|e| (e.seq, e.key.id.0, e.record.is_some())).collect())
}

async fn every_write_is_a_change(rig: Rig) {
    assert_eq!(changes(&rig, 0).await, Some(vec![]));
    rig.store(1, &["a"]).await;
    rig.store(2, &[]).await;
    rig.write(1, Change::Remove, Cause::Event).await;
    assert_eq!(changes(&rig, 0).await, Some(vec![(2, 2, true), (3, 1, false)]));
    assert_eq!(changes(&rig, 2).await, Some(vec![(3, 1, false)]));
    assert_eq!(changes(&rig, 3).await, Some(vec![]));
    assert_eq!(rig.engine().last_seq().await.unwrap(), 3);
}

async fn a_repository_is_in_the_log_once_with_its_newest_change(rig: Rig) {
    for name in ["a", "b", "c"] {
        rig.store(1, &[name]).await;
    }
    let entries = rig.engine().changes(0, 100).await.unwrap().unwrap();
    assert_eq!(entries.len(), 1);
    let record = entries[0].record.as_ref().unwrap();
    assert_eq!((entries[0].seq, record.seq), (3, 3));
    assert_eq!(record.files[0].entities[1].entity.entity_ref, "component:default/c");
}

async fn the_log_is_read_in_pages(rig: Rig) {
    for id in 1..=5 {
        rig.store(id, &["a"]).await;
    }
    let page = rig.engine().changes(1, 2).await.unwrap().unwrap();
    assert_eq!(page.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [2, 3]);
}

async fn a_log_that_no_longer_reaches_back_says_so(rig: Rig) {
    let max = LIMITS.change_rows_max;
    for id in 1..=max {
        rig.store(id, &["a"]).await;
    }
    assert_eq!(changes(&rig, 0).await.unwrap().len() as u64, max);
    rig.store(3, &["b"]).await;
    assert!(changes(&rig, 0).await.is_some(), "nothing was forgotten");
    rig.store(max + 1, &["a"]).await;
    assert_eq!(changes(&rig, 0).await, None, "change 1 was");
    let rest = changes(&rig, 1).await.unwrap();
    assert_eq!((rest.len() as u64, rest[0].0), (max, 2));
}

async fn a_position_beyond_the_end_is_not_of_this_log(rig: Rig) {
    rig.store(1, &["a"]).await;
    assert_eq!(changes(&rig, 2).await, None);
    assert_eq!(changes(&rig, Seq::MAX).await, None);
}

async fn the_log_survives_a_crash(mut rig: Rig) {
    for id in 1..=LIMITS.change_rows_max + 1 {
        rig.store(id, &["a"]).await;
    }
    rig.reopen().await;
    assert_eq!(changes(&rig, 0).await, None);
    assert_eq!(changes(&rig, 1).await.unwrap().len() as u64, LIMITS.change_rows_max);
    rig.store(50, &["a"]).await;
    assert_eq!(changes(&rig, 1).await, None);
    assert_eq!(rig.engine().last_seq().await.unwrap(), LIMITS.change_rows_max + 2);
}
