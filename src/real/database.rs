//! The database file of a table: rows, this node's log, and how far it has come in the logs of others.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::blocking::blocking;
use crate::env::{Position, Record, StoreError};

const ROWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rows");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const CURSORS: TableDefinition<'_, &str, u64> = TableDefinition::new("cursors");

/// What the database may hold in memory.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// The database of a node that runs. One that has failed takes nothing more until it is opened anew.
pub(super) struct Store {
    path: PathBuf,
    /// `None` while it is opened anew, and when that has failed.
    database: RefCell<Option<Arc<Database>>>,
}

impl Store {
    /// Opens the database at `path`, which is made if it is not there; and the greatest timestamp among its rows.
    pub(super) fn open(path: &Path) -> Result<(Self, u64), redb::Error> {
        let (database, stamp) = prepared(settings().create(path)?)?;
        Ok((Self::of(path, database), stamp))
    }

    fn of(path: &Path, database: Database) -> Self {
        Self { path: path.to_owned(), database: RefCell::new(Some(Arc::new(database))) }
    }

    fn database(&self) -> Result<Arc<Database>, redb::Error> {
        self.database.borrow().clone().ok_or(redb::Error::PreviousIo)
    }

    pub(super) fn read<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        work(&*self.database()?)
    }

    /// Writes apart from the node's thread. The caller sees to it that nobody else writes meanwhile.
    pub(super) async fn write(
        &self,
        work: impl FnOnce(&Database) -> Result<(), redb::Error> + Send + 'static,
    ) -> Result<(), redb::Error> {
        let database = self.database()?;
        blocking(move || Ok(work(&database))).await?
    }

    /// Opens one that has failed anew; the greatest timestamp among its rows. The caller sees to it that nobody writes
    /// meanwhile.
    pub(super) async fn reopen(&self) -> Result<u64, redb::Error> {
        let (failed, path) = (self.database.take(), self.path.clone());
        let opening = blocking(move || {
            // It holds the file's lock.
            drop(failed);
            // One that is not there any more must not become an empty one.
            Ok(settings().open(path).map_err(redb::Error::from).and_then(prepared))
        });
        let (database, stamp) = opening.await??;
        *self.database.borrow_mut() = Some(Arc::new(database));
        Ok(stamp)
    }
}

/// Does a database take nothing more after this?
pub(super) fn has_failed(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo)
}

fn settings() -> Builder {
    let mut settings = Database::builder();
    settings.set_cache_size(CACHE_BYTES);
    settings
}

/// Makes the tables, and finds the greatest timestamp among the rows.
fn prepared(database: Database) -> Result<(Database, u64), redb::Error> {
    let begun = database.begin_write()?;
    let mut stamp = 0;
    {
        let rows = begun.open_table(ROWS)?;
        begun.open_table(LOG)?;
        begun.open_table(CURSORS)?;
        for row in rows.iter()? {
            stamp = stamp.max(decode(row?.1.value())?.version.stamp);
        }
    }
    begun.commit()?;
    Ok((database, stamp))
}

/// Writes a row; one of this node's own stands in its log too.
pub(super) fn commit(database: &Database, key: &str, bytes: &[u8], own: bool) -> Result<(), redb::Error> {
    let begun = database.begin_write()?;
    {
        begun.open_table(ROWS)?.insert(key, bytes)?;
        if own {
            let mut log = begun.open_table(LOG)?;
            let next = log.last()?.map_or(0, |(position, _)| position.value()) + 1;
            log.insert(next, bytes)?;
        }
    }
    Ok(begun.commit()?)
}

pub(super) fn read_rows(database: &Database) -> Result<Vec<Rc<Record>>, redb::Error> {
    let rows = database.begin_read()?.open_table(ROWS)?;
    rows.iter()?.map(|row| decode(row?.1.value())).collect()
}

pub(super) fn read_row(database: &Database, key: &str) -> Result<Option<Rc<Record>>, redb::Error> {
    let rows = database.begin_read()?.open_table(ROWS)?;
    rows.get(key)?.map(|row| decode(row.value())).transpose()
}

/// The entry of the log behind this position.
pub(super) fn read_log(database: &Database, behind: Position) -> Result<Option<(Position, Rc<Record>)>, redb::Error> {
    let log = database.begin_read()?.open_table(LOG)?;
    let next = log.range(behind.0 + 1..)?.next().transpose()?;
    next.map(|(position, row)| Ok((Position(position.value()), decode(row.value())?))).transpose()
}

pub(super) fn read_cursor(database: &Database, of: &str) -> Result<Position, redb::Error> {
    let cursors = database.begin_read()?.open_table(CURSORS)?;
    Ok(cursors.get(of)?.map_or_else(Position::default, |position| Position(position.value())))
}

/// The rows that a node which does not run has in its database at `path`.
pub(super) fn rows_at(path: &Path) -> Result<Vec<Rc<Record>>, StoreError> {
    let read = Store::open(path).and_then(|(store, _)| store.read(read_rows));
    read.map_err(|error| StoreError::Refused(error.to_string()))
}

pub(super) fn commit_cursor(database: &Database, of: &str, position: Position) -> Result<(), redb::Error> {
    let begun = database.begin_write()?;
    begun.open_table(CURSORS)?.insert(of, position.0)?;
    Ok(begun.commit()?)
}

pub(super) fn encode(record: &Record) -> Vec<u8> {
    postcard::to_stdvec(record).expect("a record holds nothing that postcard cannot encode")
}

fn decode(bytes: &[u8]) -> Result<Rc<Record>, redb::Error> {
    let damaged = |error| redb::Error::Corrupted(format!("a row cannot be read: {error}"));
    postcard::from_bytes(bytes).map(Rc::new).map_err(damaged)
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        fs, io,
        sync::atomic::{AtomicBool, Ordering},
    };

    use redb::{StorageBackend, backends::FileBackend};

    use super::*;

    /// A file that can fail.
    #[derive(Debug)]
    struct Failing {
        file: FileBackend,
        fails: Arc<AtomicBool>,
    }

    impl Failing {
        fn file(&self) -> io::Result<&FileBackend> {
            let fails = self.fails.load(Ordering::Relaxed);
            if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(&self.file) }
        }
    }

    impl StorageBackend for Failing {
        fn len(&self) -> io::Result<u64> {
            self.file()?.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.file()?.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.file()?.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.file()?.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.file()?.write(offset, data)
        }

        fn close(&self) -> io::Result<()> {
            self.file.close()
        }
    }

    /// The database at `path`, on a file that fails when it is told to, until the database is opened anew.
    pub(in crate::real) fn failing(path: &Path, fails: &Arc<AtomicBool>) -> Store {
        let file = fs::File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        let backend = Failing { file: FileBackend::new(file).unwrap(), fails: Arc::clone(fails) };
        Store::of(path, prepared(settings().create_with_backend(backend).unwrap()).unwrap().0)
    }
}
