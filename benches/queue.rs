//! How fast the engines' queues are: push, and take(10) with settle.
//!
//! `cargo bench --bench queue` prints rates and their ratios. SQLite's are to the rate at which
//! this disk syncs one small write after another: what one caller without group commit could
//! reach at best. Those of Redis are to the rate of PING, asked by as many callers on the same
//! connection: what a server that does nothing could reach. It is a server of its own, on a
//! socket, first without an append-only file, then with one that is synced every second.
//! An argument names the directory for the database; it should be on a real disk.

#[path = "../tests/it/support/redis.rs"]
#[expect(dead_code, reason = "tests need more of it")]
mod redis_server;

use std::fs::File;
use std::io::{Error, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cuelight::clock::{Clock, SystemClock};
use cuelight::config::RedisSettings;
use cuelight::engine::Queue;
use cuelight::engine::queue::{Delivery, LeaseRef, Push, PushKey, Settlement};
use cuelight::engine::redis::connection::Connection;
use cuelight::engine::redis::{self as redis_engine, RedisEngine};
use cuelight::engine::sqlite::{Options, SqliteEngine};
use cuelight::ids::{Account, DeliveryId, FullName, Host, NodeId, Oid, OwnerId, RepoId};
use cuelight::work::{Hint, LEASE, Lane, PushHint, Reasons, RepoKey, WorkKey};
use redis_server::RedisServer;

/// Callers at once, as many as the measured designs had.
const CALLERS: u64 = 64;

/// Pushes per caller and round.
const PUSHES: u64 = 1_500;

/// Accounts the keys belong to.
const OWNERS: u64 = 5;

/// Pings per caller.
const PINGS: u64 = 3_000;

/// Keys whose memory is measured, and how much it may be.
const WAITING: u64 = 100_000;
const WAITING_MB_MAX: f64 = 64.0;

/// Writes that measure the disk.
const SYNCS: u32 = 500;

fn push(n: u64, repo: u64) -> Push {
    let id = |n: u64| Oid::parse(&format!("{n:040x}")).expect("40 digits");
    let now = SystemClock.now();
    let name = FullName::parse(&format!("acme/repository-{repo}")).expect("a name");
    let mut hint = Hint::new(Reasons::PUSH, now);
    hint.pushes.push(PushHint {
        branch: None,
        before: id(n),
        after: id(n + 1),
        pushed_at: Some(now),
    });
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

async fn push_round(engine: &Arc<dyn Queue>, round: u64, repos: u64) -> f64 {
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

async fn work_round(engine: &Arc<dyn Queue>) -> f64 {
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

/// What is measured of every engine; `base` is what its rates are compared with, `cpu` the seconds
/// of processor time that a server has used so far, where there is one.
async fn measure(
    engine: &Arc<dyn Queue>,
    base: f64,
    cpu: impl Fn() -> Option<f64>,
) -> Result<(), Error> {
    let mut out = std::io::stdout();
    let mut line = |what: &str, rate: f64, before: Option<f64>| {
        let each = |(before, after)| (after - before) * 1e6 / (CALLERS * PUSHES) as f64;
        let server = before.zip(cpu()).map(each).map(|us| format!("{us:>6.1} us of the server"));
        writeln!(
            out,
            "{what:<25} {rate:>9.0} /s {:>6.2}{}",
            rate / base,
            server.unwrap_or_default()
        )
    };
    for round in 0..3 {
        let keys = CALLERS * PUSHES;
        let repos = if round < 2 { keys } else { 1000 };
        let before = cpu();
        let pushes = push_round(engine, round, repos).await;
        let what = if round < 2 { "push, distinct keys" } else { "push, 1,000 keys" };
        line(what, pushes, before)?;
        if round < 2 {
            let before = cpu();
            line("take(10) and settle", work_round(engine).await, before)?;
        }
    }
    Ok(())
}

async fn sqlite(directory: &std::path::Path) -> Result<(), Error> {
    let syncs = syncs_per_second(directory)?;
    writeln!(std::io::stdout(), "sqlite: sync, one by one  {syncs:>9.0} /s   1.00")?;
    let path = directory.join("queue.db");
    let engine = SqliteEngine::open(path, Arc::new(SystemClock), Options::default())
        .map_err(Error::other)?;
    let queue: Arc<dyn Queue> = engine.clone();
    measure(&queue, syncs, || None).await?;
    engine.close().await;
    Ok(())
}

async fn pings_per_second(settings: &RedisSettings) -> Result<f64, Error> {
    let connection = Connection::open(settings).await.map_err(Error::other)?;
    let pings = rate(|_| {
        let connection = connection.clone();
        async move {
            for _ in 0..PINGS {
                connection.command::<String>(&redis::cmd("PING")).await.expect("a pong");
            }
            PINGS
        }
    })
    .await;
    connection.close().await;
    Ok(pings)
}

async fn redis(name: &str, args: &[&str]) -> Result<(), Error> {
    let server = RedisServer::with(args);
    let settings = server.settings();
    let pings = pings_per_second(&settings).await?;
    let title = format!("redis, {name}: PING");
    writeln!(std::io::stdout(), "{title:<25} {pings:>9.0} /s   1.00")?;
    let options = redis_engine::Options::default();
    let engine =
        RedisEngine::open(&settings, Arc::new(SystemClock), options).await.map_err(Error::other)?;
    let queue: Arc<dyn Queue> = engine.clone();
    let cpu = || -> Option<f64> {
        let info: String = server.command(&["INFO", "cpu"]);
        let of = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().parse::<f64>().ok()
        };
        Some(of("used_cpu_user:")? + of("used_cpu_sys:")?)
    };
    measure(&queue, pings, cpu).await?;
    engine.close().await;
    Ok(())
}

/// How much memory the server needs for keys that wait.
async fn memory() -> Result<(), Error> {
    let server = RedisServer::start();
    let used = || -> f64 {
        let info: String = server.command(&["INFO", "memory"]);
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        used.and_then(|bytes| bytes.trim().parse().ok()).expect("used_memory is a number")
    };
    let options = redis_engine::Options::default();
    let engine = RedisEngine::open(&server.settings(), Arc::new(SystemClock), options)
        .await
        .map_err(Error::other)?;
    let before = used();
    for first in (0..WAITING).step_by(100) {
        let keys = (first..first + 100).flat_map(|n| push(n, n).keys).collect();
        engine.push(Push { delivery: None, keys }).await.map_err(Error::other)?;
    }
    let megabytes = (used() - before) / 1e6;
    writeln!(
        std::io::stdout(),
        "redis, {WAITING} waiting   {megabytes:>9.1} MB (at most {WAITING_MB_MAX})"
    )?;
    engine.close().await;
    if megabytes > WAITING_MB_MAX {
        return Err(Error::other("waiting keys need too much memory"));
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let given = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let directory = given.map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = directory.join(format!("cuelight-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    sqlite(&directory).await?;
    redis("no file", &[]).await?;
    redis("everysec", &["--appendonly", "yes"]).await?;
    memory().await?;
    std::fs::remove_dir_all(directory)
}
