//! What an entry may do: pure decisions over names, kinds and counts.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
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

/// The longest path, and the longest target of a link; no system takes longer ones.
const PATH_BYTES_MAX: usize = 4096;

/// The longest name in a path.
const NAME_BYTES_MAX: usize = 255;

/// Bytes of all paths and all targets of links: they are held while an archive is unpacked, or when it is judged.
const PATHS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How much of an entry's path a refusal tells.
const TOLD_CHARACTERS_MAX: usize = 200;

const SMALLER: &str = "leave node_modules out and let the node install, or split the component";

const LEAVES: &str = "is a link that leaves the component: pack a copy of what it points to";

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Dir,
    File,
    Link,
}

impl From<&Kind> for Taken {
    fn from(kind: &Kind) -> Self {
        match kind {
            Kind::Dir => Self::Dir,
            Kind::File { .. } => Self::File,
            Kind::Symlink(_) => Self::Link,
        }
    }
}

/// What has been admitted so far.
pub(super) struct Rules {
    limits: Limits,
    entries: u64,
    bytes: u64,
    /// By path; the directories above an entry too, though nobody names them.
    taken: BTreeMap<String, Taken>,
    paths_bytes: usize,
    /// The first link that leads out of its directory at the top.
    leaves_its_top: Option<String>,
}

impl Rules {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, entries: 0, bytes: 0, taken: BTreeMap::new(), paths_bytes: 0, leaves_its_top: None }
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where an entry goes and what it becomes; `None` for the archive's own root.
    pub(super) fn admit(&mut self, entry: &Entry) -> Result<Option<(PathBuf, Kind)>, ArchiveError> {
        let refuse = |why: String| refused(&entry.path.to_string_lossy(), &why);
        self.count(entry.size).map_err(refuse)?;
        let path = inside(&entry.path).map_err(|why| refuse(why.to_owned()))?;
        let kind = self.kind(entry, &path).map_err(|why| refuse(why.to_owned()))?;
        if path.is_empty() {
            let nameless = || refuse("has no name: pack the component's directory".to_owned());
            return if kind == Kind::Dir { Ok(None) } else { Err(nameless()) };
        }
        self.take(&path, &kind).map_err(refuse)?;
        Ok(Some((path.into(), kind)))
    }

    fn count(&mut self, bytes: u64) -> Result<(), String> {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        let Limits { entries_max, bytes_max } = self.limits;
        if self.entries > entries_max {
            return Err(format!(
                "is one too many: at most {entries_max} files and directories are unpacked; {SMALLER}"
            ));
        }
        if self.bytes > bytes_max {
            return Err(format!("is too much: at most {bytes_max} bytes are unpacked; {SMALLER}"));
        }
        Ok(())
    }

    fn kind(&mut self, entry: &Entry, path: &str) -> Result<Kind, &'static str> {
        match entry.kind {
            // Some programs pass over these bytes and some do not: one archive would be two components.
            EntryType::Directory | EntryType::Symlink if entry.size > 0 => {
                Err("has bytes, and is no file: pack the component anew")
            }
            EntryType::Directory => Ok(Kind::Dir),
            EntryType::Regular | EntryType::Continuous => {
                let mode = if entry.mode & 0o111 == 0 { 0o644 } else { 0o755 };
                Ok(Kind::File { mode })
            }
            EntryType::Symlink => {
                let target = entry.link.as_deref().ok_or("is a link to nowhere: leave it out")?;
                if highest_step(path, target)? == 0 {
                    self.leaves_its_top.get_or_insert_with(|| path.to_owned());
                }
                self.paths_bytes += target.as_os_str().len();
                Ok(Kind::Symlink(target.to_owned()))
            }
            EntryType::Link => Err("is a hard link: pack a copy instead"),
            EntryType::Char | EntryType::Block | EntryType::Fifo => Err("is a device: a component holds files only"),
            _ => Err("is of a kind that is not unpacked: a component holds files, directories and links"),
        }
    }

    /// Takes a name, and the directories above it that nobody has named yet. A directory may come twice; anything else
    /// only once, and never below a link, which could lead out of the tree.
    fn take(&mut self, path: &str, kind: &Kind) -> Result<(), String> {
        for (end, _) in path.rmatch_indices('/') {
            match self.taken.get(&path[..end]) {
                // What stands above it was taken with it.
                Some(Taken::Dir) => break,
                Some(Taken::File) => return Err("lies below a file: pack the component anew".to_owned()),
                Some(Taken::Link) => return Err("lies below a link: pack a directory in the link's place".to_owned()),
                None => {
                    self.count(0)?;
                    self.hold(&path[..end], Taken::Dir)?;
                }
            }
        }
        let taken = Taken::from(kind);
        match self.taken.get(path) {
            None => self.hold(path, taken),
            Some(Taken::Dir) if taken == Taken::Dir => Ok(()),
            Some(_) => Err("comes twice: pack it once".to_owned()),
        }
    }

    fn hold(&mut self, path: &str, taken: Taken) -> Result<(), String> {
        self.paths_bytes += path.len();
        if self.paths_bytes > PATHS_BYTES_MAX {
            return Err(format!(
                "is too much: all paths and targets of links have {PATHS_BYTES_MAX} bytes at most; {SMALLER}"
            ));
        }
        self.taken.insert(path.to_owned(), taken);
        Ok(())
    }

    /// The only directory at the top, which the component is hoisted from; `None` when the archive is the component.
    pub(super) fn root(&self) -> Result<Option<&Path>, ArchiveError> {
        let mut tops = self.taken.iter().filter(|(path, _)| !path.contains('/'));
        match (tops.next(), tops.next()) {
            (None, _) => Err(ArchiveError::Malformed("it is empty".to_owned())),
            // Its name is not that of the directory that the component will be: no link may come back in by it.
            (Some((top, Taken::Dir)), None) => match &self.leaves_its_top {
                Some(link) => Err(refused(link, LEAVES)),
                None => Ok(Some(Path::new(top))),
            },
            _ => Ok(None),
        }
    }
}

fn refused(entry: &str, why: &str) -> ArchiveError {
    let told = match entry.char_indices().nth(TOLD_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &entry[..end]),
        None => entry.to_owned(),
    };
    ArchiveError::Refused { entry: told, why: why.to_owned() }
}

/// A name that a system takes.
fn plain(name: &OsStr) -> Result<&str, &'static str> {
    match name.to_str() {
        Some(name) if name.len() <= NAME_BYTES_MAX => Ok(name),
        Some(_) => Err("has a name that is too long: give it one of at most 255 bytes"),
        None => Err("has a name that is not UTF-8: give it another"),
    }
}

/// The path without `.`; an error when it could leave the component.
fn inside(path: &Path) -> Result<String, &'static str> {
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err("has a path that is too long: give it one of at most 4096 bytes");
    }
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(plain(name)?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err("leaves the component: pack the component's directory, by a path without `..`");
            }
        }
    }
    Ok(names.join("/"))
}

/// How many names lead to the highest directory that a link at `path` goes through; an error when it leaves the tree at any
/// step. What stands above a link are directories; a name in its target may be another link, and `..` behind it would lead
/// to wherever that one points.
fn highest_step(path: &str, target: &Path) -> Result<usize, &'static str> {
    if target.as_os_str().len() > PATH_BYTES_MAX {
        return Err("is a link to a path that is too long: at most 4096 bytes");
    }
    let mut depth = path.matches('/').count();
    let mut goes_down = false;
    for part in target.components() {
        match part {
            Component::Normal(name) => {
                plain(name)?;
                goes_down = true;
            }
            Component::CurDir => {}
            Component::ParentDir if goes_down => return Err("is a link with `..` behind a name: write `..` first"),
            Component::ParentDir => depth = depth.checked_sub(1).ok_or(LEAVES)?,
            Component::RootDir | Component::Prefix(_) => return Err(LEAVES),
        }
    }
    Ok(depth)
}
