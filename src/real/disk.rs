//! A node's own directory.

use std::{
    fs, io,
    io::{Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    blocking::{blocking, to_its_end},
    trace::{Recorder, Trees},
};
use crate::env::{Disk, EntryKind, File, Metadata};

/// Errors that tell what stands where.
const ANSWERS: [io::ErrorKind; 8] = [
    io::ErrorKind::AlreadyExists,
    io::ErrorKind::DirectoryNotEmpty,
    io::ErrorKind::FileTooLarge,
    io::ErrorKind::InvalidData,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::IsADirectory,
    io::ErrorKind::NotADirectory,
    io::ErrorKind::NotFound,
];

/// A node's directory.
#[derive(Clone)]
pub struct RealDisk {
    root: PathBuf,
    recorder: Recorder,
    trees: Trees,
}

impl RealDisk {
    pub(super) fn new(root: PathBuf, recorder: Recorder, trees: Trees) -> Self {
        Self { root, recorder, trees }
    }

    /// Does something with the disk, apart from the node's thread.
    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        blocking(work).await.inspect_err(|error| self.failed(error))
    }

    /// What stands in the way of a call is an answer; a device that fails is a hardship.
    fn failed(&self, error: &io::Error) {
        if !ANSWERS.contains(&error.kind()) {
            self.recorder.broke("disk-fails", error);
        }
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

/// Removes what stands there; false when nothing does.
fn remove_all(path: &Path) -> io::Result<bool> {
    match look(path)? {
        None => return Ok(false),
        Some(found) if found.is_dir() => remove_tree(path)?,
        Some(_) => fs::remove_file(path)?,
    }
    Ok(true)
}

/// Removes a directory. An installer may have left some below it that let nobody in.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let_owner_in(path)?;
            fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

/// The rights to look into a directory, and to remove what stands there.
const OWNER_MAY_ALL: u32 = 0o700;

/// Gives the owner all rights to a directory and to those below it.
fn let_owner_in(path: &Path) -> io::Result<()> {
    let mode = fs::symlink_metadata(path)?.permissions().mode();
    if mode & OWNER_MAY_ALL != OWNER_MAY_ALL {
        fs::set_permissions(path, fs::Permissions::from_mode(mode | OWNER_MAY_ALL))?;
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let_owner_in(&entry.path())?;
        }
    }
    Ok(())
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
        let full = self.at(path)?;
        self.on_disk(move || fs::create_dir_all(full)).await?;
        self.trees.written(path, 0).await;
        Ok(())
    }

    async fn create_file(&self, path: &Path, mode: u32) -> io::Result<RealFile> {
        let full = self.at(path)?;
        let create = move || fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(full);
        let file = Arc::new(self.on_disk(create).await?);
        self.trees.written(path, 0).await;
        Ok(RealFile { file, path: path.to_owned(), disk: self.clone() })
    }

    async fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        let (target, full) = (target.to_owned(), self.at(path)?);
        self.on_disk(move || std::os::unix::fs::symlink(target, full)).await?;
        self.trees.written(path, 0).await;
        Ok(())
    }

    async fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let path = self.at(path)?;
        self.on_disk(move || fs::read_link(path)).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (full_from, full_to) = (self.at(from)?, self.at(to)?);
        let (disk, from, to) = (self.clone(), from.to_owned(), to.to_owned());
        to_its_end(&self.recorder, "rename", async move {
            let tree = disk.trees.made_live_by(&from, &to).await;
            disk.on_disk(move || fs::rename(full_from, full_to)).await?;
            disk.trees.renamed(&from, &to, tree).await;
            Ok(())
        })
        .await
    }

    async fn remove_all(&self, path: &Path) -> io::Result<()> {
        let full = self.at(path)?;
        let (disk, path) = (self.clone(), path.to_owned());
        to_its_end(&self.recorder, "removal", async move {
            if disk.on_disk(move || remove_all(&full)).await? {
                disk.trees.removed(&path).await;
            }
            Ok(())
        })
        .await
    }

    async fn read_file(&self, path: &Path, bytes_max: u64) -> io::Result<Bytes> {
        let path = self.at(path)?;
        self.on_disk(move || read_file(&path, bytes_max)).await
    }

    async fn read_at(&self, path: &Path, offset: u64, bytes_max: usize) -> io::Result<Bytes> {
        let path = self.at(path)?;
        self.on_disk(move || read_at(&path, offset, bytes_max)).await
    }

    async fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        let path = self.at(path)?;
        let found = self.on_disk(move || look(&path)).await?;
        Ok(found.map(|found| Metadata {
            kind: kind(found.file_type()),
            bytes: if found.is_file() { found.len() } else { 0 },
        }))
    }

    async fn read_dir(&self, path: &Path) -> io::Result<Vec<(String, EntryKind)>> {
        let path = self.at(path)?;
        self.on_disk(move || read_dir(&path)).await
    }

    async fn sync_tree(&self, path: &Path) -> io::Result<()> {
        let path = self.at(path)?;
        self.on_disk(move || sync_tree(&path)).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = self.at(path)?;
        self.on_disk(move || sync_dir(&path)).await
    }
}

/// A file being written.
pub struct RealFile {
    file: Arc<fs::File>,
    path: PathBuf,
    disk: RealDisk,
}

impl File for RealFile {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        let (file, length) = (Arc::clone(&self.file), bytes.len());
        self.disk.on_disk(move || (&*file).write_all(&bytes)).await?;
        self.disk.trees.written(&self.path, length).await;
        Ok(())
    }

    async fn sync(&mut self) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        self.disk.on_disk(move || file.sync_all()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with a file in each of two below it, that only its owner's rights keep anybody out of.
    fn locked() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for (name, mode) in [("read-only", 0o500), ("closed", 0o000)] {
            let directory = place.path().join("tree").join(name);
            fs::create_dir_all(directory.join("below")).unwrap();
            fs::write(directory.join("below/file"), "").unwrap();
            fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(place.path().join("tree"), fs::Permissions::from_mode(0o500)).unwrap();
        place
    }

    #[test]
    fn a_directory_that_lets_nobody_in_is_removed() {
        let place = locked();
        assert!(remove_all(&place.path().join("tree")).unwrap());
        assert!(!place.path().join("tree").exists());
    }

    #[test]
    fn the_owner_is_let_into_all_directories_and_no_file_is_touched() {
        let place = locked();
        let tree = place.path().join("tree");
        let file = tree.join("read-only/below/file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
        let_owner_in(&tree).unwrap();
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([&tree, &tree.join("read-only"), &tree.join("closed")].map(|path| mode(path)), [0o700; 3]);
        assert_eq!(mode(&file), 0o400);
    }
}
