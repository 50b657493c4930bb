//! Pages of an owner's repositories, with real cursors: a page starts after a place in the
//! order, so what moves in the order between two pages is missed or seen twice, as on GitHub.

use serde_json::{Value, json};

use crate::content::hex;
use crate::state::{Repository, State};

/// What an order looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Time(i64),
    Name(String),
}

/// A place in an order: what is ordered by, then the id.
type Place = (Key, u64);

const CURSOR_PREFIX: &str = "Y3Vyc29yOnYyOpK5";

/// One page.
pub(super) struct Page<'s> {
    pub(super) repositories: Vec<&'s Repository>,
    pub(super) total: usize,
    pub(super) start: Option<String>,
    pub(super) end: Option<String>,
    pub(super) has_next: bool,
    pub(super) has_previous: bool,
}

/// What a page is of.
pub(super) struct Wanted {
    pub(super) first: usize,
    pub(super) after: Option<String>,
    pub(super) field: String,
    pub(super) descending: bool,
    pub(super) own_only: bool,
    pub(super) fork: Option<bool>,
    pub(super) archived: Option<bool>,
}

/// The page, or GitHub's error about the cursor.
pub(super) fn page<'s>(
    state: &'s State,
    token: &str,
    owner: u64,
    wanted: &Wanted,
) -> Result<Page<'s>, Value> {
    let after = match &wanted.after {
        Some(cursor) => Some(decode(cursor).ok_or_else(|| bad_cursor(cursor))?),
        None => None,
    };
    let own = state.owned.get(&owner).into_iter().flatten();
    let shared = state.collaborations.get(&owner).into_iter().flatten();
    let shared = shared.filter(|_| !wanted.own_only);
    let all = own.chain(shared).filter_map(|id| state.repositories.get(id));
    let seen: Vec<&Repository> = all
        .filter(|repository| {
            state.sees(token, repository)
                && wanted.fork.is_none_or(|fork| fork == repository.fork)
                && wanted.archived.is_none_or(|archived| archived == repository.archived)
        })
        .collect();
    let total = seen.len();
    let mut rest: Vec<(Place, &Repository)> = seen
        .into_iter()
        .map(|repository| (place(repository, &wanted.field), repository))
        .filter(|(at, _)| match &after {
            Some(after) if wanted.descending => at < after,
            Some(after) => at > after,
            None => true,
        })
        .collect();
    let left = rest.len();
    let order = |a: &(Place, &Repository), b: &(Place, &Repository)| {
        if wanted.descending { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) }
    };
    if wanted.first < left {
        rest.select_nth_unstable_by(wanted.first, order);
        rest.truncate(wanted.first);
    }
    rest.sort_unstable_by(order);
    Ok(Page {
        total,
        start: rest.first().map(|(at, _)| encode(at)),
        end: rest.last().map(|(at, _)| encode(at)),
        has_next: left > rest.len(),
        has_previous: after.is_some(),
        repositories: rest.into_iter().map(|(_, repository)| repository).collect(),
    })
}

fn place(repository: &Repository, field: &str) -> Place {
    let key = match field {
        "PUSHED_AT" => Key::Time(repository.content.heads.pushed_at.unwrap_or(0)),
        "UPDATED_AT" => Key::Time(repository.updated_at),
        "CREATED_AT" => Key::Time(repository.created_at),
        _ => Key::Name(repository.name.to_lowercase()),
    };
    (key, repository.id)
}

fn encode((key, id): &Place) -> String {
    let text = match key {
        Key::Time(seconds) => format!("{id}:@{seconds}"),
        Key::Name(name) => format!("{id}:{name}"),
    };
    format!("{CURSOR_PREFIX}{}", hex(text.as_bytes()))
}

fn decode(cursor: &str) -> Option<Place> {
    let digits = cursor.strip_prefix(CURSOR_PREFIX)?.as_bytes();
    let bytes: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let text = String::from_utf8(bytes?).ok()?;
    let (id, key) = text.split_once(':')?;
    let key = match key.strip_prefix('@') {
        Some(seconds) => Key::Time(seconds.parse().ok()?),
        None => Key::Name(key.to_owned()),
    };
    Some((key, id.parse().ok()?))
}

fn bad_cursor(cursor: &str) -> Value {
    json!({
        "type": "INVALID_CURSOR_ARGUMENTS",
        "message": format!("`{cursor}` does not appear to be a valid cursor."),
    })
}
