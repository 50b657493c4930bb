//! The tags of YAML 1.1 that npm's `yaml` knows in any version, as they look once they are JSON:
//! `!!binary` is what a `Buffer` writes, `!!set` and `!!omap` write nothing of what they hold, and
//! `!!timestamp` is the moment in UTC.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use saphyr_parser::Tag;

/// The handle of `!!str` and its kin.
const CORE_TAG: &str = "tag:yaml.org,2002:";

/// Reads what is left of a text without its padding, however it ends.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The name of a tag that begins with `!!`.
pub(super) fn core_name(tag: &Tag) -> &str {
    if tag.handle == CORE_TAG { tag.suffix.as_str() } else { "" }
}

/// The bytes of a `!!binary`; as in Node.js, what is no digit is passed over.
pub(super) fn binary(text: &str) -> Vec<u8> {
    let digits = text.chars().take_while(|c| *c != '=').filter_map(|c| match c {
        'A'..='Z' | 'a'..='z' | '0'..='9' | '+' | '/' => Some(c),
        '-' => Some('+'),
        '_' => Some('/'),
        _ => None,
    });
    let mut digits: String = digits.collect();
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    BASE64.decode(digits).unwrap_or_default()
}

/// The moment that a text of YAML 1.1 stands for, as JavaScript writes it.
pub(super) fn timestamp(text: &str) -> Option<String> {
    let (year, rest) = digits(text, 4, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 1, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 1, 2)?;
    let mut millis = days_before(year, month, day) * 86_400_000;
    if !rest.is_empty() {
        let time = rest.strip_prefix(['t', 'T']).unwrap_or_else(|| rest.trim_start_matches(BLANKS));
        if time.len() == rest.len() {
            return None;
        }
        millis += time_of_day(time)?;
    }
    let (days, of_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = date_of(days);
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let shown = format!("{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z");
    (0..=9999).contains(&year).then(|| format!("{year:04}-{shown}"))
}

const BLANKS: [char; 2] = [' ', '\t'];

/// `hh:mm:ss.fff` and the zone, in milliseconds.
fn time_of_day(text: &str) -> Option<i64> {
    let (hour, rest) = digits(text, 1, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 1, 2)?;
    let (second, mut rest) = digits(rest.strip_prefix(':')?, 1, 2)?;
    let mut millis = ((hour * 60 + minute) * 60 + second) * 1000;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
        let first: String = fraction[..end].chars().chain("00".chars()).take(3).collect();
        millis += first.parse::<i64>().ok().filter(|_| end > 0)?;
        rest = &fraction[end..];
    }
    match rest.trim_start_matches(BLANKS) {
        "" if rest.is_empty() => Some(millis),
        "Z" => Some(millis),
        zone => {
            let is_east = zone.starts_with('+');
            let unsigned = zone.strip_prefix(['+', '-'])?;
            let (hours, minutes) = match unsigned.split_once(':') {
                Some((hours, minutes)) => (hours, digits(minutes, 2, 2)?),
                None => (unsigned, (0, "")),
            };
            let (hours, after) = digits(hours, 1, 2)?;
            if !after.is_empty() || !minutes.1.is_empty() || hours > 29 {
                return None;
            }
            // What is less than half an hour in minutes means hours, as in npm's `yaml`.
            let written = if unsigned.contains(':') { hours * 60 + minutes.0 } else { hours };
            let offset = if written < 30 { written * 60 } else { written };
            Some(millis - if is_east { offset } else { -offset } * 60_000)
        }
    }
}

/// A number of so many digits, and what follows.
fn digits(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    (count >= least).then(|| Some((text[..count].parse().ok()?, &text[count..]))).flatten()
}

/// Days from the first of 1970 to a date; a month beyond December is one of the next year.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = year + (month - 1).div_euclid(12);
    let month = (month - 1).rem_euclid(12) + 1;
    // Years from March, so that the odd day is the last one.
    let year = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_base64() {
        assert_eq!(binary("aGVsbG8="), b"hello");
        assert_eq!(binary("aGVs\n bG8"), b"hello");
        assert_eq!(binary("a b"), [105]);
        assert_eq!(binary("-_"), [251]);
        assert_eq!(binary(""), [0_u8; 0]);
    }

    #[test]
    fn moments() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(timestamp(text).as_deref(), expected, "{text}");
        };
        check("2026-11-22", Some("2026-11-22T00:00:00.000Z"));
        check("2026-2-3", Some("2026-02-03T00:00:00.000Z"));
        check("1969-12-31", Some("1969-12-31T00:00:00.000Z"));
        check("2024-02-30", Some("2024-03-01T00:00:00.000Z"));
        check("2024-13-01", Some("2025-01-01T00:00:00.000Z"));
        check("2026-11-22T10:00:00.5+02:00", Some("2026-11-22T08:00:00.500Z"));
        check("2026-11-22t1:02:03 -5", Some("2026-11-22T06:02:03.000Z"));
        check("2026-11-22  23:59:59.12345Z", Some("2026-11-22T23:59:59.123Z"));
        for text in ["", "x", "2026", "2026-11", "2026-11-22x", "2026-11-22 10:00", "26-11-22"] {
            check(text, None);
        }
    }
}
