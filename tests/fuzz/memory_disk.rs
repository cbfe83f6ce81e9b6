//! A disk in memory that takes what unpacking writes, and nothing else. It is as strict as a real one: a parent must be a
//! directory, and a name is taken once.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use bytes::Bytes;
use drydock::env::{Disk, EntryKind, File, Metadata};

/// What stands at a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Dir,
    File { executable: bool, bytes: Vec<u8> },
    Symlink(PathBuf),
}

pub(crate) type Nodes = BTreeMap<PathBuf, Node>;

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct MemoryDisk(Rc<RefCell<Nodes>>);

impl MemoryDisk {
    /// All that stands on it.
    pub(crate) fn into_nodes(self) -> Nodes {
        self.0.take()
    }

    fn add(&self, path: &Path, node: Node) -> io::Result<()> {
        let mut nodes = self.0.borrow_mut();
        let parent = path.parent().expect("all stands in the node's directory");
        if nodes.get(parent) != Some(&Node::Dir) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        match nodes.insert(path.to_owned(), node) {
            None => Ok(()),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut nodes = self.0.borrow_mut();
        let above: Vec<&Path> = path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        for directory in above.into_iter().rev() {
            if *nodes.entry(directory.to_owned()).or_insert(Node::Dir) != Node::Dir {
                return Err(io::ErrorKind::NotADirectory.into());
            }
        }
        Ok(())
    }

    async fn create_file(&self, path: &Path, mode: u32) -> io::Result<MemoryFile> {
        self.add(path, Node::File { executable: mode & 0o111 != 0, bytes: Vec::new() })?;
        Ok(MemoryFile { disk: self.clone(), path: path.to_owned() })
    }

    async fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.add(path, Node::Symlink(target.to_owned()))
    }

    async fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn sync_tree(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn read_link(&self, _: &Path) -> io::Result<PathBuf> {
        unreachable!("unpacking reads nothing")
    }

    async fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!("unpacking moves nothing")
    }

    async fn remove_all(&self, _: &Path) -> io::Result<()> {
        unreachable!("unpacking removes nothing")
    }

    async fn read_file(&self, _: &Path, _: u64) -> io::Result<Bytes> {
        unreachable!("unpacking reads nothing")
    }

    async fn read_at(&self, _: &Path, _: u64, _: usize) -> io::Result<Bytes> {
        unreachable!("unpacking reads nothing")
    }

    async fn metadata(&self, _: &Path) -> io::Result<Option<Metadata>> {
        unreachable!("unpacking looks at nothing")
    }

    async fn read_dir(&self, _: &Path) -> io::Result<Vec<(String, EntryKind)>> {
        unreachable!("unpacking looks at nothing")
    }
}

/// A file that is written.
pub(crate) struct MemoryFile {
    disk: MemoryDisk,
    path: PathBuf,
}

impl File for MemoryFile {
    async fn write(&mut self, more: Bytes) -> io::Result<()> {
        match self.disk.0.borrow_mut().get_mut(&self.path) {
            Some(Node::File { bytes, .. }) => bytes.extend_from_slice(&more),
            other => unreachable!("a file that is written stands there, not {other:?}"),
        }
        Ok(())
    }

    async fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
