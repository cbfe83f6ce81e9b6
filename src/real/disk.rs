//! A node's own directory.

use std::{
    fs, io,
    io::{Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::blocking::blocking;
use crate::env::{Disk, EntryKind, File, Metadata};

/// A node's directory.
#[derive(Clone)]
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where a path of the seam stands. One that could leave the directory is refused.
    fn at(&self, path: &Path) -> io::Result<PathBuf> {
        match path.components().all(|part| matches!(part, Component::Normal(_))) {
            true => Ok(self.root.join(path)),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} leaves the node", path.display()))),
        }
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

fn sync_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            fs::File::open(entry.path())?.sync_all()?;
        }
    }
    sync_dir(path)
}

fn kind(kind: fs::FileType) -> EntryKind {
    if kind.is_dir() {
        EntryKind::Dir
    } else if kind.is_symlink() {
        EntryKind::Symlink
    } else {
        EntryKind::File
    }
}

/// What stands there; nothing is no error.
fn look(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove_all(path: &Path) -> io::Result<()> {
    match look(path)? {
        None => Ok(()),
        Some(found) if found.is_dir() => fs::remove_dir_all(path),
        Some(_) => fs::remove_file(path),
    }
}

fn read_file(path: &Path, bytes_max: u64) -> io::Result<Bytes> {
    // What is no file could be read for ever.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(bytes.into()),
    }
}

fn read_at(path: &Path, offset: u64, bytes_max: usize) -> io::Result<Bytes> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = vec![0; bytes_max];
    let read = fs::File::open(path)?.read_at(&mut bytes, offset)?;
    bytes.truncate(read);
    Ok(bytes.into())
}

fn read_dir(path: &Path) -> io::Result<Vec<(String, EntryKind)>> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "a name that is not UTF-8");
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        names.push((entry.file_name().into_string().map_err(not_text)?, kind(entry.file_type()?)));
    }
    names.sort();
    Ok(names)
}

impl Disk for RealDisk {
    type File = RealFile;

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = self.at(path)?;
        blocking(move || fs::create_dir_all(path)).await
    }

    async fn create_file(&self, path: &Path, mode: u32) -> io::Result<RealFile> {
        let path = self.at(path)?;
        let file = blocking(move || fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)).await?;
        Ok(RealFile(Arc::new(file)))
    }

    async fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        let (target, path) = (target.to_owned(), self.at(path)?);
        blocking(move || std::os::unix::fs::symlink(target, path)).await
    }

    async fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let path = self.at(path)?;
        blocking(move || fs::read_link(path)).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        blocking(move || fs::rename(from, to)).await
    }

    async fn remove_all(&self, path: &Path) -> io::Result<()> {
        let path = self.at(path)?;
        blocking(move || remove_all(&path)).await
    }

    async fn read_file(&self, path: &Path, bytes_max: u64) -> io::Result<Bytes> {
        let path = self.at(path)?;
        blocking(move || read_file(&path, bytes_max)).await
    }

    async fn read_at(&self, path: &Path, offset: u64, bytes_max: usize) -> io::Result<Bytes> {
        let path = self.at(path)?;
        blocking(move || read_at(&path, offset, bytes_max)).await
    }

    async fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        let path = self.at(path)?;
        let found = blocking(move || look(&path)).await?;
        Ok(found.map(|found| Metadata {
            kind: kind(found.file_type()),
            bytes: if found.is_file() { found.len() } else { 0 },
        }))
    }

    async fn read_dir(&self, path: &Path) -> io::Result<Vec<(String, EntryKind)>> {
        let path = self.at(path)?;
        blocking(move || read_dir(&path)).await
    }

    async fn sync_tree(&self, path: &Path) -> io::Result<()> {
        let path = self.at(path)?;
        blocking(move || sync_tree(&path)).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = self.at(path)?;
        blocking(move || sync_dir(&path)).await
    }
}

/// A file being written.
pub struct RealFile(Arc<fs::File>);

impl File for RealFile {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        let file = Arc::clone(&self.0);
        blocking(move || (&*file).write_all(&bytes)).await
    }

    async fn sync(&mut self) -> io::Result<()> {
        let file = Arc::clone(&self.0);
        blocking(move || file.sync_all()).await
    }
}
