//! The operation log as a file: a line for each entry, the last ones in `journal.jsonl`, those before in another file.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

const FILE: &str = "journal.jsonl";

/// Where its lines go when it has become too long; what was there before is gone.
const FILE_BEFORE: &str = "journal.before.jsonl";

/// How long a journal may become before its lines are moved to the other file.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The file that lines go to.
pub(super) struct JournalFile {
    directory: PathBuf,
    file: fs::File,
    bytes: u64,
}

impl JournalFile {
    /// Opens the journal in a node's directory.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let file = fs::OpenOptions::new().create(true).append(true).open(directory.join(FILE))?;
        Ok(Self { directory: directory.to_owned(), bytes: file.metadata()?.len(), file })
    }

    /// Writes a line, in a fresh file when this one is too long.
    pub(super) fn write(&mut self, line: &str) -> io::Result<()> {
        if self.bytes >= FILE_BYTES_MAX {
            move_away(&self.directory.join(FILE), &self.directory.join(FILE_BEFORE))?;
            *self = Self::open(&self.directory)?;
        }
        self.file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

/// Moves a file that has become too long out of the way. When that was done and the fresh file could not be opened, it is
/// there no more, and the fresh one is tried again.
pub(super) fn move_away(file: &Path, before: &Path) -> io::Result<()> {
    match fs::rename(file, before) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_is_too_long_goes_on_in_another_file_and_then_loses_its_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = JournalFile::open(directory.path()).unwrap();
        for line in ["first\n", "second\n", "third\n"] {
            journal.write(line).unwrap();
            journal.bytes = FILE_BYTES_MAX;
        }
        let read = |name| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!((read(FILE), read(FILE_BEFORE)), ("third\n".to_owned(), "second\n".to_owned()));
    }

    #[test]
    fn a_journal_whose_fresh_file_could_not_be_opened_goes_on_when_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = JournalFile::open(directory.path()).unwrap();
        journal.write("first\n").unwrap();
        journal.bytes = FILE_BYTES_MAX;
        fs::rename(directory.path().join(FILE), directory.path().join(FILE_BEFORE)).unwrap();
        journal.write("second\n").unwrap();
        let read = |name| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!((read(FILE), read(FILE_BEFORE)), ("second\n".to_owned(), "first\n".to_owned()));
    }
}
