//! One round: deliveries arrive while things break; then all is left in peace, and it is looked at
//! what has become of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cuelight::clock::{Clock as _, SystemClock};
use fake_github::Delivery;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Kind;
use super::ground::Ground;
use super::report::Counts;
use super::town::{Standing, Town};
use super::troupe::{RECEIVERS, Troupe};
use super::witness::Witness;
use crate::support::breaking::Trouble;
use crate::support::http;

/// How many replicas there are in a round.
pub const REPLICAS: usize = 5;

/// How many deliveries are under way at once.
const POSTERS: usize = 8;

/// What a sender rests after each delivery, so that they arrive while things break.
const PACE: Duration = Duration::from_millis(8);

/// The longest wait for the queue to be empty: a lease, a busy machine, and much more.
const CALM_MAX: Duration = Duration::from_secs(150);

/// The longest wait for all catalogs to show what is stored.
const SHOW_MAX: Duration = Duration::from_secs(60);

/// How long one may take for that, before it is looked whether what is stored has changed.
const AGREE_MAX: Duration = Duration::from_secs(15);

/// How often the queue is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long an answer of GitHub takes: long enough that work is under way when a process dies.
pub const GITHUB_LATENCY: Duration = Duration::from_millis(60);

/// Something that breaks.
#[derive(Debug, Clone, Copy)]
enum Blow {
    /// `kill -9` of a replica, which is started again.
    Kill(usize),
    /// A replica hangs until all others are done.
    Hang(usize),
    /// All connections of a replica to Redis end.
    Cut(usize),
    /// They become slow, until the next blow.
    Slow(usize, Duration),
    /// They give half an answer and end, until the next blow.
    Half(usize),
    /// Redis is killed and started again, or its master replaced.
    Strike,
}

/// The stage of a lane: everything that outlives a round.
pub struct Stage {
    pub kind: Kind,
    pub town: Arc<Town>,
    pub ground: Ground,
    pub troupe: Arc<Troupe>,
    pub witness: Witness,
    pub counts: Arc<Counts>,
}

impl Stage {
    /// Starts everything and lets a scan fill the catalog.
    pub async fn open(
        kind: Kind,
        replicas: usize,
        repositories: usize,
        counts: Arc<Counts>,
    ) -> Self {
        let town = Arc::new(Town::open(repositories).await);
        town.world().set_latency(GITHUB_LATENCY);
        let ground = Ground::start(kind).await;
        let troupe = Arc::new(Troupe::start(&town, &ground, replicas).await);
        let witness = Witness::call(&ground.url(), Arc::clone(&town)).await;
        let stage = Self { kind, town, ground, troupe, witness, counts };
        stage.scan().await;
        let standing = stage.all_agree("at the start").await;
        assert_eq!(standing.up_to_date, repositories, "the first scan");
        stage
    }

    /// Ends everything; each replica has to exit 0.
    pub async fn close(self) {
        self.witness.dismiss().await;
        let troupe = Arc::into_inner(self.troupe).expect("the rounds have ended");
        troupe.end().await;
    }

    /// Plays a round; panics when something was lost or wrong.
    pub async fn round(&mut self, number: usize, seed: u64, deliveries: usize) {
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_add(number as u64));
        let name = format!("round {number}, seed {seed}, {:?}", self.kind);
        self.troupe.pay(&self.town);
        self.town.world().reset_calls();
        // Before the load: it takes longer than the load lasts.
        self.ground.ready().await;
        let plan = plan(self.kind, &mut rng, deliveries);
        let hung = self.turmoil(&plan, &mut rng, deliveries).await;
        let calm = Instant::now();
        self.until_done(&name).await;
        for at in hung {
            // Its leases have ended; what it wants to write now must not be written.
            self.troupe.replicas[at].go_on().await;
            self.until_done(&name).await;
        }
        self.counts.calm(calm.elapsed());
        let standing = self.all_agree(&name).await;
        for replica in &self.troupe.replicas {
            let refused = usize::try_from(replica.refused().await).unwrap_or(usize::MAX);
            Counts::add(&self.counts.refused, refused);
        }
        let overlaps = self.town.world().overlaps();
        Counts::add(&self.counts.overlaps, overlaps.len());
        // A lease that Redis has lost is given a second time; what its first holder writes is
        // refused.
        let may_overlap = matches!(self.kind, Kind::Failover | Kind::EverySecond);
        let what = "read twice at the same time";
        assert!(may_overlap || overlaps.is_empty(), "{name}: {what}: {overlaps:?}");
        let stale = self.witness.stale();
        assert!(stale.is_empty(), "{name}: {stale:?}");
        Counts::add(&self.counts.repositories_lost, standing.lost.len());
        Counts::add(&self.counts.deliveries_lost, standing.deliveries_lost);
        if self.kind == Kind::Always {
            assert!(standing.lost.is_empty(), "{name}: lost: {:?}", standing.lost);
        } else if !standing.lost.is_empty() {
            self.win_back(&name, standing.lost.len(), deliveries).await;
        }
        self.town.settle_accounts();
        Counts::add(&self.counts.rounds, 1);
    }

    /// Lets deliveries arrive and things break; returns who hangs.
    async fn turmoil(
        &mut self,
        plan: &[(usize, Blow)],
        rng: &mut fastrand::Rng,
        deliveries: usize,
    ) -> Vec<usize> {
        let issued = Arc::new(watch::Sender::new(0));
        let left = Arc::new(AtomicUsize::new(deliveries));
        let mut posters = JoinSet::new();
        for _ in 0..POSTERS {
            let (town, troupe) = (Arc::clone(&self.town), Arc::clone(&self.troupe));
            let (issued, left) = (Arc::clone(&issued), Arc::clone(&left));
            let counts = Arc::clone(&self.counts);
            posters.spawn(post(town, troupe, counts, issued, left, rng.fork()));
        }
        let mut starts = JoinSet::new();
        let mut hung = Vec::new();
        let mut progress = issued.subscribe();
        for (at, blow) in plan {
            progress.wait_for(|issued| issued >= at).await.expect("they are issued");
            self.calm_lines();
            match *blow {
                Blow::Hang(at) => hung.push(at),
                // A hung one is not killed, nor its line touched.
                Blow::Kill(at) if hung.contains(&at) => continue,
                _ => {}
            }
            self.strike(*blow, &mut starts).await;
        }
        while let Some(ended) = posters.join_next().await {
            ended.expect("no sender panics");
        }
        self.calm_lines();
        while let Some(started) = starts.join_next().await {
            started.expect("it is started again");
        }
        hung
    }

    fn calm_lines(&self) {
        let lines = self.troupe.replicas.iter().filter_map(|replica| replica.line.as_ref());
        lines.for_each(|line| line.set(Trouble::None));
    }

    async fn strike(&mut self, blow: Blow, starts: &mut JoinSet<()>) {
        let counts = &self.counts;
        let line = |at: usize| self.troupe.replicas[at].line.as_ref();
        let counter = match blow {
            Blow::Kill(at) => {
                let troupe = Arc::clone(&self.troupe);
                troupe.replicas[at].kill().await;
                starts.spawn(async move { troupe.replicas[at].start().await });
                &counts.kills
            }
            Blow::Hang(at) => {
                self.troupe.replicas[at].hang().await;
                &counts.hangs
            }
            Blow::Cut(at) => {
                line(at).inspect(|line| line.cut());
                &counts.cuts
            }
            Blow::Slow(at, span) => {
                line(at).inspect(|line| line.set(Trouble::Slow(span)));
                &counts.slow
            }
            Blow::Half(at) => {
                line(at).inspect(|line| line.set(Trouble::Half));
                &counts.halves
            }
            Blow::Strike => {
                self.ground.strike().await;
                &counts.strikes
            }
        };
        Counts::add(counter, 1);
    }

    /// Waits until no key waits or is held; none may be dead.
    pub async fn until_done(&self, name: &str) {
        let deadline = Instant::now() + CALM_MAX;
        loop {
            let told = match self.witness.stats().await {
                Ok(stats) => {
                    assert_eq!(stats.dead, 0, "{name}: keys are dead");
                    if stats.waiting_event + stats.waiting_scan + stats.held == 0 {
                        return;
                    }
                    format!("{stats:?}")
                }
                Err(error) => error.to_string(),
            };
            assert!(Instant::now() < deadline, "{name}: not done: {told}");
            SystemClock.sleep(LOOK_EVERY).await;
        }
    }

    /// Every replica shows what is stored.
    pub async fn all_agree(&self, name: &str) -> Standing {
        let deadline = Instant::now() + SHOW_MAX;
        'again: loop {
            // A push that was given up on may be carried out later: what is stored then counts.
            self.until_done(name).await;
            let standing = self.town.compare(&self.witness.records().await);
            for (at, replica) in self.troupe.replicas.iter().enumerate() {
                if let Err(difference) = replica.shows(&standing.shown, AGREE_MAX).await {
                    let told = format!("replica {at} does not show what is stored: {difference}");
                    assert!(Instant::now() < deadline, "{name}: {told}");
                    continue 'again;
                }
            }
            return standing;
        }
    }

    /// Redelivers what the ledger does not know, then scans, and counts what each won back.
    async fn win_back(&self, name: &str, lost: usize, deliveries: usize) {
        let ledger = self.witness.ledger(2 * deliveries).await;
        let unknown = self.town.unknown_to(&ledger);
        let hook = self.troupe.replicas[0].hook().expect("it runs");
        for delivery in &unknown {
            let deadline = Instant::now() + SHOW_MAX;
            while posted(&self.town, &hook, delivery).await != Some(202) {
                assert!(Instant::now() < deadline, "{name}: no redelivery is taken");
            }
        }
        self.until_done(name).await;
        let left = self.all_agree(name).await.lost.len();
        Counts::add(&self.counts.won_by_ledger, lost - left);
        self.scan().await;
        let standing = self.all_agree(name).await;
        assert!(standing.lost.is_empty(), "{name}: the scan did not find {:?}", standing.lost);
        Counts::add(&self.counts.won_by_scan, left);
    }

    /// A scan finds everything, also what no acknowledged delivery told of.
    pub async fn scan_finds_all(&self, repositories: usize) {
        self.scan().await;
        let standing = self.all_agree("at the end").await;
        assert_eq!(standing.up_to_date, repositories, "after a scan");
    }

    async fn scan(&self) {
        let url = self.troupe.replicas[0].internal("/api/cuelight/v1/scans");
        let deadline = Instant::now() + SHOW_MAX;
        loop {
            match http::post_json(&url, &serde_json::json!({})).await {
                (202, _) => break,
                // On a busy machine Redis may seem to be away for a moment.
                (status, body) => assert!(Instant::now() < deadline, "{status}: {body}"),
            }
        }
        self.until_done("the scan").await;
    }
}

/// What breaks, and after how many deliveries.
fn plan(kind: Kind, rng: &mut fastrand::Rng, deliveries: usize) -> Vec<(usize, Blow)> {
    let mut blows = Vec::new();
    for _ in 0..rng.usize(1..=3) {
        blows.push(Blow::Kill(rng.usize(..REPLICAS)));
    }
    let mut may_hang = rng.u8(..3) == 0;
    for _ in 0..rng.usize(2..=4) {
        let at = rng.usize(..REPLICAS);
        blows.push(match (kind, rng.u8(..5)) {
            (Kind::Failover, _) => Blow::Kill(at),
            (_, 0) => Blow::Slow(at, Duration::from_millis(rng.u64(20..1_500))),
            (_, 1) => Blow::Half(at),
            // Of the receivers one has to be left.
            (Kind::Always, 2) if may_hang && at >= RECEIVERS => {
                may_hang = false;
                Blow::Hang(at)
            }
            _ => Blow::Cut(at),
        });
    }
    if kind != Kind::Always || rng.bool() {
        blows.push(Blow::Strike);
    }
    rng.shuffle(&mut blows);
    let (first, all) = (deliveries / 10, blows.len());
    let at = |place: usize| first + place * (deliveries - 2 * first) / all;
    blows.into_iter().enumerate().map(|(place, blow)| (at(place), blow)).collect()
}

/// Posts changes to the receivers in turn until none are left; nobody tries one again.
async fn post(
    town: Arc<Town>,
    troupe: Arc<Troupe>,
    counts: Arc<Counts>,
    issued: Arc<watch::Sender<usize>>,
    left: Arc<AtomicUsize>,
    mut rng: fastrand::Rng,
) {
    let take = |left| usize::checked_sub(left, 1);
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
        let change = town.change(&mut rng);
        Counts::add(&counts.deliveries, 1);
        let receiver = &troupe.replicas[rng.usize(..RECEIVERS)];
        let status = match receiver.hook() {
            Some(hook) => posted(&town, &hook, &change.delivery).await,
            None => None,
        };
        if status.is_some_and(|status| (200..300).contains(&status)) {
            Counts::add(&counts.acknowledged, 1);
            town.acknowledge(change);
        }
        issued.send_modify(|issued| *issued += 1);
        SystemClock.sleep(PACE).await;
    }
}

async fn posted(town: &Town, hook: &str, delivery: &Delivery) -> Option<u16> {
    town.hooks.post(hook, delivery).await.ok().map(|(status, _)| status)
}
