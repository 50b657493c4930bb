//! ONE suite of behaviours for every engine, and the model that says what is right.
//!
//! A behaviour is a function over a [`Rig`]; `behaviours!` makes a test of it for each column.
//! A further engine is a further [`Column`] and a line in that macro.

mod approvals;
mod brake;
mod changes;
mod differential;
mod lanes;
mod leases;
mod ledger;
mod notes;
mod operators;
mod pushes;
mod records;
mod redis;
mod script;
mod settling;
mod sqlite;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cuelight::catalog::Entity;
use cuelight::clock::{Clock, Timestamp};
use cuelight::engine::queue::{
    Delivery, Entry, Inspect, Lease, LeaseRef, Push, PushKey, Pushed, Settled, Settlement, State,
};
use cuelight::engine::record::{Claim, FileRecord, RepoRecord};
use cuelight::engine::sqlite::{Options, SqliteEngine};
use cuelight::engine::store::{Applied, Apply, Cause, Change};
use cuelight::engine::{Queue, Store};
use cuelight::ids::{Account, AppId, DeliveryId, FullName, Host, NodeId, Oid, OwnerId, RepoId};
use cuelight::repository::Listed;
use cuelight::work::{Hint, LEASE, Lane, PushHint, Reasons, RepoKey, WorkKey};
use tempfile::TempDir;

use crate::model::{Limits, Model};
use crate::support::clock::ManualClock;

/// What is tested: both ports and the operators' one.
pub trait Engine: Queue + Inspect + Store {}
impl<T: Queue + Inspect + Store> Engine for T {}

/// A way to make an engine, and to lose its process.
#[async_trait]
pub trait Column: Send + Sync {
    /// The engine as it is now.
    fn engine(&self) -> Arc<dyn Engine>;
    /// The process dies without a word, another one starts on the same data, and the leases of
    /// the one before are over.
    async fn reopen(&mut self);
}

/// An engine of one process: who holds it knows that nobody else lives.
struct ModelColumn(Arc<Model>);

#[async_trait]
impl Column for ModelColumn {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.0) as Arc<dyn Engine>
    }

    async fn reopen(&mut self) {
        self.0 = self.0.reopened();
    }
}

struct SqliteColumn {
    engine: Option<Arc<SqliteEngine>>,
    clock: Arc<ManualClock>,
    limits: Limits,
    dir: TempDir,
}

impl SqliteColumn {
    fn open(&mut self) {
        let options = Options {
            ledger_rows_max: self.limits.ledger_rows_max,
            change_rows_max: self.limits.change_rows_max,
            ..Options::default()
        };
        let clock = Arc::clone(&self.clock);
        let path = self.dir.path().join("cuelight.db");
        self.engine = Some(SqliteEngine::open(path, clock, options).unwrap());
    }
}

#[async_trait]
impl Column for SqliteColumn {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(self.engine.as_ref().unwrap()) as Arc<dyn Engine>
    }

    async fn reopen(&mut self) {
        self.engine = None;
        self.open();
    }
}

/// An engine with its clock, and the verbs that tests use.
pub struct Rig {
    pub clock: Arc<ManualClock>,
    column: Box<dyn Column>,
}

const LIMITS: Limits = Limits { ledger_rows_max: 20, change_rows_max: 8 };

impl Rig {
    pub fn model() -> Self {
        let clock = ManualClock::new();
        let model = Model::new(Arc::clone(&clock) as _, LIMITS);
        Self { clock, column: Box::new(ModelColumn(model)) }
    }

    pub fn sqlite() -> Self {
        let clock = ManualClock::new();
        // In memory where the system offers it: these tests are about what is written, and syncing
        // a disk some ten thousand times only takes time.
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let (engine, limits) = (None, LIMITS);
        let mut column = SqliteColumn { engine, clock: Arc::clone(&clock), limits, dir };
        column.open();
        Self { clock, column: Box::new(column) }
    }

    pub fn engine(&self) -> Arc<dyn Engine> {
        self.column.engine()
    }

    /// Loses the process and starts another one.
    pub async fn reopen(&mut self) {
        self.column.reopen().await;
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn advance(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }

    /// Pushes repository `id` of account 1 into the event lane.
    pub async fn push(&self, id: u64) -> Pushed {
        self.push_keys(vec![self.key(repo(id), 1, Lane::Event)]).await
    }

    pub async fn push_to(&self, id: u64, owner: u64, lane: Lane) -> Pushed {
        self.push_keys(vec![self.key(repo(id), owner, lane)]).await
    }

    pub async fn push_keys(&self, keys: Vec<PushKey>) -> Pushed {
        self.engine().push(Push { delivery: None, keys }).await.unwrap()
    }

    pub fn key(&self, key: WorkKey, owner: u64, lane: Lane) -> PushKey {
        let hint = Hint::new(Reasons::PUSH, self.now());
        PushKey { key, account: account(owner), lane, hint }
    }

    pub async fn deliver(&self, id: &str, repos: &[u64]) -> Pushed {
        let keys = repos.iter().map(|id| self.key(repo(*id), 1, Lane::Event)).collect();
        let push = Push { delivery: Some(delivery(id, self.now())), keys };
        self.engine().push(push).await.unwrap()
    }

    pub async fn take(&self, max: usize) -> Vec<Lease> {
        self.engine().take(max, LEASE).await.unwrap().leases
    }

    /// Takes exactly one key.
    pub async fn take_one(&self) -> Lease {
        let mut leases = self.take(1).await;
        assert_eq!(leases.len(), 1, "one key should be due");
        leases.remove(0)
    }

    pub async fn settle(&self, lease: &Lease, how: Settlement) -> Settled {
        let settled = self.engine().settle(vec![(lease.into(), how)]).await.unwrap();
        assert_eq!(settled.len(), 1);
        settled[0]
    }

    /// Fails repository `id` until it is dead.
    pub async fn kill(&self, id: u64) {
        self.push(id).await;
        let lease = self.take_one().await;
        assert_eq!(lease.key, repo(id));
        assert_eq!(self.settle(&lease, dead("broken")).await, Settled::Dead);
    }

    pub async fn list(&self, state: State) -> Vec<Entry> {
        let (entries, total) = self.engine().list(state, 1000).await.unwrap();
        assert_eq!(entries.len() as u64, total);
        entries
    }

    /// The ids of the repositories in a state, in order.
    pub async fn ids(&self, state: State) -> Vec<u64> {
        self.list(state).await.iter().map(|entry| id_of(&entry.key)).collect()
    }

    pub async fn apply(&self, lease: &Lease, change: Change, cause: Cause) -> Applied {
        let apply = Apply { lease: lease.into(), change, settlement: Settlement::Done, cause };
        self.engine().apply(apply).await.unwrap()
    }

    /// Runs repository `id` of account 1 once: push, take, apply.
    pub async fn write(&self, id: u64, change: Change, cause: Cause) -> Applied {
        self.push(id).await;
        let lease = self.take_one().await;
        assert_eq!(lease.key, repo(id));
        self.apply(&lease, change, cause).await
    }

    /// Stores repository `id` with the entities `names`.
    pub async fn store(&self, id: u64, names: &[&str]) -> Applied {
        self.write(id, put(record(id, names)), Cause::Other).await
    }
}

pub fn account(owner: u64) -> Account {
    Account { host: Host::github_com(), owner: OwnerId(owner) }
}

pub fn repo_key(id: u64) -> RepoKey {
    RepoKey { host: Host::github_com(), id: RepoId(id) }
}

pub fn repo(id: u64) -> WorkKey {
    WorkKey::Repo(repo_key(id))
}

pub fn app(id: u64) -> WorkKey {
    WorkKey::Installations { host: Host::github_com(), app: AppId(id) }
}

pub fn id_of(key: &WorkKey) -> u64 {
    match key {
        WorkKey::Repo(repo) => repo.id.0,
        WorkKey::Scan(account) => account.owner.0,
        WorkKey::Installations { app, .. } => app.0,
    }
}

pub fn ids_of(leases: &[Lease]) -> Vec<u64> {
    leases.iter().map(|lease| id_of(&lease.key)).collect()
}

pub fn delivery(id: &str, received_at: Timestamp) -> Delivery {
    Delivery {
        id: DeliveryId::parse(id).unwrap(),
        event: "push".into(),
        action: None,
        repository: Some(FullName::parse("acme/shop").unwrap()),
        received_at,
        ignored: None,
    }
}

pub fn oid(n: u64) -> Oid {
    Oid::parse(&format!("{n:040x}")).unwrap()
}

pub fn push_hint(before: u64, after: u64) -> PushHint {
    PushHint { branch: None, before: oid(before), after: oid(after), pushed_at: None }
}

pub fn retry(after_secs: u64) -> Settlement {
    Settlement::Retry { error: "no answer".into(), after: Duration::from_secs(after_secs) }
}

pub fn delay(after_secs: u64) -> Settlement {
    Settlement::Delay { after: Duration::from_secs(after_secs) }
}

pub fn dead(error: &str) -> Settlement {
    Settlement::Dead { error: error.into() }
}

pub fn stale_ref(lease: &Lease) -> LeaseRef {
    LeaseRef { key: lease.key.clone(), token: lease.token + 1 }
}

pub fn put(record: RepoRecord) -> Change {
    Change::Put { record: Box::new(record), texts: BTreeMap::new() }
}

/// A record of repository `id` in account 1 whose one file (blob `id`) declares `names`, beside
/// the Location that we generate for a file.
pub fn record(id: u64, names: &[&str]) -> RepoRecord {
    let mut entities = vec![claim(&format!("location:default/generated-{id}"), true)];
    entities.extend(names.iter().map(|name| claim(&format!("component:default/{name}"), false)));
    let file = FileRecord {
        provider: "default".into(),
        branch: String::new(),
        path: "catalog-info.yaml".into(),
        oid: oid(id),
        entities,
        problems: Vec::new(),
        included: None,
    };
    RepoRecord {
        key: repo_key(id),
        node_id: NodeId(format!("R_{id}")),
        account: account(1),
        full_name: FullName::parse(&format!("acme/repo-{id}")).unwrap(),
        created_at: None,
        listed: Listed {
            visibility: "private".into(),
            archived: false,
            fork: false,
            default_branch: Some("main".into()),
            topics: vec!["cue".into()],
        },
        head: Some(oid(1000 + id)),
        checked_head: None,
        pushed_at: None,
        files: vec![file],
        dependencies: Vec::new(),
        reconciled_at: Timestamp::EPOCH,
        reconciled_for: Reasons::PUSH,
        cued_at: None,
        fingerprint: "test".into(),
        seq: 0,
    }
}

fn claim(entity_ref: &str, generated: bool) -> Claim {
    let entity = Entity {
        entity_ref: entity_ref.into(),
        body: Arc::new(serde_json::json!({ "kind": "Component", "ref": entity_ref })),
        relations: Vec::new(),
        stale: None,
        generated,
        included_by: None,
        document: 1,
        line: 1,
    };
    Claim { entity, claimed_seq: 0 }
}

/// Makes each behaviour a test of each column.
macro_rules! behaviours {
    ($($name:ident),+ $(,)?) => {
        mod model {
            $(#[tokio::test] async fn $name() {
                super::$name($crate::conformance::Rig::model()).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test] async fn $name() {
                super::$name($crate::conformance::Rig::sqlite()).await;
            })+
        }
        mod redis {
            $(#[tokio::test] async fn $name() {
                super::$name($crate::conformance::Rig::redis().await).await;
            })+
        }
    };
}
use behaviours;
