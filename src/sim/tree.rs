//! A node's directory as a file system keeps it: names and bytes in memory, and what of them a loss of power leaves.
//!
//! It promises what POSIX does and no more. A file's bytes are durable once the file is synced, a name once its directory
//! is. A rename is atomic: after a loss of power the entry stands under its old name or under its new one. Changes of one
//! directory become durable in their order; those of two directories in any.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    rc::Rc,
};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    check::{FileDigest, TreeDigest, TreeEntry, TreeHasher},
    env::EntryKind,
};

type Names = BTreeMap<String, Rc<Node>>;

/// What has a name.
pub(super) enum Node {
    Dir {
        /// The names that a loss of power leaves.
        durable: RefCell<Names>,
    },
    File {
        mode: u32,
        pieces: RefCell<Vec<Bytes>>,
        /// So many of the pieces are durable.
        synced: Cell<usize>,
    },
    Symlink(String),
}

impl Node {
    fn dir() -> Self {
        Self::Dir { durable: RefCell::default() }
    }

    /// An empty file.
    pub(super) fn file(mode: u32) -> Self {
        Self::File { mode, pieces: RefCell::default(), synced: Cell::new(0) }
    }

    /// What kind of entry it is.
    pub(super) fn kind(&self) -> EntryKind {
        match self {
            Self::Dir { .. } => EntryKind::Dir,
            Self::File { .. } => EntryKind::File,
            Self::Symlink(_) => EntryKind::Symlink,
        }
    }

    /// Length of a file in bytes, else 0.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::File { pieces, .. } => pieces.borrow().iter().map(|piece| piece.len() as u64).sum(),
            _ => 0,
        }
    }

    /// The bytes of a file from `offset` to the end of the piece that they lie in, none behind its end; `None` of what is
    /// no file.
    pub(super) fn piece_at(&self, offset: u64) -> Option<Bytes> {
        let Self::File { pieces, .. } = self else { return None };
        let (pieces, mut start) = (pieces.borrow(), 0);
        for piece in pieces.iter() {
            let end = start + piece.len() as u64;
            if offset < end {
                return Some(piece.slice((offset - start) as usize..));
            }
            start = end;
        }
        Some(Bytes::new())
    }

    /// Adds bytes to a file.
    pub(super) fn append(&self, bytes: Bytes) {
        if let Self::File { pieces, .. } = self {
            pieces.borrow_mut().push(bytes);
        }
    }

    /// Makes a file's bytes durable.
    pub(super) fn sync(&self) {
        if let Self::File { pieces, synced, .. } = self {
            synced.set(pieces.borrow().len());
        }
    }

    fn hash_into(&self, hasher: &mut TreeHasher, path: &str) {
        let entry = match self {
            Self::Dir { .. } => TreeEntry::Dir,
            Self::Symlink(target) => TreeEntry::Symlink(target.clone()),
            Self::File { mode, pieces, .. } => {
                TreeEntry::File { executable: mode & 0o111 != 0, content: FileDigest::of(&*pieces.borrow()) }
            }
        };
        hasher.add(path, &entry);
    }
}

/// A name of a directory gets another meaning, or none.
struct Naming {
    dir: Rc<Node>,
    name: String,
    now: Option<Rc<Node>>,
}

/// Namings that become durable together or not at all.
type Change = Vec<Naming>;

/// How much a loss of power takes of what was not synced: nothing for 0, all for [`LOSS_BOUND`] - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Of the names.
    pub names: u32,
    /// Of the bytes.
    pub bytes: u32,
}

/// The bound of both parts of a loss.
pub const LOSS_BOUND: u32 = 16;

/// One in so many changes is lost by a loss that is not total; those behind it in its directories go with it.
const LOST_ONE_IN: u64 = 3;

impl Loss {
    fn takes_name(self, index: usize) -> bool {
        match self.names {
            0 => false,
            names => names == LOSS_BOUND - 1 || lot(names, index).is_multiple_of(LOST_ONE_IN),
        }
    }

    /// How many of `unsynced` bytes are left, of the `index`-th thing that has some.
    pub fn leaves(self, unsynced: usize, index: usize) -> usize {
        match self.bytes {
            0 => unsynced,
            bytes if bytes == LOSS_BOUND - 1 => 0,
            bytes => (lot(bytes, index) % (unsynced as u64 + 1)) as usize,
        }
    }
}

fn lot(value: u32, index: usize) -> u64 {
    xxh3_64(&[value.to_le_bytes(), (index as u32).to_le_bytes()].concat())
}

/// All entries below a root, which is the empty path.
pub(super) struct Tree {
    root: Rc<Node>,
    entries: Names,
    /// What was named since, in order.
    unsynced: Vec<Change>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: Rc::new(Node::dir()), entries: BTreeMap::new(), unsynced: Vec::new() }
    }
}

impl Tree {
    /// What stands at `path`.
    pub(super) fn get(&self, path: &str) -> Option<&Rc<Node>> {
        if path.is_empty() { Some(&self.root) } else { self.entries.get(path) }
    }

    /// The directory at `path`.
    fn dir(&self, path: &str) -> io::Result<&Rc<Node>> {
        match self.get(path) {
            Some(node) if node.kind() == EntryKind::Dir => Ok(node),
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn naming(&self, path: &str, now: Option<Rc<Node>>) -> io::Result<Naming> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = Rc::clone(self.dir(parent).map_err(|_| io::ErrorKind::NotFound)?);
        Ok(Naming { dir, name: name.to_owned(), now })
    }

    /// Everything below `path`, not `path` itself.
    pub(super) fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a String, &'a Rc<Node>)> + use<'a> {
        // '0' is the character after '/'.
        let (from, to) = match path {
            "" => (String::new(), "\u{10ffff}".to_owned()),
            path => (format!("{path}/"), format!("{path}0")),
        };
        self.entries.range(from..to)
    }

    /// What stands in the directory `path`, by name.
    pub(super) fn within<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a str, &'a Rc<Node>)> + use<'a> {
        let start = if path.is_empty() { 0 } else { path.len() + 1 };
        let named = self.below(path).map(move |(below, node)| (&below[start..], node));
        named.filter(|(name, _)| !name.contains('/'))
    }

    /// Puts `node` at a path that is free.
    pub(super) fn add(&mut self, path: &str, node: Node) -> io::Result<Rc<Node>> {
        if self.get(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = Rc::new(node);
        let named = self.naming(path, Some(Rc::clone(&node)))?;
        self.unsynced.push(vec![named]);
        self.entries.insert(path.to_owned(), Rc::clone(&node));
        Ok(node)
    }

    /// Makes a directory and those above it.
    pub(super) fn create_dir_all(&mut self, path: &str) -> io::Result<()> {
        let ends = path.match_indices('/').map(|(index, _)| index).chain([path.len()]);
        for end in ends {
            match self.get(&path[..end]) {
                Some(node) if node.kind() == EntryKind::Dir => {}
                Some(_) => return Err(io::ErrorKind::NotADirectory.into()),
                None => drop(self.add(&path[..end], Node::dir())?),
            }
        }
        Ok(())
    }

    /// Moves `from` to `to`, with all below it.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let moved = Rc::clone(self.entries.get(from).ok_or(io::ErrorKind::NotFound)?);
        let change = vec![self.naming(from, None)?, self.naming(to, Some(Rc::clone(&moved)))?];
        match (moved.kind(), self.get(to).map(|node| node.kind())) {
            (_, None) => {}
            (EntryKind::Dir, Some(EntryKind::Dir)) if self.below(to).next().is_none() => {}
            (EntryKind::Dir, Some(EntryKind::Dir)) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
            (EntryKind::Dir, Some(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            (_, Some(EntryKind::Dir)) => return Err(io::ErrorKind::IsADirectory.into()),
            (_, Some(_)) => {}
        }
        self.unsynced.push(change);
        for (path, node) in self.forget(from) {
            self.entries.insert(format!("{to}{}", &path[from.len()..]), node);
        }
        Ok(())
    }

    /// Where a path leads: what a link at its end holds, seen from the link's directory.
    pub(super) fn resolve(&self, path: &str) -> String {
        let Some(Node::Symlink(target)) = self.get(path).map(Rc::as_ref) else { return path.to_owned() };
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

    /// Removes `path` with all below it, the deepest first; false when nothing stands there.
    pub(super) fn remove(&mut self, path: &str) -> bool {
        let below = self.below(path).map(|(path, _)| path.as_str());
        let mut paths: Vec<&str> = below.collect();
        paths.insert(0, path);
        let gone = paths.into_iter().rev().filter(|path| self.entries.contains_key(*path));
        let gone: Vec<_> = gone.filter_map(|path| Some(vec![self.naming(path, None).ok()?])).collect();
        self.unsynced.extend(gone);
        !self.forget(path).is_empty()
    }

    /// Takes `path` with all below it out of the entries.
    fn forget(&mut self, path: &str) -> Vec<(String, Rc<Node>)> {
        let below: Vec<String> = self.below(path).map(|(path, _)| path.clone()).collect();
        let paths = [path.to_owned()].into_iter().chain(below);
        paths.filter_map(|path| self.entries.remove_entry(&path)).collect()
    }

    /// The digest of what stands at `root`.
    pub(super) fn digest(&self, root: &str) -> TreeDigest {
        let mut hasher = TreeHasher::default();
        if let Some(node) = self.get(root).filter(|node| node.kind() != EntryKind::Dir) {
            node.hash_into(&mut hasher, "");
        }
        for (path, node) in self.below(root) {
            node.hash_into(&mut hasher, &path[root.len() + 1..]);
        }
        hasher.finish()
    }

    /// Makes the names in the directory `path` durable.
    pub(super) fn sync_dir(&mut self, path: &str) -> io::Result<()> {
        let dir = Rc::clone(self.dir(path)?);
        self.sync_names(vec![dir]);
        Ok(())
    }

    /// Makes everything below `path` durable, names and bytes.
    pub(super) fn sync_tree(&mut self, path: &str) -> io::Result<()> {
        let mut dirs = vec![Rc::clone(self.dir(path)?)];
        for (_, node) in self.below(path) {
            node.sync();
            dirs.extend((node.kind() == EntryKind::Dir).then(|| Rc::clone(node)));
        }
        self.sync_names(dirs);
        Ok(())
    }

    /// Makes the changes of `dirs` durable, and what came before them in the directories that they concern.
    fn sync_names(&mut self, mut dirs: Vec<Rc<Node>>) {
        let mut synced = Vec::new();
        for index in (0..self.unsynced.len()).rev() {
            if concerns(&self.unsynced[index], &dirs) {
                let change = self.unsynced.remove(index);
                dirs.extend(change.iter().map(|naming| Rc::clone(&naming.dir)));
                synced.push(change);
            }
        }
        synced.into_iter().rev().for_each(make_durable);
    }

    /// The power goes, and `loss` says what of the unsynced goes with it; the rest is durable.
    pub(super) fn lose_power(&mut self, loss: Loss) {
        let mut torn: Vec<Rc<Node>> = Vec::new();
        for (index, change) in std::mem::take(&mut self.unsynced).into_iter().enumerate() {
            if concerns(&change, &torn) || loss.takes_name(index) {
                torn.extend(change.into_iter().map(|naming| naming.dir));
            } else {
                make_durable(change);
            }
        }
        self.entries.clear();
        let root = Rc::clone(&self.root);
        self.read_back(&root, "", loss);
    }

    fn read_back(&mut self, dir: &Node, path: &str, loss: Loss) {
        let Node::Dir { durable } = dir else { return };
        for (name, node) in &*durable.borrow() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            tear(node, loss, self.entries.len());
            self.entries.insert(path.clone(), Rc::clone(node));
            self.read_back(node, &path, loss);
        }
    }
}

fn concerns(change: &Change, dirs: &[Rc<Node>]) -> bool {
    change.iter().any(|naming| dirs.iter().any(|dir| Rc::ptr_eq(dir, &naming.dir)))
}

fn make_durable(change: Change) {
    for Naming { dir, name, now } in change {
        let Node::Dir { durable } = &*dir else { continue };
        match now {
            Some(node) => drop(durable.borrow_mut().insert(name, node)),
            None => drop(durable.borrow_mut().remove(&name)),
        }
    }
}

/// Takes what a loss of power takes of a file's bytes.
fn tear(node: &Node, loss: Loss, index: usize) {
    let Node::File { pieces, synced, .. } = node else { return };
    let mut pieces = pieces.borrow_mut();
    let unsynced: usize = pieces[synced.get()..].iter().map(Bytes::len).sum();
    let mut left = loss.leaves(unsynced, index);
    for piece in &mut pieces[synced.get()..] {
        let kept = left.min(piece.len());
        piece.truncate(kept);
        left -= kept;
    }
    synced.set(pieces.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Loss = Loss { names: LOSS_BOUND - 1, bytes: LOSS_BOUND - 1 };

    fn names(tree: &Tree) -> Vec<&str> {
        tree.below("").map(|(path, _)| path.as_str()).collect()
    }

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::default();
        paths.iter().for_each(|path| tree.create_dir_all(path).unwrap());
        tree
    }

    #[test]
    fn a_name_is_durable_once_its_directory_is() {
        let mut tree = tree(&["a/b"]);
        tree.sync_dir("").unwrap();
        tree.lose_power(ALL);
        assert_eq!(names(&tree), ["a"]);
    }

    #[test]
    fn bytes_are_durable_once_the_file_is() {
        let mut tree = tree(&[]);
        let file = tree.add("f", Node::file(0o644)).unwrap();
        file.append(Bytes::from_static(b"kept"));
        file.sync();
        file.append(Bytes::from_static(b"lost"));
        tree.sync_dir("").unwrap();
        tree.lose_power(ALL);
        assert_eq!(tree.get("f").unwrap().bytes(), 4);
    }

    #[test]
    fn a_rename_between_directories_is_atomic() {
        let mut tree = tree(&["from/x", "to"]);
        tree.sync_tree("").unwrap();
        tree.rename("from/x", "to/x").unwrap();
        tree.lose_power(ALL);
        assert_eq!(names(&tree), ["from", "from/x", "to"]);
        tree.rename("from/x", "to/x").unwrap();
        tree.sync_dir("to").unwrap();
        tree.lose_power(ALL);
        assert_eq!(names(&tree), ["from", "to", "to/x"]);
    }

    #[test]
    fn what_is_removed_may_come_back_with_its_synced_bytes() {
        let mut tree = tree(&["d"]);
        tree.add("d/f", Node::file(0o644)).unwrap().append(Bytes::from_static(b"1"));
        tree.sync_tree("").unwrap();
        assert!(tree.remove("d"));
        tree.lose_power(ALL);
        assert_eq!((names(&tree), tree.get("d/f").unwrap().bytes()), (vec!["d", "d/f"], 1));
    }

    #[test]
    fn a_loss_that_takes_nothing_leaves_everything() {
        let mut tree = tree(&["a/b/c"]);
        let before = tree.digest("a");
        tree.lose_power(Loss { names: 0, bytes: 0 });
        assert_eq!(tree.digest("a"), before);
    }
}
