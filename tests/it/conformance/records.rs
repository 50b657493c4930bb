//! Records: the fence, what is stored, what is read back.

use cuelight::engine::dependency::{Dependency, Depends, Found, Place};
use cuelight::engine::queue::{Settled, Settlement, State};
use cuelight::engine::record::Included;
use cuelight::ids::Oid;

use super::*;

behaviours! {
    a_stored_record_is_read_back_also_after_a_crash,
    a_write_settles_its_key,
    a_write_by_a_lost_lease_changes_nothing,
    a_write_of_another_repository_is_refused,
    a_write_by_a_lease_on_another_kind_of_key_is_refused,
    a_write_during_which_the_key_was_pushed_runs_again,
    a_claim_keeps_its_number_while_it_lasts,
    a_removed_record_is_gone_and_claims_afresh,
    removing_what_is_not_there_writes_nothing,
    texts_are_kept_for_the_files_there_are,
    records_come_in_pages_in_key_order,
    summaries_are_of_one_account,
    what_a_record_depends_on_is_kept_with_its_texts_and_told_in_its_summary,
    a_transferred_record_changes_accounts,
}

async fn get(rig: &Rig, id: u64) -> Option<RepoRecord> {
    rig.engine().get(vec![repo_key(id)]).await.unwrap().remove(0)
}

async fn a_stored_record_is_read_back_also_after_a_crash(mut rig: Rig) {
    assert_eq!(get(&rig, 1).await, None);
    assert_eq!(rig.store(1, &["a", "b"]).await, Applied::Written(Some(1), Settled::Done));
    assert_eq!(rig.store(2, &[]).await, Applied::Written(Some(2), Settled::Done));
    let mut expected = record(1, &["a", "b"]);
    expected.assign_seq(None, 1);
    assert_eq!(get(&rig, 1).await.as_ref(), Some(&expected));
    rig.reopen().await;
    let keys = vec![repo_key(2), repo_key(3), repo_key(1)];
    let read = rig.engine().get(keys).await.unwrap();
    assert_eq!(read[0].as_ref().unwrap().seq, 2);
    assert_eq!((&read[1], read[2].as_ref()), (&None, Some(&expected)));
    assert_eq!(rig.engine().last_seq().await.unwrap(), 2);
}

async fn a_write_settles_its_key(rig: Rig) {
    rig.push(1).await;
    let lease = rig.take_one().await;
    let apply = Apply {
        lease: (&lease).into(),
        change: put(record(1, &["a"])),
        settlement: delay(60),
        cause: Cause::Other,
    };
    let applied = rig.engine().apply(apply).await.unwrap();
    assert_eq!(applied, Applied::Written(Some(1), Settled::Waiting));
    assert_eq!(rig.list(State::Waiting).await[0].at, rig.now() + Duration::from_secs(60));
    rig.advance(60);
    let lease = rig.take_one().await;
    let applied = rig.apply(&lease, Change::Remove, Cause::Event).await;
    assert_eq!(applied, Applied::Written(Some(2), Settled::Done));
    assert!(rig.list(State::Waiting).await.is_empty());
}

async fn a_write_by_a_lost_lease_changes_nothing(rig: Rig) {
    rig.store(1, &["a"]).await;
    rig.push(1).await;
    let old = rig.take_one().await;
    rig.clock.advance(LEASE);
    assert_eq!(rig.apply(&old, put(record(1, &["x"])), Cause::Event).await, Applied::Stale);
    let new = rig.take_one().await;
    assert_eq!(rig.apply(&old, Change::Remove, Cause::Event).await, Applied::Stale);
    assert_eq!(get(&rig, 1).await.unwrap().seq, 1);
    let applied = rig.apply(&new, put(record(1, &["b"])), Cause::Other).await;
    assert_eq!(applied, Applied::Written(Some(2), Settled::Done));
    assert_eq!(rig.apply(&new, put(record(1, &["c"])), Cause::Other).await, Applied::Stale);
}

async fn a_write_of_another_repository_is_refused(rig: Rig) {
    rig.push(1).await;
    let lease = rig.take_one().await;
    assert_eq!(rig.apply(&lease, put(record(2, &["a"])), Cause::Event).await, Applied::Stale);
    assert_eq!(get(&rig, 2).await, None);
    assert_eq!(rig.ids(State::Held).await, [1]);
}

async fn a_write_by_a_lease_on_another_kind_of_key_is_refused(rig: Rig) {
    rig.push_keys(vec![rig.key(WorkKey::Scan(account(1)), 1, Lane::Event)]).await;
    let lease = rig.take_one().await;
    assert_eq!(rig.apply(&lease, put(record(1, &["a"])), Cause::Event).await, Applied::Stale);
    assert_eq!(rig.engine().last_seq().await.unwrap(), 0);
}

async fn a_write_during_which_the_key_was_pushed_runs_again(rig: Rig) {
    rig.push(1).await;
    let lease = rig.take_one().await;
    rig.push(1).await;
    let applied = rig.apply(&lease, put(record(1, &["a"])), Cause::Other).await;
    assert_eq!(applied, Applied::Written(Some(1), Settled::Waiting));
    let again = rig.take_one().await;
    assert_eq!(rig.settle(&again, Settlement::Done).await, Settled::Done);
}

async fn claims(rig: &Rig, id: u64) -> Vec<(String, u64)> {
    let record = get(rig, id).await.unwrap();
    let claims = record.files.into_iter().flat_map(|file| file.entities);
    claims.filter(|c| !c.entity.generated).map(|c| (c.entity.entity_ref, c.claimed_seq)).collect()
}

async fn a_claim_keeps_its_number_while_it_lasts(rig: Rig) {
    let named = |name: &str, seq| (format!("component:default/{name}"), seq);
    rig.store(1, &["a", "b"]).await;
    rig.store(1, &["b", "c"]).await;
    assert_eq!(claims(&rig, 1).await, [named("b", 1), named("c", 2)]);
    rig.store(1, &["a", "b"]).await;
    assert_eq!(claims(&rig, 1).await, [named("a", 3), named("b", 1)]);
}

async fn a_removed_record_is_gone_and_claims_afresh(rig: Rig) {
    rig.store(1, &["a"]).await;
    let applied = rig.write(1, Change::Remove, Cause::Event).await;
    assert_eq!(applied, Applied::Written(Some(2), Settled::Done));
    assert_eq!(get(&rig, 1).await, None);
    assert!(rig.engine().summaries(account(1)).await.unwrap().is_empty());
    rig.store(1, &["a"]).await;
    assert_eq!(claims(&rig, 1).await, [("component:default/a".to_owned(), 3)]);
}

async fn removing_what_is_not_there_writes_nothing(rig: Rig) {
    let applied = rig.write(1, Change::Remove, Cause::Other).await;
    assert_eq!(applied, Applied::Written(None, Settled::Done));
    assert_eq!(rig.engine().last_seq().await.unwrap(), 0);
    assert!(rig.engine().changes(0, 10).await.unwrap().unwrap().is_empty());
}

fn with_texts(id: u64, files: &[u64], texts: &[u64]) -> Change {
    let mut record = record(id, &["a"]);
    let file = record.files.remove(0);
    record.files = files.iter().map(|n| FileRecord { oid: oid(*n), ..file.clone() }).collect();
    let texts = texts.iter().map(|n| (oid(*n), format!("text {n} ☃"))).collect();
    Change::Put { record: Box::new(record), texts }
}

async fn texts_are_kept_for_the_files_there_are(rig: Rig) {
    let texts = async |id| -> Vec<(Oid, String)> {
        rig.engine().texts(repo_key(id)).await.unwrap().into_iter().collect()
    };
    let text = |n: u64| (oid(n), format!("text {n} ☃"));
    rig.write(1, with_texts(1, &[10, 11], &[10, 11, 12]), Cause::Other).await;
    rig.write(2, with_texts(2, &[10], &[10]), Cause::Other).await;
    assert_eq!(texts(1).await, [text(10), text(11)], "12 is no file of it");
    rig.write(1, with_texts(1, &[11, 13], &[13]), Cause::Other).await;
    assert_eq!(texts(1).await, [text(11), text(13)], "11 is kept, 10 is not");
    assert_eq!(texts(2).await, [text(10)], "each repository has its own");
    rig.write(1, Change::Remove, Cause::Event).await;
    assert_eq!(texts(1).await, []);
    assert_eq!(texts(2).await, [text(10)]);
}

async fn records_come_in_pages_in_key_order(rig: Rig) {
    for id in [12, 3, 100, 7, 5] {
        rig.store(id, &["a"]).await;
    }
    let page = async |after: Option<u64>, limit| -> Vec<u64> {
        let after = after.map(repo_key);
        let records = rig.engine().records(after, limit).await.unwrap();
        records.iter().map(|record| record.key.id.0).collect()
    };
    assert_eq!(page(None, 2).await, [3, 5]);
    assert_eq!(page(Some(5), 2).await, [7, 12]);
    assert_eq!(page(Some(6), 10).await, [7, 12, 100]);
    assert!(page(Some(100), 10).await.is_empty());
}

async fn summaries_are_of_one_account(rig: Rig) {
    let mut first = record(2, &["a"]);
    let mut file = first.files[0].clone();
    (file.provider, file.oid) = ("aaa".into(), oid(77));
    first.files.push(file);
    rig.write(2, put(first.clone()), Cause::Other).await;
    rig.store(1, &[]).await;
    let mut other = record(3, &["a"]);
    other.account = account(2);
    rig.write(3, put(other), Cause::Other).await;
    let summaries = rig.engine().summaries(account(1)).await.unwrap();
    let ids: Vec<u64> = summaries.iter().map(|s| s.key.id.0).collect();
    assert_eq!(ids, [1, 2]);
    assert_eq!((summaries[0].holds_entities, summaries[1].holds_entities), (false, true));
    let path = || "catalog-info.yaml".to_owned();
    let files = [
        ("aaa".to_owned(), String::new(), path(), oid(77)),
        ("default".to_owned(), String::new(), path(), oid(2)),
    ];
    let summary = &summaries[1];
    assert_eq!((&summary.files[..], &summary.listed), (&files[..], &first.listed));
    assert_eq!((&summary.node_id, &summary.full_name), (&first.node_id, &first.full_name));
}

async fn what_a_record_depends_on_is_kept_with_its_texts_and_told_in_its_summary(mut rig: Rig) {
    let blob = |n: u64| Found::Blob(oid(n));
    let own = |path: &str, found| {
        let (place, path) = (Place::Own(String::new()), path.to_owned());
        Dependency::File { place, path, found }
    };
    let elsewhere = Place::Other {
        host: "github.com".into(),
        full_name: "Acme/Docs".into(),
        branch: "main".into(),
        id: Some(repo_key(9).id),
    };
    let mut listed = record(1, &["a"]);
    let mut file = listed.files[0].clone();
    (file.path, file.oid, file.included) = ("api.yaml".into(), oid(50), Some(Included::Own));
    listed.files.push(file);
    listed.dependencies = vec![own("api.yaml", blob(51)), own("none.yaml", Found::Missing)];
    let mut other = record(2, &["b"]);
    other.dependencies = vec![
        Dependency::Paths { place: elsewhere.clone() },
        Dependency::File { place: elsewhere, path: "x.yaml".into(), found: Found::Unread },
    ];
    for (record, texts) in [(&listed, vec![1, 50, 51, 52]), (&other, vec![2])] {
        let texts = texts.into_iter().map(|n| (oid(n), n.to_string())).collect();
        let change = Change::Put { record: Box::new(record.clone()), texts };
        rig.write(record.key.id.0, change, Cause::Other).await;
    }
    rig.store(3, &["c"]).await;
    rig.reopen().await;
    for stored in [&listed, &other] {
        let read = get(&rig, stored.key.id.0).await.expect("it was stored");
        assert_eq!(read.dependencies, stored.dependencies);
        let included = |record: &RepoRecord| -> Vec<_> {
            record.files.iter().map(|file| file.included.clone()).collect()
        };
        assert_eq!(included(&read), included(stored));
    }
    let texts = rig.engine().texts(repo_key(1)).await.unwrap();
    assert_eq!(texts.into_keys().collect::<Vec<_>>(), [oid(1), oid(50), oid(51)]);
    let summaries = rig.engine().summaries(account(1)).await.unwrap();
    let depends: Vec<&Depends> = summaries.iter().map(|s| &s.depends).collect();
    let heads = [Depends::Head(listed.head), Depends::Elsewhere(other.head), Depends::Nothing];
    assert_eq!(depends, heads.iter().collect::<Vec<_>>());
    assert_eq!(summaries[0].files.len(), 1, "a listing shows the file that is named only");
}

async fn a_transferred_record_changes_accounts(rig: Rig) {
    rig.store(1, &["a"]).await;
    let mut moved = record(1, &["a"]);
    moved.account = account(2);
    rig.write(1, put(moved), Cause::Other).await;
    assert!(rig.engine().summaries(account(1)).await.unwrap().is_empty());
    assert_eq!(rig.engine().summaries(account(2)).await.unwrap().len(), 1);
}
