//! A rolling restart under load: each replica is told to stop and started again, one after the
//! other, while webhooks arrive. Who tries again where nobody listens meets no error, and nothing
//! is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cuelight::clock::{Clock as _, SystemClock};
use tokio::task::JoinSet;

use super::Kind;
use super::report::Counts;
use super::round::Stage;
use super::town::Town;
use super::troupe::Troupe;

/// How many replicas there are.
const REPLICAS: usize = 3;

/// How many senders.
const SENDERS: usize = 6;

/// How many repositories.
const REPOSITORIES: usize = 40;

/// `server.shutdownTimeout` unless configured, and what a busy machine adds.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Rest after a refused connection, as a proxy takes before it tries the next address.
const REST: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_loses_nothing_and_shows_no_error() {
    let counts = Arc::new(Counts::default());
    let stage = Stage::open(Kind::Memory, REPLICAS, REPOSITORIES, counts).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    for number in 0..SENDERS {
        let (town, troupe) = (Arc::clone(&stage.town), Arc::clone(&stage.troupe));
        let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
        let rng = fastrand::Rng::with_seed(number as u64);
        senders.spawn(send(town, troupe, is_over, answered, rng));
    }
    for replica in &stage.troupe.replicas {
        more(&answered).await;
        let told = Instant::now();
        replica.terminate().await;
        assert!(told.elapsed() < STOP_MAX, "{:?}", told.elapsed());
        more(&answered).await;
        replica.start().await;
    }
    more(&answered).await;
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = senders.join_next().await {
        ended.expect("every answer was 202");
    }
    stage.until_done("after the restart").await;
    let standing = stage.all_agree("after the restart").await;
    assert!(standing.lost.is_empty(), "{:?}", standing.lost);
    assert_eq!(standing.up_to_date, REPOSITORIES, "everything was acknowledged");
    assert!(stage.witness.stale().is_empty(), "{:?}", stage.witness.stale());
    let overlaps = stage.town.world().overlaps();
    assert!(overlaps.is_empty(), "{overlaps:?}");
    stage.close().await;
}

/// Waits until some more deliveries were answered: the load goes on.
async fn more(answered: &AtomicUsize) {
    let enough = answered.load(Ordering::Relaxed) + 50;
    let started = Instant::now();
    while answered.load(Ordering::Relaxed) < enough {
        assert!(started.elapsed() < STOP_MAX, "the load stands still");
        SystemClock.sleep(REST).await;
    }
}

/// Delivers changes until it is over, each until there is an answer, which has to be 202.
async fn send(
    town: Arc<Town>,
    troupe: Arc<Troupe>,
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    mut rng: fastrand::Rng,
) {
    while !is_over.load(Ordering::Relaxed) {
        let change = town.change(&mut rng);
        loop {
            let hook = troupe.replicas[rng.usize(..REPLICAS)].hook().expect("it has an address");
            match town.hooks.post(&hook, &change.delivery).await {
                Ok((202, _)) => break,
                Ok((status, body)) => panic!("{status}: {body}"),
                Err(_) => SystemClock.sleep(REST).await,
            }
        }
        town.acknowledge(change);
        answered.fetch_add(1, Ordering::Relaxed);
    }
}
