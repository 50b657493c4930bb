//! Spans of time and schedules as people and Backstage write them.
//!
//! Texts are ISO 8601 (`PT20M`) or human (`20 minutes`, `1h 30m`); a day has 24 hours, a month 30
//! days, a year 365. A text without a unit is refused: nobody should have to guess it.

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::{Span, Timestamp, tz::TimeZone};

use super::Frequency;

/// Longest span: a century; more than any schedule needs, and sums of two stay in range.
const SPAN_MAX: Duration = Duration::from_secs(100 * 365 * DAY_SECS);

const DAY_SECS: u64 = 24 * 3600;

/// The keys of a span written as a map, with the milliseconds of each.
pub(super) const UNITS: &[(&str, u64)] = &[
    ("years", 365 * DAY_SECS * 1000),
    ("months", 30 * DAY_SECS * 1000),
    ("weeks", 7 * DAY_SECS * 1000),
    ("days", DAY_SECS * 1000),
    ("hours", 3600 * 1000),
    ("minutes", 60 * 1000),
    ("seconds", 1000),
    ("milliseconds", 1),
];

/// Reads a text as a span of time.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration, such as `20 minutes`, `1h` or `PT20M`");
    let span: Span = text.trim().parse().map_err(|_| wrong())?;
    let counts = [
        i64::from(span.get_years()),
        i64::from(span.get_months()),
        i64::from(span.get_weeks()),
        i64::from(span.get_days()),
        i64::from(span.get_hours()),
        span.get_minutes(),
        span.get_seconds(),
        span.get_milliseconds(),
    ];
    let mut millis: i128 = 0;
    for (count, (_, unit)) in counts.iter().zip(UNITS) {
        millis += i128::from(*count) * i128::from(*unit);
    }
    checked(millis, &wrong)
}

/// Adds up a span written as a map; `counts` are units and how many of each.
pub(super) fn sum(counts: &[(&str, f64)]) -> Result<Duration, String> {
    let mut secs = 0.0;
    for (unit, count) in counts {
        let known = UNITS.iter().find(|(name, _)| name == unit);
        let (_, millis) = known.ok_or_else(|| format!("`{unit}` is not a unit of time"))?;
        if *count < 0.0 {
            return Err(format!("`{unit}` is negative"));
        }
        secs += count * Duration::from_millis(*millis).as_secs_f64();
    }
    let too_long = || "the duration is longer than a century".to_owned();
    let span = Duration::try_from_secs_f64(secs).map_err(|_| too_long())?;
    if span > SPAN_MAX { Err(too_long()) } else { Ok(span) }
}

fn checked(millis: i128, wrong: &dyn Fn() -> String) -> Result<Duration, String> {
    let millis = u64::try_from(millis).map_err(|_| wrong())?;
    let span = Duration::from_millis(millis);
    if span > SPAN_MAX { Err("the duration is longer than a century".to_owned()) } else { Ok(span) }
}

/// Checks a cron expression of five fields, or six with seconds in front.
pub(super) fn parse_cron(text: &str) -> Result<Frequency, String> {
    match cron(text) {
        Some(cron) if next_match(&cron, 0).is_some() => Ok(Frequency::Cron(text.to_owned())),
        Some(_) => Err(format!("the cron expression `{text}` never matches")),
        None => Err(format!("`{text}` is not a cron expression, such as `0 * * * *`")),
    }
}

fn cron(text: &str) -> Option<Cron> {
    CronParser::builder().seconds(Seconds::Optional).build().parse(text).ok()
}

fn next_match(cron: &Cron, after_millis: i64) -> Option<i64> {
    let after = Timestamp::from_millisecond(after_millis).ok()?.to_zoned(TimeZone::UTC);
    cron.find_next_occurrence(&after, false).ok().map(|next| next.timestamp().as_millisecond())
}

impl Frequency {
    /// When the next run is due after a point in time (the end of the last run), both in
    /// milliseconds since the Unix epoch; `None` when only a person starts one.
    pub fn next_after_millis(&self, after_millis: i64) -> Option<i64> {
        match self {
            Self::Every(span) => {
                let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
                Some(after_millis.saturating_add(span))
            }
            Self::Cron(text) => cron(text).and_then(|cron| next_match(&cron, after_millis)),
            Self::Manual => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        let check = |text: &str, secs: u64| {
            assert_eq!(parse(text), Ok(Duration::from_secs(secs)), "{text}");
        };
        check("20 minutes", 1200);
        check("1h", 3600);
        check("1h 30m", 5400);
        check("PT20M", 1200);
        check("P1DT1S", 86_401);
        check("1 day", 86_400);
        check("2 weeks", 1_209_600);
        check("1.5 hours", 5400);
        check("0s", 0);
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "20", "soon", "-5m", "5 minutes ago", "P", "200 years"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(sum(&[("hours", -1.0)]).is_err());
        assert!(sum(&[("hours", 1e12)]).is_err());
        assert_eq!(sum(&[("minutes", 1.5), ("seconds", 1.0)]), Ok(Duration::from_secs(91)));
    }

    #[test]
    fn a_cron_expression_says_when_it_is_next() {
        let next = |text: &str, after: &str| {
            let after: Timestamp = after.parse().expect("a time");
            let due = parse_cron(text).expect("cron").next_after_millis(after.as_millisecond());
            Timestamp::from_millisecond(due.expect("a next time")).expect("a time").to_string()
        };
        assert_eq!(next("0 * * * *", "2026-11-22T10:00:00Z"), "2026-11-22T11:00:00Z");
        assert_eq!(next("30 2 * * 1", "2026-11-22T10:00:00Z"), "2026-11-23T02:30:00Z");
        assert_eq!(next("*/10 * * * * *", "2026-11-22T10:00:01Z"), "2026-11-22T10:00:10Z");
        for text in ["", "* * * *", "61 * * * *", "0 0 31 2 *", "PT20M"] {
            assert!(parse_cron(text).is_err(), "{text}");
        }
        assert_eq!(Frequency::Every(Duration::from_secs(2)).next_after_millis(5), Some(2005));
        assert_eq!(Frequency::Manual.next_after_millis(5), None);
    }
}
