//! The few file operations that staging, swap and recovery need.
//!
//! Paths are relative to the node's own directory (which is the empty path, and durable), `/`-separated and without `.` or
//! `..`.

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link; never followed by these operations.
    Symlink,
}

/// What is known of an entry without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// What it is.
    pub kind: EntryKind,
    /// Length of a file in bytes, else 0.
    pub bytes: u64,
}

/// One node's directory. Errors are those of `std::fs`.
///
/// What was not synced may be lost with the node's power, though not by the death of its process alone: bytes of files that
/// were not synced, and names of directories that were not. A rename is atomic even then.
pub trait Disk {
    /// A file being written.
    type File: File;

    /// Creates a directory and its parents; one that exists is no error.
    fn create_dir_all(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// Creates a file for writing, mode as in `chmod`; fails if the name is taken.
    fn create_file(&self, path: &Path, mode: u32) -> impl Future<Output = io::Result<Self::File>>;
    /// Creates a symbolic link at `path` that holds `target`.
    fn symlink(&self, target: &Path, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// What a symbolic link holds.
    fn read_link(&self, path: &Path) -> impl Future<Output = io::Result<PathBuf>>;
    /// Renames a file or directory; a directory is not renamed onto one that holds anything.
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;
    /// Removes a file, a link, or a directory with all it holds; nothing there is no error.
    fn remove_all(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// Reads a whole file of at most `bytes_max` bytes; a longer one is an error of kind `FileTooLarge`.
    fn read_file(&self, path: &Path, bytes_max: u64) -> impl Future<Output = io::Result<Bytes>>;
    /// Up to `bytes_max` bytes of a file from `offset` on; fewer mean nothing, none means its end.
    fn read_at(&self, path: &Path, offset: u64, bytes_max: usize) -> impl Future<Output = io::Result<Bytes>>;
    /// What stands at `path`; `None` when nothing does.
    fn metadata(&self, path: &Path) -> impl Future<Output = io::Result<Option<Metadata>>>;
    /// The names in a directory with their kinds, in name order.
    fn read_dir(&self, path: &Path) -> impl Future<Output = io::Result<Vec<(String, EntryKind)>>>;
    /// Makes a directory durable with all that it holds, whoever wrote it: names and bytes.
    fn sync_tree(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// Makes the names in a directory durable: creations, renames and removals.
    fn sync_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
}

/// A file being written.
pub trait File: 'static {
    /// Adds bytes at the end.
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = io::Result<()>>;
    /// Makes the file's bytes durable.
    fn sync(&mut self) -> impl Future<Output = io::Result<()>>;
}
