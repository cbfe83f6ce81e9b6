//! Packs a directory into a gzipped archive while it is sent.
//!
//! Links are kept as links and never followed: one that leads nowhere is an entry like any other, and no end of the archive
//! (museum L18). What cannot be packed is an error, and the archive breaks off: a shorter one never passes for the whole.

use std::{
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::{Stream, stream};
use tar::{Builder, EntryType, Header, HeaderMode};
use tokio::sync::mpsc;
use walkdir::{DirEntry, WalkDir};

use crate::real::{blocking, spawn};

/// The directory that everything is packed under, as npm does it: what a node hoists.
const TOP: &str = "package";

/// The pieces in which an archive is sent.
const PIECE_BYTES: usize = 64 * 1024;

/// Pieces that wait to be sent.
const PIECES_WAITING_MAX: usize = 4;

/// The archive of `directory`, without what has an excluded name. Its last item is an error if something cannot be packed.
pub(super) fn stream(directory: PathBuf, excluded: Vec<String>) -> impl Stream<Item = io::Result<Bytes>> {
    let (tx, rx) = mpsc::channel(PIECES_WAITING_MAX);
    let pieces = Pieces { tx: tx.clone(), piece: Vec::with_capacity(PIECE_BYTES) };
    spawn(async move {
        let packed = blocking(move || pack(&directory, &excluded, pieces)).await;
        if let Err(error) = packed {
            // Who does not read any more does not ask why.
            let _ = tx.send(Err(error)).await;
        }
    });
    stream::unfold(rx, |mut rx| async move { Some((rx.recv().await?, rx)) })
}

/// What is written, in pieces on their way.
struct Pieces {
    tx: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let sent = self.tx.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the upload was given up"))
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pack(directory: &Path, excluded: &[String], pieces: Pieces) -> io::Result<()> {
    let mut archive = Builder::new(GzEncoder::new(pieces, Compression::fast()));
    let wanted = |entry: &DirEntry| entry.depth() == 0 || !excluded.iter().any(|name| entry.file_name() == &**name);
    let mut entries = 0;
    for entry in WalkDir::new(directory).min_depth(1).sort_by_file_name().into_iter().filter_entry(wanted) {
        let entry = entry.map_err(io::Error::from)?;
        let name = entry.path().strip_prefix(directory).expect("the walk stays below its root");
        append(&mut archive, entry.path(), &Path::new(TOP).join(name))
            .map_err(|error| io::Error::new(error.kind(), format!("cannot pack `{}`: {error}", name.display())))?;
        entries += 1;
    }
    if entries == 0 {
        return Err(io::Error::other(format!("cannot pack `{}`: it is empty", directory.display())));
    }
    let mut pieces = archive.into_inner()?.finish()?;
    pieces.send()
}

fn append(archive: &mut Builder<impl Write>, path: &Path, name: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    let mut header = Header::new_gnu();
    header.set_metadata_in_mode(&found, HeaderMode::Deterministic);
    if found.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, name, fs::read_link(path)?)
    } else if found.is_dir() {
        header.set_size(0);
        archive.append_data(&mut header, name, io::empty())
    } else if found.is_file() {
        let file = Promised { file: fs::File::open(path)?, left: found.len() };
        archive.append_data(&mut header, name, file)
    } else {
        Err(io::Error::other("it is no file, directory or link; leave it out with --exclude"))
    }
}

/// A file of which the archive has promised so many bytes: it may have changed since.
struct Promised {
    file: fs::File,
    left: u64,
}

impl Read for Promised {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let bytes = self.file.read(&mut buffer[..most])?;
        if bytes == 0 && most > 0 {
            return Err(io::Error::other("it became shorter while it was packed; deploy again"));
        }
        self.left -= bytes as u64;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::symlink};

    use flate2::read::GzDecoder;
    use futures_util::StreamExt;
    use tokio::task::LocalSet;

    use super::*;

    fn packed(directory: &Path, excluded: &[&str]) -> io::Result<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let excluded = excluded.iter().map(|&name| name.to_owned()).collect();
        LocalSet::new().block_on(&runtime, async {
            let mut pieces = std::pin::pin!(stream(directory.to_owned(), excluded));
            let mut archive = Vec::new();
            while let Some(piece) = pieces.next().await {
                archive.extend_from_slice(&piece?);
            }
            Ok(archive)
        })
    }

    fn entries(archive: &[u8]) -> BTreeMap<String, (EntryType, String)> {
        let mut archive = tar::Archive::new(GzDecoder::new(archive));
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut held = String::new();
            entry.read_to_string(&mut held).unwrap();
            let link = entry.link_name().unwrap().map(|link| link.display().to_string());
            (name, (entry.header().entry_type(), link.unwrap_or(held)))
        });
        entries.collect()
    }

    #[test]
    fn a_link_to_nowhere_is_an_entry_and_what_stands_behind_it_is_packed_too() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("lib")).unwrap();
        for (name, text) in [("a.js", "1;"), ("lib/b.js", "2;"), ("z.js", "3;"), (".git", "left out")] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        symlink("nowhere", directory.path().join("dangling")).unwrap();
        symlink("lib", directory.path().join("to-lib")).unwrap();
        let found = entries(&packed(directory.path(), &[".git"]).unwrap());
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        let tree = ["a.js", "dangling", "lib", "lib/b.js", "to-lib", "z.js"].map(|name| format!("package/{name}"));
        assert_eq!(names, tree);
        assert_eq!(found["package/dangling"], (EntryType::Symlink, "nowhere".to_owned()));
        assert_eq!(found["package/to-lib"], (EntryType::Symlink, "lib".to_owned()));
        assert_eq!(found["package/z.js"].1, "3;");
    }

    #[test]
    fn a_directory_that_cannot_be_packed_is_an_error_and_no_shorter_archive() {
        let directory = tempfile::tempdir().unwrap();
        assert!(packed(directory.path(), &[]).unwrap_err().to_string().contains("it is empty"));
        fs::write(directory.path().join("a.js"), "1;").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(directory.path().join("socket")).unwrap();
        assert!(packed(directory.path(), &[]).unwrap_err().to_string().contains("--exclude"));
    }
}
