//! A simulated node's directory: a flat map from path to entry, in path order.
//!
//! The design claims to survive that any file operation takes long or fails.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use bytes::{Bytes, BytesMut};

use super::{choice::Kind, world::World};
use crate::{
    check::{Event, NodeIndex, TreeDigest, TreeEntry, TreeHasher},
    env::{Disk, EntryKind, File, Metadata},
};

#[derive(Clone, Debug)]
enum Node {
    Dir,
    File { mode: u32, pieces: Vec<Bytes> },
    Symlink(String),
}

impl Node {
    fn kind(&self) -> EntryKind {
        match self {
            Self::Dir => EntryKind::Dir,
            Self::File { .. } => EntryKind::File,
            Self::Symlink(_) => EntryKind::Symlink,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::File { pieces, .. } => pieces.iter().map(|piece| piece.len() as u64).sum(),
            _ => 0,
        }
    }

    fn entry(&self) -> TreeEntry<'_> {
        match self {
            Self::Dir => TreeEntry::Dir,
            Self::File { mode, pieces } => TreeEntry::File { executable: mode & 0o111 != 0, pieces },
            Self::Symlink(target) => TreeEntry::Symlink(target),
        }
    }
}

/// All entries; the node's own directory is the empty path, and always there.
#[derive(Default)]
struct Tree(BTreeMap<String, Node>);

impl Tree {
    fn parent_is_there(&self, path: &str) -> bool {
        match path.rsplit_once('/') {
            None => true,
            Some((parent, _)) => matches!(self.0.get(parent), Some(Node::Dir)),
        }
    }

    /// Everything below `path`, not `path` itself.
    fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a String, &'a Node)> + use<'a> {
        // '0' is the character after '/'.
        let (from, to) = match path {
            "" => (String::new(), "\u{10ffff}".to_owned()),
            path => (format!("{path}/"), format!("{path}0")),
        };
        self.0.range(from..to)
    }

    fn add(&mut self, path: &str, node: Node) -> io::Result<()> {
        if self.0.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !self.parent_is_there(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.0.insert(path.to_owned(), node);
        Ok(())
    }

    fn create_dir_all(&mut self, path: &str) -> io::Result<()> {
        let ends = path.match_indices('/').map(|(index, _)| index).chain([path.len()]);
        for end in ends {
            match self.0.get(&path[..end]) {
                Some(Node::Dir) => {}
                Some(_) => return Err(io::ErrorKind::NotADirectory.into()),
                None => drop(self.0.insert(path[..end].to_owned(), Node::Dir)),
            }
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let moved = self.0.get(from).ok_or(io::ErrorKind::NotFound)?.kind();
        if !self.parent_is_there(to) {
            return Err(io::ErrorKind::NotFound.into());
        }
        match (moved, self.0.get(to).map(Node::kind)) {
            (_, None) => {}
            (EntryKind::Dir, Some(EntryKind::Dir)) if self.below(to).next().is_none() => {}
            (EntryKind::Dir, Some(EntryKind::Dir)) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
            (EntryKind::Dir, Some(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            (_, Some(EntryKind::Dir)) => return Err(io::ErrorKind::IsADirectory.into()),
            (_, Some(_)) => {}
        }
        for (path, node) in self.take(from) {
            self.0.insert(format!("{to}{}", &path[from.len()..]), node);
        }
        Ok(())
    }

    /// Where a path leads: what a link at its end holds, seen from the link's directory.
    fn resolve(&self, path: &str) -> String {
        let Some(Node::Symlink(target)) = self.0.get(path) else { return path.to_owned() };
        let mut parts: Vec<&str> = path.split('/').collect();
        parts.pop();
        for part in target.split('/') {
            match part {
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        parts.join("/")
    }

    /// Removes `path` with all below it, and returns it.
    fn take(&mut self, path: &str) -> Vec<(String, Node)> {
        let below: Vec<String> = self.below(path).map(|(path, _)| path.clone()).collect();
        let paths = [path.to_owned()].into_iter().chain(below);
        paths.filter_map(|path| self.0.remove_entry(&path)).collect()
    }

    fn digest(&self, root: &str) -> TreeDigest {
        let mut hasher = TreeHasher::default();
        if let Some(node @ (Node::File { .. } | Node::Symlink(_))) = self.0.get(root) {
            hasher.add("", node.entry());
        }
        for (path, node) in self.below(root) {
            hasher.add(&path[root.len() + 1..], node.entry());
        }
        hasher.finish()
    }
}

/// A node's directory; clones are handles to the same one.
#[derive(Clone)]
pub struct SimDisk {
    world: Rc<World>,
    node: NodeIndex,
    tree: Rc<RefCell<Tree>>,
}

impl SimDisk {
    /// An empty directory.
    pub fn new(world: Rc<World>, node: NodeIndex) -> Self {
        Self { world, node, tree: Rc::default() }
    }

    /// The digest of the tree that `path` leads to, for the harness; `None` when there is no directory.
    pub fn digest(&self, path: &str) -> Option<TreeDigest> {
        let tree = self.tree.borrow();
        let path = tree.resolve(path);
        matches!(tree.0.get(&path), Some(Node::Dir)).then(|| tree.digest(&path))
    }

    /// Where a path leads, for the harness.
    pub fn resolve(&self, path: &str) -> String {
        self.tree.borrow().resolve(path)
    }

    /// The names in a directory, for the harness.
    pub fn names(&self, path: &str) -> Vec<String> {
        let tree = self.tree.borrow();
        let below = tree.below(path).map(|(below, _)| if path.is_empty() { below } else { &below[path.len() + 1..] });
        below.filter(|name| !name.contains('/')).map(str::to_owned).collect()
    }

    /// Takes its time, and may fail before anything is done.
    async fn delay(&self) -> io::Result<()> {
        self.world.delay(self.node, Kind::Disk).await;
        match self.world.draw_failure(self.node, Kind::DiskFails) {
            true => Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device")),
            false => Ok(()),
        }
    }

    fn record(&self, event: Event) {
        self.world.record(Some(self.node), event);
    }

    fn wrote(&self, path: &str, bytes: usize) {
        self.record(Event::Written { path: path.to_owned(), bytes: bytes as u64 });
    }
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path that is not UTF-8"))
}

impl Disk for SimDisk {
    type File = SimFile;

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.delay().await?;
        let path = text(path)?;
        self.tree.borrow_mut().create_dir_all(path)?;
        self.wrote(path, 0);
        Ok(())
    }

    async fn create_file(&self, path: &Path, mode: u32) -> io::Result<SimFile> {
        self.delay().await?;
        let path = text(path)?;
        self.tree.borrow_mut().add(path, Node::File { mode, pieces: Vec::new() })?;
        self.wrote(path, 0);
        Ok(SimFile { disk: self.clone(), path: path.to_owned() })
    }

    async fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.delay().await?;
        let path = text(path)?;
        self.tree.borrow_mut().add(path, Node::Symlink(text(target)?.to_owned()))?;
        self.wrote(path, 0);
        Ok(())
    }

    async fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.delay().await?;
        match self.tree.borrow().0.get(text(path)?).ok_or(io::ErrorKind::NotFound)? {
            Node::Symlink(target) => Ok(target.into()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.delay().await?;
        let (from, to) = (text(from)?, text(to)?);
        self.tree.borrow_mut().rename(from, to)?;
        let tree = {
            let tree = self.tree.borrow();
            tree.digest(&tree.resolve(to))
        };
        self.record(Event::Renamed { from: from.to_owned(), to: to.to_owned(), tree });
        Ok(())
    }

    async fn remove_all(&self, path: &Path) -> io::Result<()> {
        self.delay().await?;
        let path = text(path)?;
        if !self.tree.borrow_mut().take(path).is_empty() {
            self.record(Event::Removed { path: path.to_owned() });
        }
        Ok(())
    }

    async fn read_file(&self, path: &Path, bytes_max: u64) -> io::Result<Bytes> {
        self.delay().await?;
        let tree = self.tree.borrow();
        let Node::File { pieces, .. } = tree.0.get(text(path)?).ok_or(io::ErrorKind::NotFound)? else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let length: usize = pieces.iter().map(Bytes::len).sum();
        if length as u64 > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut whole = BytesMut::with_capacity(length);
        pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
        Ok(whole.freeze())
    }

    async fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.delay().await?;
        let tree = self.tree.borrow();
        Ok(tree.0.get(text(path)?).map(|node| Metadata { kind: node.kind(), bytes: node.bytes() }))
    }

    async fn read_dir(&self, path: &Path) -> io::Result<Vec<(String, EntryKind)>> {
        self.delay().await?;
        let path = text(path)?;
        let tree = self.tree.borrow();
        if !path.is_empty() && !matches!(tree.0.get(path).ok_or(io::ErrorKind::NotFound)?, Node::Dir) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let start = if path.is_empty() { 0 } else { path.len() + 1 };
        let named = tree.below(path).map(|(below, node)| (&below[start..], node));
        let direct = named.filter(|(name, _)| !name.contains('/'));
        Ok(direct.map(|(name, node)| (name.to_owned(), node.kind())).collect())
    }

    async fn sync_tree(&self, path: &Path) -> io::Result<()> {
        self.sync_dir(path).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.delay().await?;
        match self.tree.borrow().0.get(text(path)?) {
            Some(Node::Dir) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// A simulated file being written.
pub struct SimFile {
    disk: SimDisk,
    path: String,
}

impl File for SimFile {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.disk.delay().await?;
        self.disk.wrote(&self.path, bytes.len());
        // As on POSIX: a file that was removed or renamed under its writer takes the bytes all the same.
        if let Some(Node::File { pieces, .. }) = self.disk.tree.borrow_mut().0.get_mut(&self.path) {
            pieces.push(bytes);
        }
        Ok(())
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.disk.delay().await?;
        Ok(())
    }
}
