//! One number for a whole tree of files.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// A 128-bit digest of a tree: names, kinds, executable bits, link targets and bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TreeDigest(pub u128);

impl From<TreeDigest> for String {
    fn from(digest: TreeDigest) -> Self {
        format!("{:032x}", digest.0)
    }
}

impl TryFrom<String> for TreeDigest {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}

impl fmt::Display for TreeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0 >> 96)
    }
}

impl fmt::Debug for TreeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A 128-bit digest of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileDigest(TreeDigest);

impl FileDigest {
    /// Of bytes that are cut anywhere.
    pub fn of<'a>(pieces: impl IntoIterator<Item = &'a Bytes>) -> Self {
        let mut hasher = FileHasher::default();
        pieces.into_iter().for_each(|piece| hasher.update(piece));
        hasher.finish()
    }
}

/// Digests a file piece by piece.
#[derive(Default)]
pub struct FileHasher(Xxh3);

impl FileHasher {
    /// Adds bytes at the end.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    pub fn finish(&self) -> FileDigest {
        FileDigest(TreeDigest(self.0.digest128()))
    }
}

/// What stands under a name in a tree; of a file's bytes their digest, unless something else is wanted of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TreeEntry<T = FileDigest> {
    /// A directory.
    Dir,
    /// A file.
    File {
        /// May it be executed?
        executable: bool,
        /// Its bytes.
        content: T,
    },
    /// A symbolic link that holds this target.
    Symlink(String),
}

/// Digests a tree whose entries are fed in path order, paths relative to the tree's root.
#[derive(Default)]
pub struct TreeHasher(Xxh3);

impl TreeHasher {
    /// Adds an entry.
    pub fn add(&mut self, path: &str, entry: &TreeEntry) {
        self.text(path);
        match entry {
            TreeEntry::Dir => self.0.update(b"d"),
            TreeEntry::Symlink(target) => {
                self.0.update(b"l");
                self.text(target);
            }
            TreeEntry::File { executable, content } => {
                self.0.update(if *executable { b"x" } else { b"f" });
                self.0.update(&content.0.0.to_le_bytes());
            }
        }
    }

    /// The digest of all that was added.
    pub fn finish(&self) -> TreeDigest {
        TreeDigest(self.0.digest128())
    }

    fn text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }
}

impl TreeDigest {
    /// Of a whole tree, by path.
    pub fn of<'a>(tree: impl IntoIterator<Item = (&'a String, &'a TreeEntry)>) -> Self {
        let mut hasher = TreeHasher::default();
        tree.into_iter().for_each(|(path, entry)| hasher.add(path, entry));
        hasher.finish()
    }
}
