//! Between what the scripts keep and our types: what is read back is untrusted and checked.
//!
//! Hints and pushes are packed, because a long queue holds one of them per key: object ids as
//! bytes take half of their digits.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::engine::EngineError;
use crate::ids::{Account, FullName, Host, NodeId, Oid, RepoId};
use crate::work::{HINT_PUSHES_MAX, Hint, Lane, PushHint, Reasons, RepoKey, WorkKey};

/// Longest text of a hint that is kept, in bytes: far above names that GitHub allows. A longer
/// one is left out, for a hint only hurries.
const TEXT_BYTES_MAX: usize = 4096;

/// What a packed push holds beside its object ids.
const HAS_BRANCH: u8 = 1;
const HAS_TIME: u8 = 2;

/// Anything that cannot be understood.
pub(super) fn corrupt(what: impl Display) -> EngineError {
    EngineError::Corrupt(what.to_string())
}

/// A hint as the scripts merge it: see `lib/rules.lua`.
pub(super) fn pack_hint(hint: &Hint) -> Vec<u8> {
    let mut packed = Vec::with_capacity(128);
    packed.extend(hint.first_seen.0.to_be_bytes());
    packed.extend(hint.reasons.0.to_be_bytes());
    pack_text(&mut packed, hint.node_id.as_ref().map_or("", |node| &node.0).as_bytes());
    pack_text(&mut packed, hint.name.as_ref().map_or("", |name| name.as_str()).as_bytes());
    let skipped = hint.pushes.len().saturating_sub(HINT_PUSHES_MAX);
    for push in hint.pushes.iter().skip(skipped) {
        pack_text(&mut packed, &pack_push(push));
    }
    packed
}

fn pack_text(packed: &mut Vec<u8>, text: &[u8]) {
    let text = if text.len() > TEXT_BYTES_MAX { &[] } else { text };
    // The bound is far below what two bytes count.
    packed.extend(u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
    packed.extend(text);
}

fn pack_push(push: &PushHint) -> Vec<u8> {
    let branch = push.branch.as_ref().filter(|branch| branch.len() < TEXT_BYTES_MAX / 2);
    let has_branch = if branch.is_some() { HAS_BRANCH } else { 0 };
    let has_time = if push.pushed_at.is_some() { HAS_TIME } else { 0 };
    let mut packed = vec![has_branch | has_time];
    for oid in [&push.before, &push.after] {
        let digits = oid.as_str();
        // 20 or 32 bytes.
        packed.push(u8::try_from(digits.len() / 2).unwrap_or(0));
        packed.extend(bytes_of(digits));
    }
    if let Some(at) = push.pushed_at {
        packed.extend(at.0.to_be_bytes());
    }
    packed.extend(branch.map_or("", String::as_str).as_bytes());
    packed
}

fn bytes_of(digits: &str) -> impl Iterator<Item = u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0);
    digits.as_bytes().chunks(2).map(move |pair| {
        let byte = pair.iter().fold(0, |byte, digit| byte * 16 + value(*digit));
        u8::try_from(byte).unwrap_or(0)
    })
}

/// Decodes a packed hint. One that cannot be read is no reason to stop: it would only have hurried
/// the run, which reads the truth without it.
pub(super) fn unpack_hint(packed: &[u8], key: &str) -> Hint {
    Reader(packed).hint().unwrap_or_else(|| {
        tracing::warn!(key, "the hint of {key} cannot be read and is left out");
        let first_seen = Reader(packed).time().unwrap_or(Timestamp::EPOCH);
        Hint::new(Reasons::REFRESH, first_seen)
    })
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn time(&mut self) -> Option<Timestamp> {
        Some(Timestamp(i64::from_be_bytes(self.array()?)))
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let count = u16::from_be_bytes(self.array()?);
        self.bytes(count.into())
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.counted()?).ok()
    }

    fn hint(mut self) -> Option<Hint> {
        let first_seen = self.time()?;
        let reasons = Reasons(u32::from_be_bytes(self.array()?));
        let node = self.text()?;
        let name = self.text()?;
        let mut pushes = Vec::new();
        while !self.0.is_empty() {
            pushes.push(Reader(self.counted()?).push()?);
        }
        let node_id = (!node.is_empty()).then(|| NodeId(node.to_owned()));
        let name = if name.is_empty() { None } else { Some(FullName::parse(name).ok()?) };
        Some(Hint { reasons, pushes, node_id, name, first_seen })
    }

    fn oid(&mut self) -> Option<Oid> {
        let [count] = self.array()?;
        let digits: String =
            self.bytes(count.into())?.iter().map(|byte| format!("{byte:02x}")).collect();
        Oid::parse(&digits).ok()
    }

    fn push(mut self) -> Option<PushHint> {
        let [has] = self.array()?;
        let before = self.oid()?;
        let after = self.oid()?;
        let pushed_at = if has & HAS_TIME == 0 { None } else { Some(self.time()?) };
        let branch = std::str::from_utf8(self.0).ok()?;
        let branch = (has & HAS_BRANCH != 0).then(|| branch.to_owned());
        Some(PushHint { branch, before, after, pushed_at })
    }
}

/// A repository as the store names it: in the order of keys.
pub(super) fn repo_name(key: &RepoKey) -> String {
    format!("{} {:020}", key.host, key.id.0)
}

/// Reads what [`repo_name`] wrote.
pub(super) fn repo_key(name: &str) -> Result<RepoKey, EngineError> {
    let wrong = || corrupt(format!("`{name}` names no repository"));
    let (host, id) = name.split_once(' ').ok_or_else(wrong)?;
    let host = Host::parse(host).map_err(|_| wrong())?;
    Ok(RepoKey { host, id: RepoId(id.parse().map_err(|_| wrong())?) })
}

/// Decodes a stored key.
pub(super) fn work_key(stored: &str) -> Result<WorkKey, EngineError> {
    stored.parse().map_err(|e: crate::ids::InvalidId| corrupt(e))
}

/// Decodes a stored account.
pub(super) fn account(stored: &str) -> Result<Account, EngineError> {
    stored.parse().map_err(|e: crate::ids::InvalidId| corrupt(e))
}

/// Decodes a stored lane.
pub(super) fn lane(stored: u8) -> Result<Lane, EngineError> {
    match stored {
        0 => Ok(Lane::Event),
        1 => Ok(Lane::Scan),
        other => Err(corrupt(format!("unknown lane {other}"))),
    }
}

/// Compact JSON.
pub(super) fn to_json(value: &impl Serialize) -> Result<String, EngineError> {
    serde_json::to_string(value).map_err(corrupt)
}

/// Reads JSON back; `what` names it in the error.
pub(super) fn from_json<T: DeserializeOwned>(
    text: &[u8],
    what: impl FnOnce() -> String,
) -> Result<T, EngineError> {
    serde_json::from_slice(text).map_err(|e| corrupt(format!("{}: {e}", what())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint() -> Hint {
        let oid = |digit: &str, count| Oid::parse(&digit.repeat(count)).expect("digits");
        let mut hint = Hint::new(Reasons(0xF000_0001), Timestamp(-5));
        hint.node_id = Some(NodeId("R_kgDO".into()));
        hint.name = Some(FullName::parse("acme/shop").expect("a name"));
        let (branch, pushed_at) = (Some("für/alle".to_owned()), Some(Timestamp(1_790_000_000_000)));
        let (before, after) = (oid("0a", 20), oid("fe", 32));
        hint.pushes.push(PushHint { branch, before: before.clone(), after, pushed_at });
        let after = before.clone();
        hint.pushes.push(PushHint { branch: None, before, after, pushed_at: None });
        hint
    }

    #[test]
    fn a_hint_is_read_as_it_was_written() {
        for hint in [hint(), Hint::new(Reasons(0), Timestamp(0))] {
            let read = unpack_hint(&pack_hint(&hint), "repo:github.com:1");
            assert_eq!(format!("{read:?}"), format!("{hint:?}"));
        }
    }

    #[test]
    fn a_hint_that_is_cut_off_is_left_out() {
        let packed = pack_hint(&hint());
        for cut in 0..packed.len() {
            let read = unpack_hint(&packed[..cut], "repo:github.com:1");
            assert!(read.pushes.len() < 2, "{cut}");
        }
        assert_eq!(unpack_hint(&packed[..9], "repo:github.com:1").first_seen, Timestamp(-5));
    }

    #[test]
    fn texts_that_are_too_long_are_left_out() {
        let mut long = hint();
        long.node_id = Some(NodeId("n".repeat(TEXT_BYTES_MAX + 1)));
        long.pushes[0].branch = Some("b".repeat(70_000));
        let read = unpack_hint(&pack_hint(&long), "repo:github.com:1");
        assert_eq!((read.node_id, read.pushes.len()), (None, 2));
        assert_eq!(read.pushes[0].branch, None);
    }

    #[test]
    fn names_of_repositories_are_in_the_order_of_their_keys() {
        let key =
            |host: &str, id| RepoKey { host: Host::parse(host).expect("a host"), id: RepoId(id) };
        let mut keys = vec![
            key("ghe.acme.com:8443", 7),
            key("github.com", 100),
            key("github.com", 20),
            key("github.com", u64::MAX),
            key("ghe.acme.com", 8),
            key("ghe", 9),
        ];
        let mut names: Vec<String> = keys.iter().map(repo_name).collect();
        keys.sort();
        names.sort();
        let read: Vec<RepoKey> = names.iter().map(|n| repo_key(n).expect("a name")).collect();
        assert_eq!(read, keys);
        for wrong in ["", "github.com", "github.com x", "git hub 7"] {
            assert!(repo_key(wrong).is_err(), "{wrong}");
        }
    }
}
