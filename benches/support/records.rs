//! Repositories written straight into a storage, as a worker writes what it has read from GitHub,
//! and the view of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use cuelight::catalog::{AllowedKinds, Source, View, process_alone, process_file};
use cuelight::clock::{Clock, SystemClock};
use cuelight::engine::queue::{Push, PushKey, Settlement};
use cuelight::engine::record::{Claim, FileRecord, RepoRecord, Seq};
use cuelight::engine::store::{Applied, Apply, Cause, Change};
use cuelight::engine::{Engine, Store};
use cuelight::health::Health;
use cuelight::ids::{Account, FullName, Host, NodeId, Oid, OwnerId, RepoId};
use cuelight::reconcile::Processing;
use cuelight::repository::Listed;
use cuelight::telemetry::Metrics;
use cuelight::view_feed::ViewFeed;
use cuelight::work::{BATCH_MAX, Hint, LEASE, Lane, Reasons, RepoKey, WorkKey};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::support::FILE;

fn account() -> Account {
    Account { host: Host::github_com(), owner: OwnerId(9) }
}

fn key(id: u64) -> RepoKey {
    RepoKey { host: Host::github_com(), id: RepoId(id) }
}

/// `acme/svc-<id>` with this catalog file.
fn put(id: u64, text: String) -> Change {
    let oid = |n: u64| Oid::parse(&format!("{n:040x}")).expect("40 digits");
    let full_name = format!("acme/svc-{id}");
    let source = Source {
        host: "github.com".to_owned(),
        full_name: full_name.clone(),
        branch: "main".to_owned(),
        path: FILE.to_owned(),
    };
    let processed = process_alone(&source, &text, &AllowedKinds::default(), &[]);
    let claim = |entity| Claim { entity, claimed_seq: 0 };
    let file = FileRecord {
        provider: "default".to_owned(),
        branch: String::new(),
        path: FILE.to_owned(),
        oid: oid(id),
        entities: processed.entities.into_iter().map(claim).collect(),
        problems: processed.problems,
        included: None,
    };
    let processing = Processing::new(process_file, AllowedKinds::default());
    let record = RepoRecord {
        key: key(id),
        node_id: NodeId(format!("R_kgDO{id:08}")),
        account: account(),
        full_name: FullName::parse(&full_name).expect("a name"),
        created_at: None,
        listed: Listed {
            visibility: "private".to_owned(),
            archived: false,
            fork: false,
            default_branch: Some("main".to_owned()),
            topics: vec!["payments".to_owned()],
        },
        head: Some(oid(id)),
        checked_head: None,
        pushed_at: None,
        files: vec![file],
        dependencies: Vec::new(),
        reconciled_at: SystemClock.now(),
        reconciled_for: Reasons::PUSH,
        cued_at: None,
        fingerprint: processing.fingerprint.to_string(),
        seq: 0,
    };
    Change::Put { record: Box::new(record), texts: BTreeMap::from([(oid(id), text)]) }
}

/// Pushes, takes and writes repositories with these catalog files; returns the number of the last
/// change.
pub async fn write(engine: &impl Engine, ids: Range<u64>, text: impl Fn(u64) -> String) -> Seq {
    let push_key = |id| PushKey {
        key: WorkKey::Repo(key(id)),
        account: account(),
        lane: Lane::Event,
        hint: Hint::new(Reasons::PUSH, SystemClock.now()),
    };
    let keys = ids.map(push_key).collect();
    engine.push(Push { delivery: None, keys }).await.expect("a push");
    let mut last = 0;
    for lease in engine.take(BATCH_MAX, LEASE).await.expect("a take").leases {
        let WorkKey::Repo(repo) = &lease.key else { continue };
        let (change, settlement) = (put(repo.id.0, text(repo.id.0)), Settlement::Done);
        let apply = Apply { lease: (&lease).into(), change, settlement, cause: Cause::Event };
        match engine.apply(apply).await.expect("a write") {
            Applied::Written(Some(seq), _) => last = seq,
            other => panic!("{other:?}"),
        }
    }
    last
}

/// The same for many, a batch after another.
pub async fn write_all(engine: &impl Engine, count: u64, text: impl Fn(u64) -> String + Copy) {
    for first in (0..count).step_by(BATCH_MAX) {
        let batch = u64::try_from(BATCH_MAX).expect("a small number");
        write(engine, first..count.min(first + batch), text).await;
    }
}

/// What keeps a view equal to a storage, and the view.
pub fn view_feed(store: Arc<dyn Store>) -> (ViewFeed, watch::Receiver<Arc<View>>) {
    let (view, shown) = watch::channel(Arc::new(View::empty()));
    let clock = Arc::new(SystemClock);
    let feed = ViewFeed {
        store,
        view,
        clock: clock.clone(),
        metrics: Metrics::new(&mut Registry::default()),
        health: Arc::new(Health::new(clock)),
        routing: watch::Sender::new(Arc::default()),
        overtaken: None,
    };
    (feed, shown)
}
