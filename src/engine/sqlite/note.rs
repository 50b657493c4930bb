//! Notes: small facts by name that outlive a restart; see [`Store::put_note`].
//!
//! Promises that names are compared byte by byte. Leaves out what any of them says.
//!
//! [`Store::put_note`]: crate::engine::Store::put_note

use rusqlite::{Connection, params};

use super::session::Session;
use crate::engine::EngineError;
use crate::engine::store::check_note;

/// Keeps or forgets one.
pub(super) fn put(
    session: &mut Session<'_>,
    name: &str,
    text: Option<&str>,
) -> Result<(), EngineError> {
    check_note(name, text)?;
    match text {
        Some(text) => {
            let keep = "INSERT OR REPLACE INTO note (name, text) VALUES (?1, ?2)";
            session.conn.prepare_cached(keep)?.execute(params![name, text])?;
        }
        None => {
            session.conn.prepare_cached("DELETE FROM note WHERE name = ?1")?.execute([name])?;
        }
    }
    Ok(())
}

/// Those whose names begin so, sorted.
pub(super) fn beginning(
    conn: &Connection,
    prefix: &str,
) -> Result<Vec<(String, String)>, EngineError> {
    let from = "SELECT name, text FROM note WHERE name >= ?1 ORDER BY name";
    let mut from = conn.prepare_cached(from)?;
    let mut rows = from.query([prefix])?;
    let mut notes = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if !name.starts_with(prefix) {
            break;
        }
        notes.push((name, row.get(1)?));
    }
    Ok(notes)
}
