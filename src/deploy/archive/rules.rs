//! What an entry may do: pure decisions over names, kinds and counts.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use tar::EntryType;

use super::{ArchiveError, entry::Entry};

/// How much an archive may unpack to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files, directories and links.
    pub entries_max: u64,
    /// Bytes of all files.
    pub bytes_max: u64,
}

/// What an entry's header, padding and extensions may take in a stream, one with another.
const ENTRY_OVERHEAD_BYTES_MAX: u64 = 4096;

impl Limits {
    /// How long the stream may be that holds it all.
    pub(super) fn stream_bytes_max(&self) -> u64 {
        self.bytes_max.saturating_add(self.entries_max.saturating_mul(ENTRY_OVERHEAD_BYTES_MAX)).saturating_add(1 << 20)
    }
}

impl Default for Limits {
    /// Far above real components, far below what fills a disk.
    fn default() -> Self {
        Self { entries_max: 65_536, bytes_max: 8 * 1024 * 1024 * 1024 }
    }
}

/// What an admitted entry becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dir,
    File { mode: u32 },
    Symlink(PathBuf),
}

/// What has been admitted so far.
pub(super) struct Rules {
    limits: Limits,
    entries: u64,
    bytes: u64,
    taken: BTreeSet<PathBuf>,
    /// Links, and what they point to within the archive.
    links: Vec<(PathBuf, PathBuf)>,
    tops: BTreeSet<PathBuf>,
    top_is_dir: bool,
}

impl Rules {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: 0,
            bytes: 0,
            taken: BTreeSet::new(),
            links: Vec::new(),
            tops: BTreeSet::new(),
            top_is_dir: true,
        }
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where an entry goes and what it becomes; `None` for the archive's own root.
    pub(super) fn admit(&mut self, entry: &Entry) -> Result<Option<(PathBuf, Kind)>, ArchiveError> {
        let refuse = |why: &str| refused(&entry.path, why);
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(entry.size);
        if self.entries > self.limits.entries_max {
            return Err(refuse(&format!("is one too many: at most {} are unpacked", self.limits.entries_max)));
        }
        if self.bytes > self.limits.bytes_max {
            return Err(refuse(&format!("is too much: at most {} bytes are unpacked", self.limits.bytes_max)));
        }
        let path = inside(&entry.path).map_err(refuse)?;
        let kind = self.kind(entry, &path).map_err(refuse)?;
        if path.as_os_str().is_empty() {
            return if kind == Kind::Dir { Ok(None) } else { Err(refuse("has no name")) };
        }
        self.take(&path, &kind).map_err(refuse)?;
        Ok(Some((path, kind)))
    }

    fn kind(&mut self, entry: &Entry, path: &Path) -> Result<Kind, &'static str> {
        match entry.kind {
            EntryType::Directory => Ok(Kind::Dir),
            EntryType::Regular | EntryType::Continuous => {
                let mode = if entry.mode & 0o111 == 0 { 0o644 } else { 0o755 };
                Ok(Kind::File { mode })
            }
            EntryType::Symlink => {
                let target = entry.link.as_deref().ok_or("is a link to nowhere")?;
                let pointed = resolve(path, target)?;
                self.links.push((path.to_owned(), pointed));
                Ok(Kind::Symlink(target.to_owned()))
            }
            EntryType::Link => Err("is a hard link: pack a copy instead"),
            EntryType::Char | EntryType::Block | EntryType::Fifo => Err("is a device: a component holds files only"),
            _ => Err("is of a kind that is not unpacked: a component holds files, directories and links"),
        }
    }

    /// Takes a name. A directory may come twice; anything else only once, and never below a link, which could lead
    /// out of the tree.
    fn take(&mut self, path: &Path, kind: &Kind) -> Result<(), &'static str> {
        if path.ancestors().skip(1).any(|above| self.links.iter().any(|(link, _)| link == above)) {
            return Err("lies below a link");
        }
        if !self.taken.insert(path.to_owned()) && *kind != Kind::Dir {
            return Err("comes twice");
        }
        let mut names = path.components();
        let top = PathBuf::from(names.next().expect("an empty path was passed over").as_os_str());
        self.top_is_dir &= names.next().is_some() || *kind == Kind::Dir;
        self.tops.insert(top);
        Ok(())
    }

    /// The only directory at the top, which the component is hoisted from; `None` when the archive is the component.
    pub(super) fn root(&self) -> Result<Option<&Path>, ArchiveError> {
        let mut tops = self.tops.iter();
        let first = tops.next().ok_or_else(|| ArchiveError::Malformed("it is empty".to_owned()))?;
        if tops.next().is_some() || !self.top_is_dir {
            return Ok(None);
        }
        match self.links.iter().find(|(_, pointed)| !pointed.starts_with(first)) {
            Some((link, _)) => Err(refused(link, "is a link that leaves the component")),
            None => Ok(Some(first)),
        }
    }
}

fn refused(entry: &Path, why: &str) -> ArchiveError {
    ArchiveError::Refused { entry: entry.display().to_string(), why: why.to_owned() }
}

/// The path without `.`; an error when it could leave the component.
fn inside(path: &Path) -> Result<PathBuf, &'static str> {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) if name.to_str().is_some() => inside.push(name),
            Component::Normal(_) => return Err("has a name that is not UTF-8"),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err("leaves the component"),
        }
    }
    Ok(inside)
}

/// Where a link at `path` points to within the tree; an error when it leaves it at any step. What stands above a link are
/// directories; a name in its target may be another link, and `..` behind it would lead to wherever that one points.
fn resolve(path: &Path, target: &Path) -> Result<PathBuf, &'static str> {
    let mut pointed = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut goes_down = false;
    for part in target.components() {
        match part {
            Component::Normal(name) if name.to_str().is_some() => {
                goes_down = true;
                pointed.push(name);
            }
            Component::CurDir => {}
            Component::ParentDir if goes_down => return Err("is a link with `..` behind a name: write `..` first"),
            Component::ParentDir if pointed.pop() => {}
            _ => return Err("is a link that leaves the component"),
        }
    }
    Ok(pointed)
}
