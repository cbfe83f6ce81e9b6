//! The database file of a table: rows, this node's log, and how far it has come in the logs of others.

use std::{path::Path, rc::Rc};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::env::{Position, Record, StoreError};

pub(super) const ROWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rows");
pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
pub(super) const CURSORS: TableDefinition<'_, &str, u64> = TableDefinition::new("cursors");

/// What the database may hold in memory.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Makes the tables, and finds the greatest timestamp among the rows.
pub(super) fn open(path: &Path) -> Result<(Database, u64), StoreError> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(refused)?;
    let begun = database.begin_write().map_err(refused)?;
    let mut stamp = 0;
    {
        let rows = begun.open_table(ROWS).map_err(refused)?;
        begun.open_table(LOG).map_err(refused)?;
        begun.open_table(CURSORS).map_err(refused)?;
        for row in rows.iter().map_err(refused)? {
            stamp = stamp.max(decode(row.map_err(refused)?.1.value())?.version.stamp);
        }
    }
    begun.commit().map_err(refused)?;
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

pub(super) fn read_rows(database: &Database) -> Result<Vec<Rc<Record>>, StoreError> {
    let reading = database.begin_read().map_err(refused)?;
    let rows = reading.open_table(ROWS).map_err(refused)?;
    rows.iter().map_err(refused)?.map(|row| decode(row.map_err(refused)?.1.value())).collect()
}

/// The rows that a node which does not run has in its database at `path`.
pub(super) fn rows_at(path: &Path) -> Result<Vec<Rc<Record>>, StoreError> {
    read_rows(&open(path)?.0)
}

pub(super) fn commit_cursor(database: &Database, of: &str, position: Position) -> Result<(), redb::Error> {
    let begun = database.begin_write()?;
    begun.open_table(CURSORS)?.insert(of, position.0)?;
    Ok(begun.commit()?)
}

pub(super) fn refused(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Refused(error.into().to_string())
}

pub(super) fn encode(record: &Record) -> Vec<u8> {
    postcard::to_stdvec(record).expect("a record holds nothing that postcard cannot encode")
}

pub(super) fn decode(bytes: &[u8]) -> Result<Rc<Record>, StoreError> {
    let damaged = |error| StoreError::Refused(format!("a row in the database cannot be read: {error}"));
    postcard::from_bytes(bytes).map(Rc::new).map_err(damaged)
}
