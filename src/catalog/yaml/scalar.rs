//! What a plain scalar means: YAML's core schema as npm's `yaml` has it, and numbers as JavaScript
//! writes them, because Backstage's catalog shows what JavaScript made of them.

use saphyr_parser::Tag;
use serde_json::Number;

use super::{NodeValue, tagged};

/// What a scalar without quotes and tag is.
pub(super) fn resolve_plain(text: &str, yaml_1_1: bool) -> NodeValue {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return NodeValue::Null,
        "true" | "True" | "TRUE" => return NodeValue::Bool(true),
        "false" | "False" | "FALSE" => return NodeValue::Bool(false),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric() || "+-.".contains(c)) {
        return NodeValue::String(text.to_owned());
    }
    let value = match yaml_1_1 {
        true => bool_1_1(text).or_else(|| number_1_1(text)).or_else(|| of_1_1(text)),
        false => number(text),
    };
    value.unwrap_or_else(|| NodeValue::String(text.to_owned()))
}

/// What a scalar with a tag is: the core tags resolve as if untagged where the text fits them,
/// all other tags are dropped and leave a text.
pub(super) fn resolve_tagged(text: &str, tag: &Tag, yaml_1_1: bool) -> NodeValue {
    let resolved = resolve_plain(text, yaml_1_1);
    let fits = match (tagged::core_name(tag), &resolved) {
        ("int", NodeValue::Number(_)) => !text.contains(['.', 'e', 'E']) || text.contains('x'),
        ("float", NodeValue::Number(_)) => text.contains(['.', 'e', 'E']),
        ("null", NodeValue::Null) | ("bool", NodeValue::Bool(_)) => true,
        _ => false,
    };
    if fits { resolved } else { NodeValue::String(text.to_owned()) }
}

fn number(text: &str) -> Option<NodeValue> {
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8, 1.0);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16, 1.0);
    }
    if is_not_finite(text) {
        return Some(NodeValue::Null);
    }
    is_decimal(text).then(|| text.parse().ok().map(from_f64)).flatten()
}

/// `yes`, `on` and so on, which are texts in YAML 1.2.
fn bool_1_1(text: &str) -> Option<NodeValue> {
    const TRUE: [&str; 8] = ["Y", "y", "Yes", "yes", "YES", "On", "on", "ON"];
    const FALSE: [&str; 8] = ["N", "n", "No", "no", "NO", "Off", "off", "OFF"];
    let is = TRUE.contains(&text);
    (is || FALSE.contains(&text)).then_some(NodeValue::Bool(is))
}

fn number_1_1(text: &str) -> Option<NodeValue> {
    if is_not_finite(text) {
        return Some(NodeValue::Null);
    }
    let (sign, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    // An underscore may stand between digits, not before them.
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let digits = unsigned.replace('_', "");
    if let Some(binary) = digits.strip_prefix("0b") {
        return radix(binary, 2, sign);
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        return radix(hex, 16, sign);
    }
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) {
        return radix(&digits[1..], 8, sign);
    }
    is_decimal(&digits).then(|| digits.parse().ok().map(|f: f64| from_f64(sign * f))).flatten()
}

/// `1:30` and dates, which are texts in YAML 1.2.
fn of_1_1(text: &str) -> Option<NodeValue> {
    sexagesimal(text).or_else(|| tagged::timestamp(text).map(NodeValue::String))
}

/// `1:30` and `1:02:03.5`: seconds, in YAML 1.1.
fn sexagesimal(text: &str) -> Option<NodeValue> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text).replace('_', "");
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned.as_str(), None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (first, rest) = whole.split_once(':')?;
    if first.is_empty() || !digits(first) || !fraction.is_none_or(digits) {
        return None;
    }
    let mut value: f64 = first.parse().ok()?;
    for part in rest.split(':') {
        let fits = digits(part) && (part.len() == 1 || (part.len() == 2 && part < "60"));
        value = value * 60.0 + part.parse::<f64>().ok().filter(|_| fits)?;
    }
    value += format!("0.{}", fraction.unwrap_or_default()).parse::<f64>().ok()?;
    Some(from_f64(if text.starts_with('-') { -value } else { value }))
}

fn radix(digits: &str, radix: u32, sign: f64) -> Option<NodeValue> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0.0;
    for digit in digits.chars() {
        value = value * f64::from(radix) + f64::from(digit.to_digit(radix)?);
    }
    Some(from_f64(sign * value))
}

/// Infinity and "not a number", which JSON has not: JavaScript writes them as `null`.
fn is_not_finite(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// `[-+]? ( digits [. digits?] | . digits ) ( [eE] [-+]? digits )?`
fn is_decimal(text: &str) -> bool {
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent_fits
        && all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
}

/// A number as JavaScript would keep and print it: whole numbers without a fraction, precision
/// that of a double. What JSON cannot hold is nothing.
fn from_f64(value: f64) -> NodeValue {
    let text = float_text(value);
    if let Ok(whole) = text.parse::<i64>() {
        return NodeValue::Number(whole.into());
    }
    if let Ok(whole) = text.parse::<u64>() {
        return NodeValue::Number(whole.into());
    }
    Number::from_f64(value).map_or(NodeValue::Null, NodeValue::Number)
}

/// A number as JavaScript's `String()` writes it; Backstage's keys and search values are so.
pub fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => float_text(value),
        _ => number.to_string(),
    }
}

/// `Number::toString` of ECMAScript: the shortest digits that mean the same double, plain between
/// 1e-6 and 1e21.
fn float_text(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if !value.is_finite() {
        return "null".into();
    }
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("`{:e}` writes an exponent");
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes a whole exponent");
    let count = i32::try_from(digits.len()).expect("a double has at most 17 digits");
    let sign = if value < 0.0 { "-" } else { "" };
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or(0));
    let body = if (0..21).contains(&exponent) && exponent + 1 >= count {
        format!("{digits}{}", zeros(exponent + 1 - count))
    } else if (0..21).contains(&exponent) {
        let (whole, fraction) = digits.split_at(usize::try_from(exponent + 1).unwrap_or(0));
        format!("{whole}.{fraction}")
    } else if (-6..0).contains(&exponent) {
        format!("0.{}{digits}", zeros(-exponent - 1))
    } else {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let plus = if exponent > 0 { "+" } else { "" };
        format!("{first}{point}{rest}e{plus}{exponent}")
    };
    format!("{sign}{body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, core: &str, old: &str) {
        let show = |value: NodeValue| match value {
            NodeValue::Number(number) => format!("number {}", number_text(&number)),
            NodeValue::String(text) => format!("text {text}"),
            NodeValue::Bool(is) => is.to_string(),
            NodeValue::Null => "null".into(),
            other => format!("{other:?}"),
        };
        assert_eq!(show(resolve_plain(text, false)), core, "`{text}` by the core schema");
        assert_eq!(show(resolve_plain(text, true)), old, "`{text}` by YAML 1.1");
    }

    #[test]
    fn whole_numbers() {
        check("017", "number 17", "number 15");
        check("0o17", "number 15", "text 0o17");
        check("0xfF", "number 255", "number 255");
        check("+5", "number 5", "number 5");
        check("-0", "number 0", "number 0");
        check("0b101", "text 0b101", "number 5");
        check("2_000", "text 2_000", "number 2000");
        check("98765432109876543210", "number 98765432109876540000", "number 98765432109876540000");
        check("0o9", "text 0o9", "text 0o9");
        check("0x", "text 0x", "text 0x");
    }

    #[test]
    fn fractions_and_exponents() {
        check("2.50", "number 2.5", "number 2.5");
        check("3.", "number 3", "number 3");
        check(".5", "number 0.5", "number 0.5");
        check("2E3", "number 2000", "number 2000");
        check("1e-7", "number 1e-7", "number 1e-7");
        check("0.000001", "number 0.000001", "number 0.000001");
        check("1.5e300", "number 1.5e+300", "number 1.5e+300");
        check("1e999", "null", "null");
        check("-.inf", "null", "null");
        check(".nan", "null", "null");
    }

    #[test]
    fn texts_that_look_like_something_else() {
        for text in [".", "-", "+", "e5", "1e", "1.2.3", "1:60", "2026-02", "inf", "nan", "1 2"] {
            check(text, &format!("text {text}"), &format!("text {text}"));
        }
        check("1:30", "text 1:30", "number 90");
        check("-1:02:03.5", "text -1:02:03.5", "number -3723.5");
        check("2026-02-03", "text 2026-02-03", "text 2026-02-03T00:00:00.000Z");
        check("off", "text off", "false");
        check("Yes", "text Yes", "true");
        check("tRue", "text tRue", "text tRue");
    }

    #[test]
    fn core_tags_hold_where_the_text_fits_and_others_leave_a_text() {
        let tag = |suffix: &str| Tag { handle: "tag:yaml.org,2002:".into(), suffix: suffix.into() };
        let text = |t: &str| NodeValue::String(t.into());
        assert_eq!(resolve_tagged("7", &tag("str"), false), text("7"));
        assert_eq!(resolve_tagged("7", &tag("int"), false), NodeValue::Number(7.into()));
        assert_eq!(resolve_tagged("x", &tag("int"), false), text("x"));
        assert_eq!(resolve_tagged("true", &tag("bool"), false), NodeValue::Bool(true));
        let own = Tag { handle: "!".into(), suffix: "Ref".into() };
        assert_eq!(resolve_tagged("7", &own, false), text("7"));
    }
}
