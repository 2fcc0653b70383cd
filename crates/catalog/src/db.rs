//! The file: who may open it, what SQLite may do with it, its tables and their versions.
//!
//! The schema is part of what is not trusted: a trigger, a view or another column type would act within our own
//! statements. So triggers and views are off, and the definitions in the file must be exactly those that we wrote.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, config::DbConfig, limits::Limit};

use crate::{
    error::{At as _, CatalogError},
    subtree,
};

/// `RFct` in the file's header says that it is ours.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"RFct");
/// What turns an empty file into the newest version, step by step.
const MIGRATIONS: [&str; 4] =
    [include_str!("schema.sql"), include_str!("outbox.sql"), include_str!("refused.sql"), include_str!("subtrees.sql")];
/// The newest version.
pub(crate) const VERSION: u32 = 4;
/// The first version with an outbox.
pub(crate) const VERSION_OUTBOX: u32 = 2;
/// The first version that keeps subtrees.
pub(crate) const VERSION_SUBTREES: u32 = 4;
/// How long another process may keep us waiting, in milliseconds.
pub(crate) const BUSY_MS_MAX: u64 = 10_000;
/// Pages that a connection which only reads keeps, in KiB.
pub(crate) const READER_CACHE_KIB: i32 = 1_024;
/// Largest value in the file, in bytes: a blob with some room for SQLite's own record.
const VALUE_BYTES_MAX: i32 = (64 << 20) + (64 << 10);
/// Longest statement, in bytes.
const SQL_BYTES_MAX: i32 = 16 << 10;

const MODE_OWNER_ONLY: u32 = 0o600;
const MODE_OTHERS: u32 = 0o077;

/// An open connection and the name of its file.
pub(crate) struct Db {
    pub(crate) conn: Connection,
    pub(crate) path: PathBuf,
}

impl Db {
    /// Makes a new catalog; an empty file, as a crash may leave one behind, counts as none.
    pub(crate) fn create(path: &Path) -> Result<Self, CatalogError> {
        match OpenOptions::new().write(true).create_new(true).mode(MODE_OWNER_ONLY).open(path) {
            Ok(file) => file.sync_all().at(path)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if fs::metadata(path).at(path)?.len() > 0 {
                    return Err(CatalogError::Exists { path: path.to_owned() });
                }
            }
            Err(error) => return Err(CatalogError::io(path, &error)),
        }
        check_mode(path)?;
        let db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        db.conn.pragma_update(None, "journal_mode", "wal").at(path)?;
        db.migrate(0)?;
        db.for_writing()?;
        sync_directory(path)?;
        Ok(db)
    }

    /// Opens a catalog for writing and brings it to the newest version.
    pub(crate) fn open(path: &Path) -> Result<Self, CatalogError> {
        check_mode(path)?;
        let db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let version = db.identify()?;
        // Before anything is built upon them, and again afterwards: a migration must find what it was written for.
        db.check_schema(version)?;
        if version < VERSION {
            db.migrate(version)?;
            db.check_schema(VERSION)?;
        }
        db.for_writing()?;
        Ok(db)
    }

    /// Opens a catalog for reading, of this or an earlier version, which stays as it is.
    pub(crate) fn open_read_only(path: &Path) -> Result<Self, CatalogError> {
        let db = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let (db, version) = match db.identify() {
            // SQLite cannot make its index of the write-ahead log where it may not write; without a log none is needed.
            Err(CatalogError::Storage { .. }) if !with_suffix(path, "-wal").exists() => {
                let db = connect_immutable(path)?;
                let version = db.identify()?;
                (db, version)
            }
            Err(error) => return Err(error),
            Ok(version) => (db, version),
        };
        db.check_schema(version)?;
        // A negative number counts KiB instead of pages.
        db.conn.pragma_update(None, "cache_size", -READER_CACHE_KIB).at(path)?;
        Ok(db)
    }

    /// Checks whose file it is and tells its version.
    fn identify(&self) -> Result<u32, CatalogError> {
        let path = &self.path;
        let foreign = |what: &str| CatalogError::Foreign { path: path.clone(), what: what.to_owned() };
        let id: i32 = self.conn.pragma_query_value(None, "application_id", |row| row.get(0)).at(path)?;
        if id != APPLICATION_ID {
            return Err(foreign("its header does not say so"));
        }
        let found: i32 = self.conn.pragma_query_value(None, "user_version", |row| row.get(0)).at(path)?;
        let found = u32::try_from(found).ok().filter(|found| *found > 0).ok_or_else(|| foreign("it has no version"))?;
        if found > VERSION {
            return Err(CatalogError::Newer { path: path.clone(), found, known: VERSION });
        }
        Ok(found)
    }

    fn migrate(&self, from: u32) -> Result<(), CatalogError> {
        let path = self.path.clone();
        let steps = MIGRATIONS.iter().skip(from as usize);
        if steps.len() == 0 {
            return Ok(());
        }
        let tx = Transaction::new_unchecked(&self.conn, TransactionBehavior::Exclusive).at(&path)?;
        for step in steps {
            tx.execute_batch(step).at(&path)?;
        }
        if from < VERSION_SUBTREES {
            subtree::fill(self, &tx)?;
        }
        tx.pragma_update(None, "application_id", APPLICATION_ID).at(&path)?;
        tx.pragma_update(None, "user_version", VERSION).at(&path)?;
        tx.commit().at(&path)
    }

    /// The definitions in the file are those of a new one of its version, no more, no less.
    fn check_schema(&self, version: u32) -> Result<(), CatalogError> {
        let expected = expected_definitions().at(&self.path)?.get((version - 1) as usize);
        if Some(&definitions(&self.conn).at(&self.path)?) == expected {
            Ok(())
        } else {
            Err(CatalogError::damaged(&self.path, "its tables are not defined as this program defines them"))
        }
    }

    /// Moves what the write-ahead log holds into the file, as far as no reader needs it there. Writers go on meanwhile; once
    /// everything is moved, the next one begins the log anew.
    pub(crate) fn move_log(&self) -> Result<(), CatalogError> {
        self.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).at(&self.path)
    }

    fn for_writing(&self) -> Result<(), CatalogError> {
        let settings =
            [("synchronous", "FULL"), ("foreign_keys", "ON"), ("secure_delete", "ON"), ("temp_store", "MEMORY")];
        for (name, value) in settings {
            self.conn.pragma_update(None, name, value).at(&self.path)?;
        }
        let mode: String = self.conn.pragma_query_value(None, "journal_mode", |row| row.get(0)).at(&self.path)?;
        if mode == "wal" { Ok(()) } else { Err(CatalogError::damaged(&self.path, "it is not in WAL mode")) }
    }
}

fn connect(path: &Path, access: OpenFlags) -> Result<Db, CatalogError> {
    if !path.exists() {
        return Err(CatalogError::Missing { path: path.to_owned() });
    }
    let conn = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX).at(path)?;
    harden(Db { conn, path: path.to_owned() })
}

/// For media that cannot be written: SQLite is told that nobody changes the file.
fn connect_immutable(path: &Path) -> Result<Db, CatalogError> {
    let absolute = fs::canonicalize(path).at(path)?;
    let escaped: String = absolute
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => char::from(*byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let conn = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags).at(path)?;
    harden(Db { conn, path: path.to_owned() })
}

/// What holds for every connection.
fn harden(db: Db) -> Result<Db, CatalogError> {
    let Db { conn, path } = &db;
    conn.busy_timeout(Duration::from_millis(BUSY_MS_MAX)).at(path)?;
    let settings = [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
    ];
    for (setting, on) in settings {
        conn.set_db_config(setting, on).at(path)?;
    }
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX).at(path)?;
    conn.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, SQL_BYTES_MAX).at(path)?;
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0).at(path)?;
    // Mapped memory would turn a file that shrinks under us into a signal instead of an error.
    conn.pragma_update(None, "mmap_size", 0).at(path)?;
    conn.pragma_update(None, "cell_size_check", true).at(path)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Kind, name and text of everything in a schema.
type Definitions = Vec<(String, String, Option<String>)>;

/// What a new file of each version holds; found out once, for every connection is checked against it.
fn expected_definitions() -> rusqlite::Result<&'static [Definitions]> {
    static EXPECTED: OnceLock<Vec<Definitions>> = OnceLock::new();
    if let Some(known) = EXPECTED.get() {
        return Ok(known);
    }
    let conn = Connection::open_in_memory()?;
    let mut found = Vec::new();
    for step in MIGRATIONS {
        conn.execute_batch(step)?;
        found.push(definitions(&conn)?);
    }
    Ok(EXPECTED.get_or_init(|| found))
}

fn definitions(conn: &Connection) -> rusqlite::Result<Definitions> {
    let mut statement = conn.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

fn check_mode(path: &Path) -> Result<(), CatalogError> {
    let mode = fs::metadata(path).at(path)?.permissions().mode() & 0o7777;
    if mode & MODE_OTHERS == 0 { Ok(()) } else { Err(CatalogError::Exposed { path: path.to_owned(), mode }) }
}

fn sync_directory(path: &Path) -> Result<(), CatalogError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory).and_then(|directory| directory.sync_all()).at(directory)
}

/// `path` with `suffix` behind its file name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
