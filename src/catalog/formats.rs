//! The formats of names, keys and texts in an entity's metadata.

/// Longest name, label value, tag and DNS label.
const LABEL_CHARS_MAX: usize = 63;

/// Longest DNS subdomain, the prefix of an `apiVersion` or a key.
const SUBDOMAIN_CHARS_MAX: usize = 253;

/// A format and what Backstage says it expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `[prefix/]version`
    ApiVersion,
    /// A kind.
    Kind,
    /// `metadata.name`
    Name,
    /// `metadata.namespace`
    Namespace,
    /// The key of a label or an annotation: `[prefix/]name`.
    Key,
    /// The value of a label.
    LabelValue,
    /// A tag.
    Tag,
    /// An absolute URL of any scheme.
    Url,
    /// A text that shows something.
    NotBlank,
}

impl Format {
    /// Whether the text has the format.
    pub fn fits(self, text: &str) -> bool {
        match self {
            Self::ApiVersion => prefixed(text, |suffix| {
                within_label(suffix) && suffix.bytes().all(|b| b.is_ascii_alphanumeric())
            }),
            Self::Kind => {
                within_label(text)
                    && text.starts_with(|c: char| c.is_ascii_alphabetic())
                    && text.bytes().all(|b| b.is_ascii_alphanumeric())
            }
            Self::Name => is_name(text),
            Self::Namespace => is_dns_label(text),
            Self::Key => prefixed(text, is_name),
            Self::LabelValue => text.is_empty() || is_name(text),
            Self::Tag => {
                let part = |part: &str| {
                    !part.is_empty()
                        && part.bytes().all(|b| {
                            b.is_ascii_lowercase() || b.is_ascii_digit() || b":+#".contains(&b)
                        })
                };
                within_label(text) && text.split('-').all(part)
            }
            Self::Url => url::Url::parse(text).is_ok(),
            Self::NotBlank => !text.trim().is_empty(),
        }
    }

    /// What is expected, in the words Backstage uses.
    pub const fn expectation(self) -> &'static str {
        match self {
            Self::ApiVersion | Self::Key => "a valid prefix and/or suffix",
            Self::Kind => {
                "a string that is a sequence of [a-zA-Z][a-z0-9A-Z], at most 63 characters in total"
            }
            Self::Name | Self::LabelValue => {
                "a string that is sequences of [a-zA-Z0-9] separated by any of [-_.], \
                 at most 63 characters in total"
            }
            Self::Namespace => {
                "a string that is sequences of [a-z0-9] separated by [-], \
                 at most 63 characters in total"
            }
            Self::Tag => {
                "a string that is sequences of [a-z0-9+#] separated by [-], \
                 at most 63 characters in total"
            }
            Self::Url => "a string that is a valid url",
            Self::NotBlank => "a non empty string",
        }
    }

    /// What helps whoever wrote a text that does not fit.
    pub fn hint(self, text: &str) -> Option<String> {
        if let Some(near) = self.suggestion(text) {
            return Some(format!("`{near}` would do"));
        }
        let rule = match self {
            Self::Name | Self::LabelValue => {
                "only letters from `a` to `z`, digits, and `-`, `_`, `.` between them"
            }
            Self::Namespace => "only `a` to `z` and digits, with `-` between them",
            Self::Tag => "only `a` to `z`, digits, `+`, `#` and `:`, with single `-` between them",
            Self::Url => "write it whole, such as `https://example.com`",
            Self::ApiVersion | Self::Kind | Self::Key | Self::NotBlank => return None,
        };
        match text.chars().count() {
            chars if chars > LABEL_CHARS_MAX && self != Self::Url => {
                Some(format!("it has {chars} characters, {LABEL_CHARS_MAX} are allowed"))
            }
            _ => Some(rule.to_owned()),
        }
    }

    /// A text like the given one that would fit, when one is near.
    pub fn suggestion(self, text: &str) -> Option<String> {
        let lower = text.to_ascii_lowercase();
        let near = match self {
            Self::Namespace => dashed(&lower, |c| c.is_ascii_alphanumeric()),
            Self::Tag => dashed(&lower, |c| c.is_ascii_alphanumeric() || "+#:".contains(c)),
            Self::Name | Self::LabelValue => {
                dashed(text, |c| c.is_ascii_alphanumeric() || "_.".contains(c))
            }
            Self::ApiVersion | Self::Key => lower.replace(' ', "-"),
            Self::Kind | Self::Url | Self::NotBlank => return None,
        };
        (self.fits(&near) && near != text).then_some(near)
    }
}

/// The text with one dash in place of all ASCII characters in a row that may not stay, none at its
/// ends. Letters of other scripts stay, because nobody would guess what becomes of them.
fn dashed(text: &str, may_stay: impl Fn(char) -> bool) -> String {
    let parts = text.split(|c: char| c.is_ascii() && !may_stay(c));
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

fn within_label(text: &str) -> bool {
    (1..=LABEL_CHARS_MAX).contains(&text.len())
}

/// Letters and digits with `-`, `_` and `.` between them.
fn is_name(text: &str) -> bool {
    within_label(text)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// Lower-case letters and digits with `-` between them.
fn is_dns_label(text: &str) -> bool {
    within_label(text)
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn prefixed(text: &str, suffix_fits: impl Fn(&str) -> bool) -> bool {
    match text.split_once('/') {
        None => suffix_fits(text),
        Some((prefix, suffix)) => {
            (1..=SUBDOMAIN_CHARS_MAX).contains(&prefix.len())
                && prefix.split('.').all(is_dns_label)
                && suffix_fits(suffix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: Format, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(format.fits(text), "{format:?} should take `{text}`");
        }
        for text in bad {
            assert!(!format.fits(text), "{format:?} should refuse `{text}`");
        }
    }

    #[test]
    fn each_format_takes_and_refuses() {
        let (longest, longer) = ("n".repeat(63), "n".repeat(64));
        check(
            Format::ApiVersion,
            &["v1", "a.b-c/V1"],
            &["", "/v1", "A/v1", "a/b/c", "a/v-1", "a/"],
        );
        check(Format::Kind, &["A", "a1", &longest], &["", "1a", "a-b", "é", &longer]);
        check(Format::Name, &["a", "A--b..c_d", &longest], &["", "-a", "a-", "a b", &longer]);
        check(Format::Namespace, &["a", "a--b", "9"], &["", "A", "a.b", "-a", "a-", &longer]);
        check(
            Format::Key,
            &["a", "a.b/C_d", "x-y.z/w"],
            &["", "A.b/c", "a/b/c", "é", "a/", &longer],
        );
        check(Format::LabelValue, &["", "a.B"], &["a b", "-", &longer]);
        check(Format::Tag, &["c++", "a-b", "x:y", "#1"], &["", "A", "a--b", "-a", "a_b", &longer]);
        check(Format::Url, &["https://x", "mailto:a@b", "javascript:x"], &["", "x", "/x", "//x"]);
        check(Format::NotBlank, &["a", " a "], &["", " \t"]);
    }

    #[test]
    fn a_near_text_is_suggested() {
        assert_eq!(Format::Tag.suggestion("My_Tag").as_deref(), Some("my-tag"));
        assert_eq!(Format::Name.suggestion("my service").as_deref(), Some("my-service"));
        assert_eq!(Format::Tag.suggestion("ü"), None);
    }
}
