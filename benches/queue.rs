//! How fast the embedded engine's queue is: push, and take(10) with settle, beside a bare sync.
//!
//! `cargo bench --bench queue` prints rates and their ratio to the rate at which this disk syncs
//! one small write after another: what one caller without group commit could reach at best.
//! An argument names the directory for the database; it should be on a real disk.

use std::fs::File;
use std::io::{Error, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cuelight::clock::{Clock, SystemClock};
use cuelight::engine::Queue;
use cuelight::engine::queue::{Delivery, LeaseRef, Push, PushKey, Settlement};
use cuelight::engine::sqlite::{Options, SqliteEngine};
use cuelight::ids::{Account, DeliveryId, FullName, Host, NodeId, Oid, OwnerId, RepoId};
use cuelight::work::{Hint, LEASE, Lane, PushHint, Reasons, RepoKey, WorkKey};

/// Callers at once, as many as the measured designs had.
const CALLERS: u64 = 64;

/// Pushes per caller and round.
const PUSHES: u64 = 1_500;

/// Accounts the keys belong to.
const OWNERS: u64 = 5;

/// Writes that measure the disk.
const SYNCS: u32 = 500;

fn push(n: u64, repo: u64) -> Push {
    let id = |n: u64| Oid::parse(&format!("{n:040x}")).expect("40 digits");
    let now = SystemClock.now();
    let name = FullName::parse(&format!("acme/repository-{repo}")).expect("a name");
    let mut hint = Hint::new(Reasons::PUSH, now);
    hint.pushes.push(PushHint { before: id(n), after: id(n + 1), pushed_at: Some(now) });
    hint.node_id = Some(NodeId(format!("R_kgDO{repo:08}")));
    hint.name = Some(name.clone());
    let host = Host::github_com();
    let key = PushKey {
        key: WorkKey::Repo(RepoKey { host: host.clone(), id: RepoId(500_000_000 + repo) }),
        account: Account { host, owner: OwnerId(9000 + repo % OWNERS) },
        lane: Lane::Event,
        hint,
    };
    // Delivery ids are random in life; a multiplication spreads these as well.
    let spread = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let guid = format!("{:08x}-{:04x}-11ee-8000-{n:012x}", spread >> 32, spread & 0xFFFF);
    let delivery = Delivery {
        id: DeliveryId::parse(&guid).expect("an id"),
        event: "push".to_owned(),
        action: None,
        repository: Some(name),
        received_at: now,
        ignored: None,
    };
    Push { delivery: Some(delivery), keys: vec![key] }
}

/// Runs `work` with every caller and returns what they did per second.
async fn rate<F>(work: impl Fn(u64) -> F) -> f64
where
    F: Future<Output = u64> + Send + 'static,
{
    let start = Instant::now();
    let callers: Vec<_> = (0..CALLERS).map(|caller| tokio::spawn(work(caller))).collect();
    let mut done = 0;
    for caller in callers {
        done += caller.await.expect("no caller panics");
    }
    done as f64 / start.elapsed().as_secs_f64()
}

async fn push_round(engine: &Arc<SqliteEngine>, round: u64, repos: u64) -> f64 {
    rate(|caller| {
        let engine = Arc::clone(engine);
        async move {
            for n in 0..PUSHES {
                let n = (round * CALLERS + caller) * PUSHES + n;
                engine.push(push(n, n % repos)).await.expect("a push");
            }
            PUSHES
        }
    })
    .await
}

async fn work_round(engine: &Arc<SqliteEngine>) -> f64 {
    let left = Arc::new(AtomicU64::new(CALLERS * PUSHES));
    rate(|_| {
        let (engine, left) = (Arc::clone(engine), Arc::clone(&left));
        async move {
            let mut done = 0;
            while left.load(Ordering::Relaxed) > 0 {
                let taken = engine.take(10, LEASE).await.expect("a take");
                let settled: Vec<_> =
                    taken.leases.iter().map(|l| (LeaseRef::from(l), Settlement::Done)).collect();
                let count = settled.len() as u64;
                if count == 0 {
                    break;
                }
                engine.settle(settled).await.expect("a settlement");
                left.fetch_sub(count, Ordering::Relaxed);
                done += count;
            }
            done
        }
    })
    .await
}

fn syncs_per_second(directory: &std::path::Path) -> Result<f64, Error> {
    let path = directory.join("sync");
    let mut file = File::create(&path)?;
    let start = Instant::now();
    for _ in 0..SYNCS {
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
    }
    let took: Duration = start.elapsed();
    std::fs::remove_file(path)?;
    Ok(f64::from(SYNCS) / took.as_secs_f64())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let given = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let directory = given.map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = directory.join(format!("cuelight-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let mut out = std::io::stdout();
    let syncs = syncs_per_second(&directory)?;
    writeln!(out, "sync, one after another   {syncs:>9.0} /s   1.0")?;
    let path = directory.join("queue.db");
    let engine = SqliteEngine::open(path, Arc::new(SystemClock), Options::default())
        .map_err(Error::other)?;
    for round in 0..3 {
        let keys = CALLERS * PUSHES;
        let repos = if round < 2 { keys } else { 1000 };
        let pushes = push_round(&engine, round, repos).await;
        let what = if round < 2 { "push, distinct keys" } else { "push, 1,000 keys" };
        writeln!(out, "{what:<25} {pushes:>9.0} /s {:>5.1}", pushes / syncs)?;
        if round < 2 {
            let work = work_round(&engine).await;
            writeln!(out, "take(10) and settle       {work:>9.0} /s {:>5.1}", work / syncs)?;
        }
    }
    engine.close().await;
    std::fs::remove_dir_all(directory)
}
