//! What one heartbeat leaves to the next, also to another replica's: how far it saw, and whether a
//! scan is owed. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::heads::Heads;
use crate::clock::Timestamp;
use crate::config::Frequency;
use crate::github::{Edge, Latest};
use crate::ids::{Account, FullName};
use crate::scan::{PAGE_MAX, ScanResult};

/// Points an hour that scans for a heartbeat's sake may cost an account, beyond the first: 6 % of
/// what GitHub gives at least. An account of one page is scanned after 12 s again if need be, one
/// of a hundred pages after 20 minutes, when its own scan is due too.
pub const SCAN_POINTS_PER_HOUR: u64 = 300;

/// How far GitHub's clock and ours may differ: only widens what is believed.
const SKEW: Duration = Duration::from_secs(120);

/// The part of a period, in percent, after which the next heartbeat may come: timers are not exact,
/// and a heartbeat takes a moment itself.
const PERIOD_PERCENT: u32 = 90;

/// Where the last heartbeat of an account was. The note's form: a field added later needs a
/// default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// When the last one began, by our clock, whatever came of it.
    pub(super) at: Option<Timestamp>,
    /// When the last one that got an answer began: what follows is of then.
    seen_at: Option<Timestamp>,
    /// The newest push it saw.
    pub(super) pushed: Option<Timestamp>,
    /// The newest change it saw.
    updated: Option<Timestamp>,
    /// The newest of both and of all creations.
    seen_until: Option<Timestamp>,
    /// How many repositories there were.
    total: Option<u64>,
    /// Since when a scan is owed, and why.
    owed: Option<(Timestamp, String)>,
    /// When the last scan for a heartbeat's sake was asked for.
    scan_at: Option<Timestamp>,
    /// The default branches that others include files of.
    #[serde(default)]
    pub(super) heads: Heads,
}

/// Whether it is too early for what last happened at `last` and happens at `frequency`.
pub(super) fn is_early(frequency: &Frequency, last: Timestamp, now: Timestamp) -> bool {
    let Some(next) = frequency.next_after_millis(last.0) else { return false };
    // A clock that was set back does not silence an account.
    last <= now && now < last + Timestamp(next).since(last) * PERIOD_PERCENT / 100
}

impl Mark {
    /// The note's name.
    pub(super) fn name(account: &Account) -> String {
        format!("heartbeat:{account}")
    }

    /// Reads the note; another version's counts as none.
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The note's text.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("times, numbers and texts have a JSON form")
    }

    /// Notes that a scan is owed when the pages do not tell all, or one has left. `scan` is the
    /// last one that ended well.
    pub(super) fn want_scan(
        &mut self,
        latest: &Latest,
        scan: Option<&ScanResult>,
        left: Option<FullName>,
        now: Timestamp,
    ) {
        let left = left.map(|name| format!("the filters no longer let {name} in"));
        if let Some(why) = left.or_else(|| self.beyond_pages(latest, scan)) {
            self.owed = Some((now, why));
        }
    }

    /// Why only the full listing can say what happened.
    fn beyond_pages(&self, latest: &Latest, scan: Option<&ScanResult>) -> Option<String> {
        // Of a heartbeat and a scan the later one knows better what was there.
        let scan = scan.filter(|scan| self.seen_at.is_none_or(|at| scan.ended_at > at));
        let since = self.seen_until.or_else(|| Some(scan?.started_at - SKEW));
        let is_new = |created: Option<Timestamp>| created > since;
        let new = latest.repositories.iter().filter(|it| is_new(it.created_at)).count() as u64;
        let expected = match (scan, self.total) {
            (Some(scan), _) => Some(scan.listed..=scan.listed.saturating_add(new)),
            (None, Some(total)) => Some(total.saturating_add(new)..=total.saturating_add(new)),
            (None, None) => None,
        };
        let total = latest.total;
        if let Some(expected) = expected.filter(|expected| !expected.contains(&total)) {
            let most = expected.end();
            return Some(format!("GitHub counts {total} repositories where {most} were expected"));
        }
        let overflows = |edge: Edge, last: Option<Timestamp>| last.is_some() && edge.oldest > last;
        if overflows(latest.pushed, self.pushed) || overflows(latest.updated, self.updated) {
            return Some("more has changed than a page shows".to_owned());
        }
        None
    }

    /// Goes on to what was seen now.
    pub(super) fn advance(&mut self, latest: &Latest) {
        let created = latest.repositories.iter().filter_map(|repository| repository.created_at);
        self.pushed = latest.pushed.newest.max(self.pushed);
        self.updated = latest.updated.newest.max(self.updated);
        let newest = self.pushed.max(self.updated).max(created.max());
        self.seen_until = newest.max(self.seen_until);
        self.total = Some(latest.total);
        self.seen_at = self.at;
    }

    /// Owes nothing any more that the last scan has seen from its first page on: one that went on
    /// where an older one had failed may have had the page behind it.
    pub(super) fn forgive(&mut self, scan: Option<&ScanResult>) {
        let has_seen = |since: Timestamp| scan.is_some_and(|scan| scan.started_at >= since);
        self.owed.take_if(|(since, _)| has_seen(*since));
    }

    /// Why a scan is to be asked for now, if one is owed and the last is long enough ago. It stays
    /// owed until one has ended.
    pub(super) fn due_scan(&mut self, scan: Option<&ScanResult>, now: Timestamp) -> Option<String> {
        let (_, why) = self.owed.as_ref()?;
        let last = self.scan_at.max(scan.map(|scan| scan.ended_at));
        let pages = self.total.unwrap_or(0).div_ceil(u64::from(PAGE_MAX)).max(1);
        let pause = Duration::from_secs(pages.saturating_mul(3600 / SCAN_POINTS_PER_HOUR));
        if last.is_some_and(|last| last <= now && now.since(last) < pause) {
            return None;
        }
        self.scan_at = Some(now);
        Some(why.clone())
    }

    /// Why a scan is owed.
    pub(super) fn owed(&self) -> Option<&String> {
        self.owed.as_ref().map(|(_, why)| why)
    }
}
