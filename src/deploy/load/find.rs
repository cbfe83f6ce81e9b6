//! Whether what a manifest names is in the component: every step stays inside, links included.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use super::names::NameKind;
use crate::env::{Disk, EntryKind};

/// How many links a name may lead through: as many as Linux follows.
const LINKS_MAX: usize = 40;

/// What `require` tries behind a name that leads to no file.
const EXTENSIONS: [&str; 3] = [".js", ".json", ".node"];

/// Where a name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// To something in the component.
    Inside,
    /// To nothing.
    Nothing,
    /// Out of the component.
    Outside,
}

/// What failed, and at which path.
type Failure = (PathBuf, io::Error);

/// Looks a name up in the component at `root`.
pub(super) async fn find_entry(disk: &impl Disk, root: &Path, name: &str, kind: NameKind) -> Result<Found, Failure> {
    let name = name.trim_end_matches('/');
    let first = follow(disk, root, Path::new(name)).await?;
    match (kind, first) {
        (_, Step::Outside) => Ok(Found::Outside),
        (_, Step::Entry(EntryKind::File)) | (NameKind::Exact, Step::Entry(_)) => Ok(Found::Inside),
        (NameKind::Exact, Step::Nothing) => Ok(Found::Nothing),
        (NameKind::Module, _) => find_module(disk, root, name).await,
    }
}

/// What `require` would take in the place of a name that leads to no file.
async fn find_module(disk: &impl Disk, root: &Path, name: &str) -> Result<Found, Failure> {
    for stem in [name.to_owned(), format!("{name}/index")] {
        for extension in EXTENSIONS {
            match follow(disk, root, Path::new(&format!("{stem}{extension}"))).await? {
                Step::Entry(EntryKind::File) => return Ok(Found::Inside),
                Step::Outside => return Ok(Found::Outside),
                _ => {}
            }
        }
    }
    Ok(Found::Nothing)
}

/// Where a path leads, through its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Entry(EntryKind),
    Nothing,
    Outside,
}

/// Walks from the root, one name after another: a link puts its own names in the place of itself.
async fn follow(disk: &impl Disk, root: &Path, path: &Path) -> Result<Step, Failure> {
    let Some(mut ahead) = parts_reversed(path) else { return Ok(Step::Outside) };
    let (mut here, mut kind, mut links) = (PathBuf::new(), EntryKind::Dir, 0);
    while let Some(part) = ahead.pop() {
        if kind != EntryKind::Dir {
            return Ok(Step::Nothing);
        }
        if part == Path::new("..") {
            if !here.pop() {
                return Ok(Step::Outside);
            }
            continue;
        }
        here.push(part);
        let full = root.join(&here);
        let Some(found) = disk.metadata(&full).await.map_err(|cause| (here.clone(), cause))? else {
            return Ok(Step::Nothing);
        };
        if found.kind == EntryKind::Symlink {
            links += 1;
            let target = disk.read_link(&full).await.map_err(|cause| (here.clone(), cause))?;
            let Some(target) = parts_reversed(&target) else { return Ok(Step::Outside) };
            if links > LINKS_MAX {
                return Ok(Step::Nothing);
            }
            here.pop();
            ahead.extend(target);
        } else {
            kind = found.kind;
        }
    }
    Ok(Step::Entry(kind))
}

/// The names of a path, the last first; `None` when it does not begin where it stands.
fn parts_reversed(path: &Path) -> Option<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(_) | Component::ParentDir => parts.push(PathBuf::from(part.as_os_str())),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    parts.reverse();
    Some(parts)
}
