//! One number for a whole tree of files.

use std::fmt;

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

/// What stands under a name in a tree.
#[derive(Clone, Copy, Debug)]
pub enum TreeEntry<'a> {
    /// A directory.
    Dir,
    /// A file, its bytes in pieces.
    File {
        /// May it be executed?
        executable: bool,
        /// The bytes, cut anywhere.
        pieces: &'a [bytes::Bytes],
    },
    /// A symbolic link that holds this target.
    Symlink(&'a str),
}

/// Digests a tree whose entries are fed in path order, paths relative to the tree's root.
#[derive(Default)]
pub struct TreeHasher(Xxh3);

impl TreeHasher {
    /// Adds an entry.
    pub fn add(&mut self, path: &str, entry: TreeEntry<'_>) {
        self.text(path);
        match entry {
            TreeEntry::Dir => self.0.update(b"d"),
            TreeEntry::Symlink(target) => {
                self.0.update(b"l");
                self.text(target);
            }
            TreeEntry::File { executable, pieces } => {
                self.0.update(if executable { b"x" } else { b"f" });
                let bytes: usize = pieces.iter().map(bytes::Bytes::len).sum();
                self.0.update(&(bytes as u64).to_le_bytes());
                pieces.iter().for_each(|piece| self.0.update(piece));
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
