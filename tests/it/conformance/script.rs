//! Random operations for the differential test, and how one is done on an engine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use cuelight::clock::{Clock, Timestamp};
use cuelight::engine::queue::{Inspect, Lease, LeaseRef, Push, PushKey, Settlement, State, Taken};
use cuelight::engine::store::{Apply, Cause, Change};
use cuelight::ids::{FullName, NodeId};
use cuelight::work::{Hint, Lane, Reasons, WorkKey};
use fastrand::Rng;

use super::{Rig, account, app, delivery, oid, push_hint, record, repo, repo_key};

/// Few keys, so that they meet.
const REPOS: u64 = 20;
const OWNERS: u64 = 3;
const DELIVERIES: u64 = 40;

/// One step; leases are named by their place among those that were ever given, from the newest.
#[derive(Debug, Clone)]
pub enum Op {
    Push { delivery: Option<u64>, ignored: bool, keys: Vec<(WorkKey, u64, Lane, u32)> },
    Take { max: usize, lease: Duration },
    Extend { leases: Vec<usize>, lease: Duration },
    Settle { leases: Vec<(usize, Settlement)> },
    Gate { owner: u64, secs: u64 },
    Put { lease: usize, owner: u64, names: Vec<u8>, settlement: Settlement, event: bool },
    Remove { lease: usize, settlement: Settlement, event: bool },
    Approve(Vec<(u64, u64)>),
    Retry(WorkKey),
    Drop(WorkKey),
    Note { name: String, text: Option<String> },
    Advance(Duration),
    Reopen,
    Look,
}

fn lane(rng: &mut Rng) -> Lane {
    if rng.bool() { Lane::Event } else { Lane::Scan }
}

fn key(rng: &mut Rng) -> WorkKey {
    match rng.u8(0..12) {
        0 => WorkKey::Scan(account(rng.u64(1..=OWNERS))),
        1 => app(rng.u64(1..3)),
        _ => repo(rng.u64(0..REPOS)),
    }
}

fn owner(rng: &mut Rng, key: &WorkKey) -> u64 {
    match key {
        // A repository mostly stays with its owner.
        WorkKey::Repo(repo) if rng.u8(0..10) > 0 => 1 + repo.id.0 % OWNERS,
        _ => rng.u64(1..=OWNERS),
    }
}

fn span(rng: &mut Rng) -> Duration {
    match rng.u8(0..5) {
        0 => Duration::ZERO,
        1 => Duration::from_millis(rng.u64(1..2000)),
        _ => Duration::from_secs(rng.u64(1..100)),
    }
}

fn settlement(rng: &mut Rng) -> Settlement {
    match rng.u8(0..10) {
        0..=3 => Settlement::Done,
        4..=5 => Settlement::Retry { error: format!("e{}", rng.u8(..)), after: span(rng) },
        6 => Settlement::Dead { error: format!("d{}", rng.u8(..)) },
        7..=8 => Settlement::Delay { after: span(rng) },
        _ => Settlement::Release,
    }
}

/// Mostly a lease of late, which is mostly current.
fn lease(rng: &mut Rng) -> usize {
    let oldest = rng.usize(0..8);
    rng.usize(0..=oldest)
}

fn push(rng: &mut Rng) -> Op {
    let mut keys = Vec::new();
    for _ in 0..[1, 1, 1, 2, 4, 0][rng.usize(0..6)] {
        let key = key(rng);
        let owner = owner(rng, &key);
        keys.push((key, owner, lane(rng), rng.u32(0..256)));
    }
    let delivery = (rng.u8(0..3) > 0).then(|| rng.u64(0..DELIVERIES));
    let ignored = rng.u8(0..8) == 0;
    Op::Push { delivery, ignored, keys }
}

/// Names of which some begin as others do.
fn note(rng: &mut Rng) -> Op {
    let name = ["scan:1", "scan:10", "scan:2", "scar", "Scan:1"][rng.usize(0..5)].to_owned();
    Op::Note { name, text: (rng.u8(0..3) > 0).then(|| format!("t{}", rng.u8(..))) }
}

/// Draws a step that depends on nothing but the generator.
pub fn draw(rng: &mut Rng) -> Op {
    match rng.u32(0..1000) {
        0..250 => push(rng),
        250..450 => {
            let lease = Duration::from_secs([30, 30, 30, 1, 90][rng.usize(0..5)]);
            Op::Take { max: rng.usize(0..6), lease }
        }
        450..480 => {
            let leases = (0..rng.usize(1..4)).map(|_| lease(rng)).collect();
            Op::Extend { leases, lease: Duration::from_secs(rng.u64(1..60)) }
        }
        480..600 => {
            let count = rng.usize(1..4);
            Op::Settle { leases: (0..count).map(|_| (lease(rng), settlement(rng))).collect() }
        }
        600..610 => Op::Gate { owner: rng.u64(1..=OWNERS), secs: rng.u64(0..120) },
        610..780 => Op::Put {
            lease: lease(rng),
            owner: rng.u64(1..=OWNERS),
            names: (0..rng.usize(0..4)).map(|_| rng.u8(0..5)).collect(),
            settlement: settlement(rng),
            event: rng.u8(0..6) == 0,
        },
        780..850 => {
            Op::Remove { lease: lease(rng), settlement: settlement(rng), event: rng.u8(0..6) == 0 }
        }
        850..865 => Op::Retry(key(rng)),
        865..872 => Op::Drop(key(rng)),
        872..890 => {
            // Mostly the account that most records have, so that approvals hold for them.
            let owner = |rng: &mut Rng| if rng.bool() { 1 } else { rng.u64(1..=OWNERS) };
            let count = rng.usize(1..10);
            Op::Approve((0..count).map(|_| (rng.u64(0..REPOS), owner(rng))).collect())
        }
        890..945 => Op::Advance(match rng.u8(0..20) {
            0 => Duration::from_secs(1200),
            1 if rng.u8(0..6) == 0 => Duration::from_secs(3 * 24 * 3600),
            2..=8 => Duration::from_millis(rng.u64(0..1500)),
            _ => Duration::from_secs(rng.u64(1..30)),
        }),
        945..951 => Op::Reopen,
        951..958 => note(rng),
        _ => Op::Look,
    }
}

/// An engine on its way through a script.
pub struct Player {
    pub rig: Rig,
    given: Vec<LeaseRef>,
    token: u64,
}

impl Player {
    pub fn new(rig: Rig) -> Self {
        Self { rig, given: Vec::new(), token: 0 }
    }

    fn named(&self, back: usize) -> LeaseRef {
        let place = self.given.len().checked_sub(1 + back);
        place.map_or(LeaseRef { key: repo(1), token: 7 }, |place| self.given[place].clone())
    }

    /// Does one step and says what came of it, without tokens.
    pub async fn step(&mut self, op: &Op) -> String {
        let engine = self.rig.engine();
        match op {
            Op::Push { delivery: id, ignored, keys } => {
                let now = self.rig.clock.now();
                let delivery = id.map(|id| {
                    let mut delivery = delivery(&format!("d{id}"), now);
                    delivery.ignored = ignored.then(|| "why".to_owned());
                    delivery
                });
                let keys = keys.iter().map(|key| push_key(key, now)).collect();
                format!("{:?}", engine.push(Push { delivery, keys }).await)
            }
            Op::Take { max, lease } => {
                let taken = engine.take(*max, *lease).await.unwrap();
                self.taken(taken)
            }
            Op::Extend { leases, lease } => {
                let leases = leases.iter().map(|back| self.named(*back)).collect();
                let lost = engine.extend(leases, *lease).await.unwrap();
                format!("{:?}", lost.into_iter().map(|lease| lease.key).collect::<Vec<_>>())
            }
            Op::Settle { leases } => {
                let named = leases.iter().map(|(back, how)| (self.named(*back), how.clone()));
                format!("{:?}", engine.settle(named.collect()).await)
            }
            Op::Gate { owner, secs } => {
                let until = self.rig.clock.now() + Duration::from_secs(*secs);
                format!("{:?}", engine.gate(account(*owner), until, format!("{secs}")).await)
            }
            Op::Put { lease, owner, names, settlement, event } => {
                let lease = self.named(*lease);
                let change = put(&lease, *owner, names);
                let cause = if *event { Cause::Event } else { Cause::Other };
                let apply = Apply { lease, change, settlement: settlement.clone(), cause };
                format!("{:?}", engine.apply(apply).await)
            }
            Op::Remove { lease, settlement, event } => {
                let cause = if *event { Cause::Event } else { Cause::Other };
                let (lease, change) = (self.named(*lease), Change::Remove);
                let apply = Apply { lease, change, settlement: settlement.clone(), cause };
                format!("{:?}", engine.apply(apply).await)
            }
            Op::Approve(repos) => {
                let key = |(id, owner): &(u64, u64)| self.rig.key(repo(*id), *owner, Lane::Event);
                format!("{:?}", engine.approve(repos.iter().map(key).collect()).await)
            }
            Op::Retry(key) => format!("{:?}", engine.retry(key.clone()).await),
            Op::Drop(key) => format!("{:?}", Inspect::drop(&*engine, key.clone()).await),
            Op::Note { name, text } => {
                format!("{:?}", engine.put_note(name.clone(), text.clone()).await)
            }
            Op::Advance(span) => {
                self.rig.clock.advance(*span);
                String::new()
            }
            Op::Reopen => {
                drop(engine);
                self.rig.reopen().await;
                String::new()
            }
            Op::Look => self.look().await,
        }
    }

    /// What a take gave; tokens must grow and are otherwise an engine's own affair.
    fn taken(&mut self, taken: Taken) -> String {
        let mut leases = taken.leases;
        for lease in &mut leases {
            assert!(lease.token > self.token, "token {} after {}", lease.token, self.token);
            self.token = lease.token;
            self.given.push(LeaseRef::from(&*lease));
            *lease = Lease { token: 0, ..lease.clone() };
        }
        format!("{leases:?} {:?}", taken.next_due)
    }

    /// Everything that can be seen.
    pub async fn look(&self) -> String {
        let engine = self.rig.engine();
        let mut seen = String::new();
        for state in [State::Waiting, State::Held, State::Dead] {
            writeln!(seen, "{state:?} {:?}", engine.list(state, 9).await).unwrap();
        }
        let mut stats = engine.stats().await.unwrap();
        stats.durability.clear();
        writeln!(seen, "{stats:?} {:?}", engine.deliveries(30).await).unwrap();
        writeln!(seen, "held {:?} seq {:?}", engine.held().await, engine.last_seq().await).unwrap();
        for prefix in ["", "scan:", "scan:1"] {
            writeln!(seen, "notes {:?}", engine.notes(prefix.to_owned()).await).unwrap();
        }
        let last = engine.last_seq().await.unwrap();
        for after in [0, last.saturating_sub(9), last.saturating_sub(3)] {
            writeln!(seen, "changes {:?}", engine.changes(after, 5).await).unwrap();
        }
        for owner in 1..=OWNERS {
            writeln!(seen, "{:?}", engine.summaries(account(owner)).await).unwrap();
        }
        writeln!(seen, "{:?}", engine.records(Some(repo_key(3)), 7).await).unwrap();
        let keys: Vec<_> = (0..REPOS).map(repo_key).collect();
        for key in &keys {
            writeln!(seen, "{:?}", engine.texts(key.clone()).await).unwrap();
        }
        writeln!(seen, "{:?}", engine.get(keys).await).unwrap();
        seen
    }
}

fn push_key((key, owner, lane, bits): &(WorkKey, u64, Lane, u32), now: Timestamp) -> PushKey {
    let mut hint = Hint::new(Reasons(*bits), now);
    if bits % 2 == 0 {
        hint.pushes.push(push_hint(u64::from(*bits), u64::from(bits + 1)));
    }
    hint.node_id = (bits % 3 == 0).then(|| NodeId(format!("N{bits}")));
    hint.name = (bits % 5 == 0).then(|| FullName::parse(&format!("acme/n{bits}")).unwrap());
    PushKey { key: key.clone(), account: account(*owner), lane: *lane, hint }
}

fn put(lease: &LeaseRef, owner: u64, names: &[u8]) -> Change {
    let id = match &lease.key {
        WorkKey::Repo(repo) => repo.id.0,
        _ => 0,
    };
    let names: Vec<String> = names.iter().map(|n| format!("n{n}")).collect();
    let mut record = record(id, &names.iter().map(String::as_str).collect::<Vec<_>>());
    // Mostly one account, so that its brake has something to do.
    record.account = account(if owner == 1 { 1 + id % OWNERS } else { 1 });
    let blob = 100 + names.len() as u64;
    record.files[0].oid = oid(blob);
    let texts = BTreeMap::from([(oid(blob), format!("text {names:?}")), (oid(5), "x".to_owned())]);
    Change::Put { record: Box::new(record), texts }
}
