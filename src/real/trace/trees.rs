//! What the components on a node's disk are, told by reading them.
//!
//! Invariants compare what is live with what was uploaded, and an installer adds to a component (`node_modules`) and may
//! change it (a lock file). So before the first process runs in a staged component, its uploaded part is noted; what
//! differs of it when a process has ended is the process's doing. From then on a build is told by its uploaded part: as
//! uploaded if nobody but an installer has touched it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    rc::Rc,
};

use serde::{Deserialize, Serialize};
use uuid::{Uuid, fmt::Hyphenated};

use super::recorder::Recorder;
use crate::{
    check::{
        Event, TreeDigest, TreeEntry,
        archive::{Tree, digest_of},
    },
    real::blocking::blocking,
};

/// Where the logic keeps what is live: one link for each project; and what has no part in that.
const LIVE: &str = "components";
const HIDDEN: &str = "components/.";

/// Where components are put together, and where they stand when they are whole.
const STAGING: &str = "staging";
const BUILDS: &str = "builds";

/// Where the uploaded parts are noted, each under the id of its deployment.
const NOTED: &str = "store/unpacked";

/// A node's components; clones are handles to the same ones.
#[derive(Clone)]
pub(in crate::real) struct Trees {
    root: Rc<PathBuf>,
    recorder: Recorder,
    /// The link of each project: where it leads, and to which tree.
    live: Rc<RefCell<BTreeMap<String, Lead>>>,
}

type Lead = (PathBuf, Option<TreeDigest>);

/// An uploaded entry, and what an installer left in its place.
#[derive(Serialize, Deserialize)]
struct Noted {
    uploaded: TreeEntry,
    left: Option<TreeEntry>,
}

impl Trees {
    pub(in crate::real) fn new(root: PathBuf, recorder: Recorder) -> Self {
        Self { root: Rc::new(root), recorder, live: Rc::default() }
    }

    /// Tells what is live as a life begins.
    pub(super) fn begin(&self) {
        if let Err(error) = forget_unused(&self.root) {
            self.recorder.gap(&error);
        }
        match read_live(&self.root) {
            Ok(live) => self.live_is(live),
            Err(error) => self.recorder.gap(&error),
        }
    }

    /// A process is about to run in `directory`: notes what was uploaded, if nothing has run there before.
    pub(in crate::real) async fn before_process(&self, directory: &Path) {
        self.note(directory, |noted, uploaded| {
            if noted.is_none() {
                let noted =
                    |(path, entry): (String, TreeEntry)| (path, Noted { left: Some(entry.clone()), uploaded: entry });
                return Some(uploaded.into_iter().map(noted).collect());
            }
            None
        })
        .await;
    }

    /// A process has run in `directory`: what differs now is its doing.
    pub(in crate::real) async fn after_process(&self, directory: &Path) {
        self.note(directory, |noted, mut tree| {
            let mut noted = noted?;
            for (path, noted) in &mut noted {
                noted.left = tree.remove(path);
            }
            Some(noted)
        })
        .await;
    }

    async fn note(
        &self,
        directory: &Path,
        update: impl FnOnce(Option<BTreeMap<String, Noted>>, Tree) -> Option<BTreeMap<String, Noted>> + Send + 'static,
    ) {
        let Some(id) = staged_by(directory) else { return };
        let (root, directory) = (self.root.to_path_buf(), self.root.join(directory));
        let noting = blocking(move || {
            let path = noted_at(&root, id);
            match update(read_noted(&path)?, read_tree(&directory)?) {
                Some(noted) => fs::write(path, serde_json::to_vec(&noted)?),
                None => Ok(()),
            }
        });
        if let Err(error) = noting.await {
            self.recorder.gap(&error);
        }
    }

    /// The tree that a rename makes live, if it makes one so.
    pub(in crate::real) async fn made_live_by(&self, from: &Path, to: &Path) -> Option<TreeDigest> {
        project_of(to)?;
        let (root, from) = (self.root.to_path_buf(), from.to_owned());
        let read = blocking(move || look(&root, &from)).await;
        read.inspect_err(|error| self.recorder.gap(error)).ok()?.1
    }

    /// A name has become another one; `tree` is what that has made live.
    pub(in crate::real) async fn renamed(&self, from: &Path, to: &Path, tree: Option<TreeDigest>) {
        let [from_text, to_text] = [from, to].map(text);
        // What is not live is not read: a tree may be large.
        let moved = tree.unwrap_or(TreeDigest(0));
        self.recorder.record(&Event::Renamed { from: from_text, to: to_text, tree: moved });
        self.changed(from, None).await;
        self.changed(to, tree).await;
    }

    pub(in crate::real) async fn removed(&self, path: &Path) {
        self.recorder.record(&Event::Removed { path: text(path) });
        self.changed(path, None).await;
        let id = if path.starts_with(BUILDS) { built_by(path) } else { staged_as(path) };
        if let Some(id) = id {
            let root = self.root.to_path_buf();
            // One that is left over is removed at the next start.
            let _ = blocking(move || forget(&root, id)).await;
        }
    }

    pub(in crate::real) async fn written(&self, path: &Path, bytes: usize) {
        self.recorder.record(&Event::Written { path: text(path), bytes: bytes as u64 });
        self.changed(path, None).await;
    }

    /// Something changed at `path` or below it: records what that makes live; `known` is the tree that `path` leads to now.
    async fn changed(&self, path: &Path, known: Option<TreeDigest>) {
        if !self.may_be_live(path) {
            return;
        }
        let link = project_of(path).zip(known);
        let (root, path, before) = (self.root.to_path_buf(), path.to_owned(), self.live.borrow().clone());
        let now = blocking(move || {
            let mut now = BTreeMap::new();
            for project in projects(&root)? {
                let place = Path::new(LIVE).join(&project);
                let touched = before.get(&project).is_none_or(|(target, _)| overlap(&path, target));
                let lead = match (&link, before.get(&project)) {
                    (Some((of, tree)), _) if *of == project => (target_of(&root, &place), Some(*tree)),
                    (_, Some(before)) if !touched && !overlap(&path, &place) => before.clone(),
                    _ => look(&root, &place)?,
                };
                now.insert(project, lead);
            }
            Ok(now)
        });
        match now.await {
            Ok(now) => self.live_is(now),
            Err(error) => self.recorder.gap(&error),
        }
    }

    /// Can a change at `path` change what is live?
    fn may_be_live(&self, path: &Path) -> bool {
        let named = overlap(path, Path::new(LIVE)) && !text(path).starts_with(HIDDEN);
        named || self.live.borrow().values().any(|(target, _)| overlap(path, target))
    }

    fn live_is(&self, now: BTreeMap<String, Lead>) {
        let before = self.live.replace(now.clone());
        let tree_in = |leads: &BTreeMap<String, Lead>, project| leads.get(project).and_then(|(_, tree)| *tree);
        let mut projects: Vec<_> = before.keys().chain(now.keys()).collect();
        projects.sort();
        projects.dedup();
        for project in projects {
            let tree = tree_in(&now, project);
            if tree != tree_in(&before, project) {
                self.recorder.record(&Event::Live { project: project.clone(), tree });
            }
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Does one of two paths lie within the other?
fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// The project whose live path this is.
fn project_of(path: &Path) -> Option<String> {
    let name = path.strip_prefix(LIVE).ok()?.to_str()?;
    (!name.is_empty() && !name.starts_with('.') && !name.contains('/')).then(|| name.to_owned())
}

/// The deployment that a directory is staged for.
fn staged_by(path: &Path) -> Option<Uuid> {
    path.strip_prefix(STAGING).ok()?.iter().next()?.to_str()?.parse().ok()
}

/// The deployment whose staging directory this is.
fn staged_as(path: &Path) -> Option<Uuid> {
    staged_by(path).filter(|_| path.parent() == Some(Path::new(STAGING)))
}

/// The deployment whose build this is.
fn built_by(path: &Path) -> Option<Uuid> {
    let name = path.file_name()?.to_str()?;
    name.get(name.len().checked_sub(Hyphenated::LENGTH)?..)?.parse().ok()
}

fn noted_at(root: &Path, id: Uuid) -> PathBuf {
    root.join(NOTED).join(format!("{id}.json"))
}

fn read_noted(path: &Path) -> io::Result<Option<BTreeMap<String, Noted>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The deployments whose builds are there.
fn built(root: &Path) -> io::Result<BTreeSet<Uuid>> {
    let mut built = BTreeSet::new();
    for project in names(&root.join(BUILDS))? {
        let builds = names(&root.join(BUILDS).join(project))?;
        built.extend(builds.iter().filter_map(|name| built_by(Path::new(name))));
    }
    Ok(built)
}

/// Removes the note of a deployment, unless its build is there: one that was staged may have become a build.
fn forget(root: &Path, id: Uuid) -> io::Result<()> {
    if built(root)?.contains(&id) { Ok(()) } else { fs::remove_file(noted_at(root, id)) }
}

/// Removes the notes of builds that are not there any more.
fn forget_unused(root: &Path) -> io::Result<()> {
    fs::create_dir_all(root.join(NOTED))?;
    let built = built(root)?;
    for name in names(&root.join(NOTED))? {
        let path = root.join(NOTED).join(name);
        let id = path.file_stem().and_then(|name| name.to_str()?.parse().ok());
        if id.is_none_or(|id| !built.contains(&id)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The names in a directory; none where there is none.
pub(super) fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn projects(root: &Path) -> io::Result<Vec<String>> {
    Ok(names(&root.join(LIVE))?.into_iter().filter(|name| !name.starts_with('.')).collect())
}

/// Where a link of the node leads, as a path of the seam; the path itself when it is none.
pub(super) fn target_of(root: &Path, link: &Path) -> PathBuf {
    let Ok(target) = fs::read_link(root.join(link)) else { return link.to_owned() };
    let mut leads = link.parent().unwrap_or(Path::new("")).to_owned();
    for part in &target {
        match part.to_str() {
            Some("..") => drop(leads.pop()),
            _ => leads.push(part),
        }
    }
    leads
}

/// Where a path leads, and to which tree.
fn look(root: &Path, path: &Path) -> io::Result<Lead> {
    let target = target_of(root, path);
    let tree = match root.join(&target).is_dir() {
        true => Some(build_digest(root, &target)?),
        false => None,
    };
    Ok((target, tree))
}

fn read_live(root: &Path) -> io::Result<BTreeMap<String, Lead>> {
    let place = |project: &String| Path::new(LIVE).join(project);
    projects(root)?.into_iter().map(|project| Ok((project.clone(), look(root, &place(&project))?))).collect()
}

/// The trees that are live in a node's directory.
pub(super) fn live_builds(root: &Path) -> io::Result<BTreeMap<String, TreeDigest>> {
    Ok(read_live(root)?.into_iter().filter_map(|(project, (_, tree))| Some((project, tree?))).collect())
}

/// The digest of a build: of its uploaded part, if an installer has run in it.
fn build_digest(root: &Path, build: &Path) -> io::Result<TreeDigest> {
    let mut tree = read_tree(&root.join(build))?;
    let noted = built_by(build).map(|id| read_noted(&noted_at(root, id))).transpose()?.flatten();
    let Some(noted) = noted else { return Ok(TreeDigest::of(&tree)) };
    let untouched = noted.iter().all(|(path, noted)| tree.get(path) == noted.left.as_ref());
    if untouched {
        tree = noted.into_iter().map(|(path, noted)| (path, noted.uploaded)).collect();
    }
    Ok(TreeDigest::of(&tree))
}

/// Reads a directory with all that it holds.
fn read_tree(root: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    let mut open = vec![String::new()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
            let read = read_entry(&entry)?;
            if read == TreeEntry::Dir {
                open.push(path.clone());
            }
            tree.insert(path, read);
        }
    }
    Ok(tree)
}

fn read_entry(entry: &fs::DirEntry) -> io::Result<TreeEntry> {
    use std::os::unix::fs::PermissionsExt;
    let (kind, path) = (entry.file_type()?, entry.path());
    if kind.is_dir() {
        return Ok(TreeEntry::Dir);
    }
    if kind.is_symlink() {
        return Ok(TreeEntry::Symlink(fs::read_link(path)?.to_string_lossy().into_owned()));
    }
    let executable = entry.metadata()?.permissions().mode() & 0o111 != 0;
    // What is no file could be read for ever.
    let content = if kind.is_file() { digest_of(&mut fs::File::open(path)?)? } else { digest_of(&mut io::empty())? };
    Ok(TreeEntry::File { executable, content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_goes_with_what_was_staged_unless_that_has_become_a_build() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        forget_unused(root).unwrap();
        let trees = Trees::new(root.to_owned(), Recorder::open(root, Vec::new()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (id, is_built) in [(Uuid::from_u128(1), false), (Uuid::from_u128(2), true)] {
            fs::write(noted_at(root, id), "{}").unwrap();
            if is_built {
                fs::create_dir_all(root.join(BUILDS).join(format!("shop/1-n1-{id}"))).unwrap();
            }
            let staged = Path::new(STAGING).join(id.to_string());
            runtime.block_on(trees.removed(&staged.join("package")));
            assert!(noted_at(root, id).exists(), "a part of it has gone");
            runtime.block_on(trees.removed(&staged));
            assert_eq!(noted_at(root, id).exists(), is_built);
        }
    }
}
