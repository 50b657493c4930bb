//! Who may open the database, and why it could not be opened.
//!
//! Promises that at most one process holds a database, as long as its file system has locks, and
//! that every error says what is wrong with which file and what to do about it.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory does not exist.
    #[error(
        "{}: the directory {} does not exist; create it first",
        path.display(),
        directory.display()
    )]
    NoDirectory {
        /// The database.
        path: PathBuf,
        /// What is missing.
        directory: PathBuf,
    },
    /// Another process has it.
    #[error(
        "{} is in use by another cuelight ({holder}); stop that one, \
         or give this one a storage.url of its own",
        path.display()
    )]
    InUse {
        /// The database.
        path: PathBuf,
        /// Who, as far as the lock file tells.
        holder: String,
    },
    /// The file cannot be read or written by us, or the disk is full.
    #[error("{} cannot be opened for writing: {detail}", path.display())]
    NotWritable {
        /// The database or its lock file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// The file is something else.
    #[error(
        "{} is not a cuelight database; move it away or choose another storage.url",
        path.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by another version.
    #[error(
        "{} has layout {found}, this cuelight reads layout {known}: \
         use the version that wrote it or a newer one",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file is damaged.
    #[error(
        "{} is damaged ({detail}); move it away (a scan fills a new one) or restore a backup",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first thing wrong.
        detail: String,
    },
}

impl OpenError {
    pub(super) fn from_sql(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let detail = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotOurs { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, detail },
            _ => Self::NotWritable { path, detail },
        }
    }

    pub(super) fn from_io(path: &Path, error: &std::io::Error) -> Self {
        Self::NotWritable { path: path.to_owned(), detail: error.to_string() }
    }
}

/// Takes the lock file beside the database and writes into it who we are.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        return Err(OpenError::NoDirectory { path: path.into(), directory: directory.into() });
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let io = |e: std::io::Error| OpenError::from_io(&name, &e);
    let open = File::options().read(true).write(true).create(true).truncate(false).open(&name);
    let mut file = open.map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The process id is a help for people; without it the error still says enough.
            let _ = file.take(64).read_to_string(&mut holder);
            let holder = holder.trim();
            let holder = if holder.is_empty() { "process unknown" } else { holder };
            return Err(OpenError::InUse { path: path.into(), holder: holder.to_owned() });
        }
        Err(TryLockError::Error(e)) => return Err(io(e)),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
    writeln!(file, "process {}", std::process::id()).map_err(io)?;
    Ok(file)
}
