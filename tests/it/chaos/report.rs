//! What the chaos did and what came of it, in numbers.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one kind of chaos.
#[derive(Debug, Default)]
pub struct Counts {
    pub rounds: AtomicU64,
    pub deliveries: AtomicU64,
    pub acknowledged: AtomicU64,
    pub kills: AtomicU64,
    pub hangs: AtomicU64,
    pub cuts: AtomicU64,
    pub slow: AtomicU64,
    pub halves: AtomicU64,
    /// Redis killed and started again, or its master replaced.
    pub strikes: AtomicU64,
    /// Writes of replicas whose lease had ended, all refused.
    pub refused: AtomicU64,
    /// Repositories that were read by two at once, because a lease was lost.
    pub overlaps: AtomicU64,
    pub repositories_lost: AtomicU64,
    pub deliveries_lost: AtomicU64,
    pub won_by_ledger: AtomicU64,
    pub won_by_scan: AtomicU64,
    /// Until all was done after the end of the disturbances, in ms: the sum, and the longest.
    pub calm_ms: AtomicU64,
    pub calm_ms_max: AtomicU64,
}

impl Counts {
    pub fn add(counter: &AtomicU64, more: usize) {
        counter.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Relaxed);
    }

    pub fn calm(&self, took: std::time::Duration) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.calm_ms.fetch_add(ms, Relaxed);
        self.calm_ms_max.fetch_max(ms, Relaxed);
    }

    /// A line for each number that says something.
    pub fn print(&self, title: &str) -> String {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let rounds = get(&self.rounds);
        let mut text = format!("{title}: {rounds} rounds\n");
        let mut line = |what: &str, value: u64| {
            writeln!(text, "  {what:<44} {value:>9}").expect("a String takes all");
        };
        line("deliveries posted", get(&self.deliveries));
        line("  acknowledged (2xx)", get(&self.acknowledged));
        line("replicas killed (-9)", get(&self.kills));
        line("replicas hung beyond their leases", get(&self.hangs));
        line("lines to redis cut", get(&self.cuts));
        line("lines to redis slowed down", get(&self.slow));
        line("answers of redis given by half", get(&self.halves));
        line("redis killed, or its master replaced", get(&self.strikes));
        line("writes without a lease, refused", get(&self.refused));
        line("read twice at once, the lease being lost", get(&self.overlaps));
        line("acknowledged deliveries lost", get(&self.deliveries_lost));
        line("  repositories shown too old for it", get(&self.repositories_lost));
        line("  of these won back by the ledger", get(&self.won_by_ledger));
        line("  of these won back by the scan", get(&self.won_by_scan));
        line("ms until all was done, on average", get(&self.calm_ms) / rounds.max(1));
        line("ms until all was done, at most", get(&self.calm_ms_max));
        text
    }
}
