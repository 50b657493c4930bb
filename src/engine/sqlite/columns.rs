//! Between rows of the file and our types: what is read back is untrusted and checked.

use rusqlite::{Connection, Row as SqlRow, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::row::{Company, Row, RowState};
use crate::clock::Timestamp;
use crate::engine::EngineError;
use crate::ids::{Account, RepoId};
use crate::work::{Hint, Lane, Reasons, RepoKey, WorkKey};

/// The columns of `work` in the order that [`read_row`] expects them.
const LOAD: &str = "SELECT state, lane, account, place, alone, due, token, attempts, delays, hint,
    dirty_lane, dirty, error, first_seen FROM work WHERE key = ?1";

const SAVE: &str = "UPDATE work SET state = ?2, lane = ?3, account = ?4, place = ?5, alone = ?6,
    due = ?7, token = ?8, attempts = ?9, delays = ?10, first_seen = ?11, hint = ?12,
    dirty_lane = ?13, dirty = ?14, error = ?15 WHERE key = ?1";

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::{Error, ErrorCode};
        let unreadable = match &error {
            Error::SqliteFailure(cause, _) => {
                matches!(cause.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            }
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..) => true,
            _ => false,
        };
        if unreadable {
            Self::Corrupt(error.to_string())
        } else {
            Self::Unavailable(error.to_string())
        }
    }
}

/// The key's row, if it has one.
pub(super) fn load(conn: &Connection, key: &str) -> Result<Option<Row>, EngineError> {
    let mut statement = conn.prepare_cached(LOAD)?;
    let mut rows = statement.query([key])?;
    rows.next()?.map(|row| read_row(row, key)).transpose()
}

/// Writes every column of an existing row.
pub(super) fn save(conn: &Connection, key: &str, row: &Row) -> Result<(), EngineError> {
    let (dirty_lane, dirty) = match &row.dirty {
        Some((lane, hint)) => (Some(*lane as i64), Some(to_json(hint)?)),
        None => (None, None),
    };
    conn.prepare_cached(SAVE)?.execute(params![
        key,
        row.state as i64,
        row.lane as i64,
        row.account,
        row.place,
        row.company as i64,
        row.due.0,
        row.token,
        row.attempts,
        row.delays,
        row.hint.first_seen.0,
        to_json(&row.hint)?,
        dirty_lane,
        dirty,
        row.error,
    ])?;
    Ok(())
}

fn read_row(row: &SqlRow<'_>, key: &str) -> Result<Row, EngineError> {
    let wrong = |what: &str| EngineError::Corrupt(format!("key {key}: {what}"));
    let first_seen = Timestamp(row.get(13)?);
    let state = match row.get(0)? {
        0 => RowState::Ready,
        1 => RowState::Delayed,
        2 => RowState::Held,
        3 => RowState::Dead,
        other => return Err(wrong(&format!("unknown state {other}"))),
    };
    let company = match row.get(4)? {
        0 => Company::Shared,
        1 => Company::Kind,
        2 => Company::Expired,
        other => return Err(wrong(&format!("unknown company {other}"))),
    };
    let dirty = match (row.get::<_, Option<i64>>(10)?, row.get_ref(11)?.as_str_or_null()) {
        (Some(dirty_lane), Ok(Some(text))) => {
            Some((lane(dirty_lane)?, hint(text, key, first_seen)))
        }
        (None, Ok(None)) => None,
        _ => return Err(wrong("half a dirty flag")),
    };
    Ok(Row {
        state,
        lane: lane(row.get(1)?)?,
        account: row.get(2)?,
        place: row.get(3)?,
        company,
        due: Timestamp(row.get(5)?),
        token: row.get(6)?,
        attempts: row.get(7)?,
        delays: row.get(8)?,
        hint: hint(&row.get::<_, String>(9)?, key, first_seen),
        dirty,
        error: row.get(12)?,
    })
}

/// Decodes a stored hint. One that cannot be read is no reason to stop: it would only have hurried
/// the run, which reads the truth without it.
pub(super) fn hint(stored: &str, key: &str, first_seen: Timestamp) -> Hint {
    serde_json::from_str(stored).unwrap_or_else(|error| {
        tracing::warn!(key, %error, "the hint of {key} cannot be read and is left out");
        Hint::new(Reasons::REFRESH, first_seen)
    })
}

/// Decodes a stored lane.
pub(super) fn lane(stored: i64) -> Result<Lane, EngineError> {
    match stored {
        0 => Ok(Lane::Event),
        1 => Ok(Lane::Scan),
        other => Err(EngineError::Corrupt(format!("unknown lane {other}"))),
    }
}

/// Decodes a stored key.
pub(super) fn work_key(stored: &str) -> Result<WorkKey, EngineError> {
    stored.parse().map_err(|e: crate::ids::InvalidId| EngineError::Corrupt(e.to_string()))
}

/// Decodes a stored account.
pub(super) fn account(stored: &str) -> Result<Account, EngineError> {
    stored.parse().map_err(|e: crate::ids::InvalidId| EngineError::Corrupt(e.to_string()))
}

/// Decodes a stored repository.
pub(super) fn repo_key(host: &str, id: i64) -> Result<RepoKey, EngineError> {
    let host = crate::ids::Host::parse(host).map_err(|e| EngineError::Corrupt(e.to_string()))?;
    Ok(RepoKey { host, id: RepoId(id.cast_unsigned()) })
}

/// The two columns that name a repository. Ids above 2^63 sort before the others; GitHub's are
/// far below.
pub(super) fn repo_columns(key: &RepoKey) -> (&str, i64) {
    (key.host.as_str(), key.id.0.cast_signed())
}

/// A sequence number as a column; the log ends long before the type does.
pub(super) fn seq_column(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// Compact JSON.
pub(super) fn to_json(value: &impl Serialize) -> Result<String, EngineError> {
    serde_json::to_string(value).map_err(|e| EngineError::Corrupt(e.to_string()))
}

/// Reads JSON back; `what` names it in the error.
pub(super) fn from_json<T: DeserializeOwned>(
    text: &str,
    what: impl FnOnce() -> String,
) -> Result<T, EngineError> {
    serde_json::from_str(text).map_err(|e| EngineError::Corrupt(format!("{}: {e}", what())))
}
