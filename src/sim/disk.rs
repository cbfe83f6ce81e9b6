//! A simulated node's directory.
//!
//! The design claims to survive that any file operation takes long or fails, and that a loss of power takes what was not
//! synced: names, bytes, or both.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use bytes::{Bytes, BytesMut};

use super::{
    choice::Kind,
    tree::{Loss, Node, Tree},
    world::World,
};
use crate::{
    check::{Event, NodeIndex, TreeDigest},
    env::{Disk, EntryKind, File, Metadata},
};

/// Where the logic keeps what is live: one link for each project.
const LIVE: &str = "components";

/// What has no part in that.
const HIDDEN: &str = "components/.";

/// A node's directory; clones are handles to the same one.
#[derive(Clone)]
pub struct SimDisk {
    world: Rc<World>,
    node: NodeIndex,
    tree: Rc<RefCell<Tree>>,
    /// Where the live path of each project led when that was last recorded.
    live: Rc<RefCell<BTreeMap<String, TreeDigest>>>,
}

impl SimDisk {
    /// An empty directory.
    pub fn new(world: Rc<World>, node: NodeIndex) -> Self {
        Self { world, node, tree: Rc::default(), live: Rc::default() }
    }

    /// The digest of the tree that `path` leads to, for the harness; `None` when there is no directory.
    pub fn digest(&self, path: &str) -> Option<TreeDigest> {
        let tree = self.tree.borrow();
        let path = tree.resolve(path);
        let found = tree.get(&path).map(|node| node.kind());
        (found == Some(EntryKind::Dir)).then(|| tree.digest(&path))
    }

    /// Where a path leads, for the harness.
    pub fn resolve(&self, path: &str) -> String {
        self.tree.borrow().resolve(path)
    }

    /// A process of the node leaves a file; nothing comes of it where its directory is gone, or the name is taken.
    pub(super) fn leave(&self, path: &Path, pieces: &[Bytes]) {
        let Ok(path) = text(path) else { return };
        let Ok(file) = self.tree.borrow_mut().add(path, Node::file(0o644)) else { return };
        pieces.iter().for_each(|piece| file.append(self.world.keep(piece.clone())));
        self.wrote(path, file.bytes() as usize);
    }

    /// The names in a directory, for the harness.
    pub fn names(&self, path: &str) -> Vec<String> {
        self.tree.borrow().within(path).map(|(name, _)| name.to_owned()).collect()
    }

    /// The power goes, and with it what `loss` says.
    pub fn lose_power(&self, loss: Loss) {
        self.tree.borrow_mut().lose_power(loss);
        self.changed("");
    }

    /// The live builds, for the harness.
    pub fn live_builds(&self) -> BTreeMap<String, TreeDigest> {
        let projects = self.names(LIVE).into_iter().filter(|name| !name.starts_with('.'));
        projects.filter_map(|name| Some((name.clone(), self.digest(&format!("{LIVE}/{name}"))?))).collect()
    }

    /// Something changed at `path` or below it: records what that makes live.
    fn changed(&self, path: &str) {
        if !self.may_be_live(path) {
            return;
        }
        let now = self.live_builds();
        let before = self.live.replace(now.clone());
        let gone = before.keys().filter(|project| !now.contains_key(*project)).map(|project| (project, None));
        let other = now.iter().filter(|(project, tree)| before.get(*project) != Some(*tree));
        for (project, tree) in gone.chain(other.map(|(project, tree)| (project, Some(*tree)))) {
            self.record(Event::Live { project: project.clone(), tree });
        }
    }

    /// Can a change at `path` change what is live?
    fn may_be_live(&self, path: &str) -> bool {
        let tree = self.tree.borrow();
        let targets = tree.within(LIVE).map(|(name, _)| tree.resolve(&format!("{LIVE}/{name}")));
        let named = overlap(path, LIVE) && !path.starts_with(HIDDEN);
        named || targets.into_iter().any(|target| overlap(path, &target))
    }

    /// Takes its time, and may fail before anything is done.
    async fn delay(&self) -> io::Result<()> {
        self.world.delay(self.node, Kind::Disk).await;
        match self.world.fails(self.node, Kind::DiskFails).await {
            true => Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device")),
            false => Ok(()),
        }
    }

    /// A call about names takes a device a while, however fast it is, and so does the sync of a directory: others come to
    /// their turn before it has an effect.
    async fn turn(&self) -> io::Result<()> {
        tokio::task::yield_now().await;
        self.delay().await
    }

    fn record(&self, event: Event) {
        self.world.record(Some(self.node), event);
    }

    fn wrote(&self, path: &str, bytes: usize) {
        self.record(Event::Written { path: path.to_owned(), bytes: bytes as u64 });
        self.changed(path);
    }
}

/// Does one of two paths lie within the other?
fn overlap(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    long.strip_prefix(short).is_some_and(|rest| short.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path that is not UTF-8"))
}

impl Disk for SimDisk {
    type File = SimFile;

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.turn().await?;
        let path = text(path)?;
        self.tree.borrow_mut().create_dir_all(path)?;
        self.wrote(path, 0);
        Ok(())
    }

    async fn create_file(&self, path: &Path, mode: u32) -> io::Result<SimFile> {
        self.turn().await?;
        let path = text(path)?;
        let node = self.tree.borrow_mut().add(path, Node::file(mode))?;
        self.wrote(path, 0);
        Ok(SimFile { disk: self.clone(), path: path.to_owned(), node })
    }

    async fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.turn().await?;
        let path = text(path)?;
        self.tree.borrow_mut().add(path, Node::Symlink(text(target)?.to_owned()))?;
        self.wrote(path, 0);
        Ok(())
    }

    async fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.turn().await?;
        match &**self.tree.borrow().find(text(path)?)? {
            Node::Symlink(target) => Ok(target.into()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.turn().await?;
        let (from, to) = (text(from)?, text(to)?);
        self.tree.borrow_mut().rename(from, to)?;
        let tree = {
            let tree = self.tree.borrow();
            tree.digest(&tree.resolve(to))
        };
        self.record(Event::Renamed { from: from.to_owned(), to: to.to_owned(), tree });
        self.changed(from);
        self.changed(to);
        Ok(())
    }

    async fn remove_all(&self, path: &Path) -> io::Result<()> {
        self.turn().await?;
        let path = text(path)?;
        if self.tree.borrow_mut().remove(path) {
            self.record(Event::Removed { path: path.to_owned() });
            self.changed(path);
        }
        Ok(())
    }

    async fn read_file(&self, path: &Path, bytes_max: u64) -> io::Result<Bytes> {
        self.turn().await?;
        let tree = self.tree.borrow();
        let Node::File { pieces, .. } = &**tree.find(text(path)?)? else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let pieces = pieces.borrow();
        let length: usize = pieces.iter().map(Bytes::len).sum();
        if length as u64 > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut whole = BytesMut::with_capacity(length);
        pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
        Ok(whole.freeze())
    }

    async fn read_at(&self, path: &Path, offset: u64, bytes_max: usize) -> io::Result<Bytes> {
        self.turn().await?;
        let tree = self.tree.borrow();
        let file = tree.find(text(path)?)?;
        let piece = file.piece_at(offset).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(piece.slice(..piece.len().min(bytes_max)))
    }

    async fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.turn().await?;
        let tree = self.tree.borrow();
        Ok(tree.get(text(path)?).map(|node| Metadata { kind: node.kind(), bytes: node.bytes() }))
    }

    async fn read_dir(&self, path: &Path) -> io::Result<Vec<(String, EntryKind)>> {
        self.turn().await?;
        let path = text(path)?;
        let tree = self.tree.borrow();
        tree.dir(path)?;
        Ok(tree.within(path).map(|(name, node)| (name.to_owned(), node.kind())).collect())
    }

    async fn sync_tree(&self, path: &Path) -> io::Result<()> {
        self.turn().await?;
        self.tree.borrow_mut().sync_tree(text(path)?)
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.turn().await?;
        self.tree.borrow_mut().sync_dir(text(path)?)
    }
}

/// A simulated file being written.
pub struct SimFile {
    disk: SimDisk,
    path: String,
    node: Rc<Node>,
}

impl SimFile {
    fn is_where_it_was(&self) -> bool {
        self.disk.tree.borrow().get(&self.path).is_some_and(|node| Rc::ptr_eq(node, &self.node))
    }
}

impl File for SimFile {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.disk.delay().await?;
        let written = bytes.len();
        // As on POSIX: a file that was removed or renamed under its writer takes the bytes all the same.
        self.node.append(self.disk.world.keep(bytes));
        self.disk.wrote(&self.path, written);
        if !self.is_where_it_was() {
            self.disk.changed("");
        }
        Ok(())
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.disk.delay().await?;
        self.node.sync();
        Ok(())
    }
}
