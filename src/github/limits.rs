//! What an answer that is no success means: wait, try again, or tell a person. Pure.

use std::time::Duration;

use hyper::header::HeaderMap;
use serde::Deserialize;

use super::GitHubError;
use crate::clock::Timestamp;
use crate::ids::Host;

/// The wait after a limit that names none: GitHub asks for at least a minute.
pub const LIMIT_WAIT: Duration = Duration::from_secs(60);

/// The longest wait that is believed. GitHub's windows last an hour; anything far beyond that is
/// a fault, and would silence an account.
pub const LIMIT_WAIT_MAX: Duration = Duration::from_secs(2 * 60 * 60);

/// The shortest wait, for resets that have just passed on our clock.
pub const LIMIT_WAIT_MIN: Duration = Duration::from_secs(1);

/// How much of GitHub's own words is shown.
const WORDS_CHARS_MAX: usize = 200;

/// GraphQL's `type` of an answer that was cut because it took too much.
const RESOURCE_LIMITS: &str = "RESOURCE_LIMITS_EXCEEDED";

/// A GraphQL error.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct WireError {
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) path: Vec<Step>,
}

/// One step of an error's path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Step {
    Index(usize),
    Key(String),
}

impl WireError {
    /// The index of the node this error is about, where it is about one node and no more.
    pub(super) fn node(&self) -> Option<usize> {
        match self.path.as_slice() {
            [Step::Key(root), Step::Index(at), ..]
                if root == "nodes" && self.kind != RESOURCE_LIMITS =>
            {
                Some(*at)
            }
            _ => None,
        }
    }

    /// The number of the alias this error is about, where it is about one of `prefix` and a
    /// number, and no more.
    pub(super) fn alias(&self, prefix: &str) -> Option<usize> {
        match self.path.first() {
            Some(Step::Key(root)) if self.kind != RESOURCE_LIMITS => {
                root.strip_prefix(prefix)?.parse().ok()
            }
            _ => None,
        }
    }

    /// Whether it says that the node itself, not something in it, does not exist.
    pub(super) fn is_missing_node(&self) -> bool {
        self.kind == "NOT_FOUND" && self.node().is_some() && self.path.len() == 2
    }

    fn is_limit(&self) -> bool {
        self.kind == "RATE_LIMITED" || is_limit_text(&self.message)
    }
}

/// When to ask again, from the headers of an answer that met a limit.
pub(super) fn limited_until(headers: &HeaderMap, now: Timestamp) -> Timestamp {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let until = match (number("retry-after"), number("x-ratelimit-remaining")) {
        (Some(seconds), _) => {
            now + Duration::from_secs(u64::try_from(seconds).unwrap_or(LIMIT_WAIT.as_secs()))
        }
        (None, Some(0)) => number("x-ratelimit-reset")
            .map_or(now + LIMIT_WAIT, |seconds| Timestamp(seconds.saturating_mul(1_000))),
        _ => now + LIMIT_WAIT,
    };
    until.clamp(now + LIMIT_WAIT_MIN, now + LIMIT_WAIT_MAX)
}

/// What a status other than success means; `None` for statuses that the caller has to judge.
pub(super) fn refusal(
    host: &Host,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> GitHubError {
    let words = said(body);
    let remaining_zero = headers.get("x-ratelimit-remaining").is_some_and(|v| v == "0");
    let is_limit = status == 429
        || (status == 403
            && (headers.contains_key("retry-after") || remaining_zero || is_limit_text(&words)));
    if is_limit {
        let detail = format!("{host} answered {status}{}", in_brackets(&words));
        return GitHubError::Limited { until: limited_until(headers, now), detail };
    }
    let words = in_brackets(&words);
    match status {
        401 => GitHubError::Unauthorized(format!(
            "{host} does not accept the token (401{words}): it has expired or was revoked; make a \
             new one and set it in `integrations.github` (or GITHUB_TOKEN)"
        )),
        403 if headers.contains_key("x-github-sso") => GitHubError::Unauthorized(format!(
            "{host} asks for single sign-on (403{words}): authorize the token for the organisation"
        )),
        403 => GitHubError::Unauthorized(format!(
            "{host} refuses the token (403{words}): it needs read access to the repositories' \
             contents and metadata"
        )),
        // What GitHub answers to a query that takes it longer than 10 s.
        502 | 504 => GitHubError::TooMuch(format!("{host} answered {status}{words}")),
        _ => GitHubError::Transient(format!("{host} answered {status}{words}")),
    }
}

/// What errors that make a whole GraphQL answer untrue mean.
pub(super) fn untrue(
    host: &Host,
    errors: &[WireError],
    headers: &HeaderMap,
    now: Timestamp,
) -> GitHubError {
    if let Some(limit) = errors.iter().find(|error| error.is_limit()) {
        let detail = format!("{host} answered{}", in_brackets(&cut(&limit.message)));
        return GitHubError::Limited { until: limited_until(headers, now), detail };
    }
    match errors.iter().find(|error| is_forbidden(error)) {
        Some(error) => forbidden(host, error),
        None => {
            let first = errors.first().cloned().unwrap_or_default();
            let words = in_brackets(&cut(&format!("{} {}", first.kind, first.message)));
            let what = format!("{host} answered GraphQL with errors{words}");
            if errors.iter().any(|error| error.kind == RESOURCE_LIMITS) {
                GitHubError::TooMuch(what)
            } else {
                GitHubError::Transient(what)
            }
        }
    }
}

/// What an error at one node, other than its absence, means for that node.
pub(super) fn at_node(host: &Host, name: &str, error: &WireError) -> GitHubError {
    let words = in_brackets(&cut(&format!("{} {}", error.kind, error.message)));
    if is_forbidden(error) {
        let what = "it needs read access to its contents and metadata";
        return GitHubError::Refused(format!("{host} refuses {name} to the token{words}: {what}"));
    }
    GitHubError::Transient(format!("{host} could not show {name}{words}"))
}

fn is_forbidden(error: &WireError) -> bool {
    matches!(error.kind.as_str(), "FORBIDDEN" | "INSUFFICIENT_SCOPES")
}

fn forbidden(host: &Host, error: &WireError) -> GitHubError {
    let words = in_brackets(&cut(&error.message));
    GitHubError::Unauthorized(format!(
        "{host} refuses the token{words}: it needs read access to the repositories' contents and \
         metadata"
    ))
}

fn is_limit_text(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    words.contains("rate limit") || words.contains("abuse detection")
}

/// `message` of GitHub's JSON errors; nothing of any other body.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    serde_json::from_slice::<Said>(body).map(|said| cut(&said.message)).unwrap_or_default()
}

fn cut(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(WORDS_CHARS_MAX).collect::<String>()
}

fn in_brackets(words: &str) -> String {
    match words.trim() {
        "" => String::new(),
        words => format!(" ({})", words.trim_end_matches('.')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn check(status: u16, pairs: &[(&'static str, &str)], body: &str, expected: &str) {
        let host = Host::github_com();
        let error = refusal(&host, status, &headers(pairs), body.as_bytes(), NOW);
        let got = match error {
            GitHubError::Limited { until, .. } => {
                format!("limited for {} s", until.since(NOW).as_secs())
            }
            GitHubError::Transient(text) => format!("transient: {text}"),
            GitHubError::TooMuch(text) => format!("too much: {text}"),
            GitHubError::Unauthorized(text) => {
                format!("unauthorized: {}", text.split(':').next().unwrap_or_default())
            }
            GitHubError::Refused(_) | GitHubError::NoSuchOwner(_) | GitHubError::Away(_) => {
                "of one thing".to_owned()
            }
        };
        assert_eq!(got, expected, "{status} {pairs:?} {body}");
    }

    #[test]
    fn statuses_headers_and_words_say_what_to_do() {
        let zero = ("x-ratelimit-remaining", "0");
        check(429, &[], "", "limited for 60 s");
        check(429, &[("retry-after", "7")], "", "limited for 7 s");
        check(403, &[("retry-after", "7")], "", "limited for 7 s");
        check(403, &[zero, ("x-ratelimit-reset", "1000090")], "", "limited for 90 s");
        check(403, &[zero, ("x-ratelimit-reset", "999999")], "", "limited for 1 s");
        check(403, &[zero, ("x-ratelimit-reset", "nonsense")], "", "limited for 60 s");
        check(403, &[("retry-after", "99999999")], "", "limited for 7200 s");
        check(403, &[("retry-after", "-5")], "", "limited for 60 s");
        let secondary = r#"{"message": "You have exceeded a secondary rate limit."}"#;
        check(403, &[], secondary, "limited for 60 s");
        check(
            403,
            &[("x-ratelimit-remaining", "9")],
            r#"{"message": "Resource not accessible by personal access token"}"#,
            "unauthorized: github.com refuses the token (403 (Resource not accessible by personal \
             access token))",
        );
        check(
            403,
            &[("x-github-sso", "required; url=x")],
            "",
            "unauthorized: github.com asks for single sign-on (403)",
        );
        check(401, &[], "", "unauthorized: github.com does not accept the token (401)");
        check(502, &[], "<html>", "too much: github.com answered 502");
        check(500, &[], r#"{"message": "Oh\nno."}"#, "transient: github.com answered 500 (Ohno)");
    }

    #[test]
    fn only_an_error_at_a_node_condemns_that_node_alone() {
        let error = |text: &str| serde_json::from_str::<WireError>(text).unwrap();
        let at = error(r#"{"type": "NOT_FOUND", "path": ["nodes", 3]}"#);
        assert_eq!((at.node(), at.is_missing_node()), (Some(3), true));
        let inside = error(r#"{"type": "NOT_FOUND", "path": ["nodes", 3, "f0"]}"#);
        assert_eq!((inside.node(), inside.is_missing_node()), (Some(3), false));
        for whole in [
            r#"{"type": "SOMETHING"}"#,
            r#"{"path": ["rateLimit"]}"#,
            r#"{"path": ["nodes"]}"#,
            r#"{"type": "RESOURCE_LIMITS_EXCEEDED", "path": ["nodes", 3]}"#,
        ] {
            assert_eq!(error(whole).node(), None, "{whole}");
        }
    }
}
