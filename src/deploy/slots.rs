//! Where components stand on disk, and how a new build takes the place of the old one (spec 8).
//!
//! A build is staged in a directory of its own, moved whole to `builds/<project>/<timestamp>-<origin>-<deployment>`, and goes
//! live when `components/<project>`, a symbolic link, is replaced by a rename: at every instant the live path leads to a whole
//! build, old or new. The link's target says which deployment a node runs, so the two cannot disagree. The previous build is
//! let go once the new one is durable, and is served no more; [`recover`] clears what a crash left.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

use super::row::Deployment;
use crate::env::{Disk, EntryKind, NodeName};

const COMPONENTS: &str = "components";
const BUILDS: &str = "builds";
const STAGING: &str = "staging";

/// Begins the name of a link that is not live yet.
const FRESH: &str = ".next-";

/// The most bytes that a project's name may have: what a directory's name may have on every file system.
const NAME_BYTES_MAX: usize = 200;

/// A project's name: one path segment, and nothing that could leave its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectName(String);

/// A name that is no project's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be one name of letters, digits, `-`, `_` and `.` that does not begin with a dot, at most {NAME_BYTES_MAX} long"
)]
pub struct InvalidName;

impl ProjectName {
    /// Parses a name.
    pub fn parse(name: &str) -> Result<Self, InvalidName> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
        (fits && name.bytes().all(plain) && !name.starts_with('.')).then(|| Self(name.to_owned())).ok_or(InvalidName)
    }
}

impl TryFrom<String> for ProjectName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::parse(&name)
    }
}

impl From<ProjectName> for String {
    fn from(name: ProjectName) -> Self {
        name.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which deployment a build is of. Builds are ordered by age: the hybrid logical timestamp taken at `create`, then the
/// origin's name, then the id (spec 8).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId {
    /// See [`super::row::Deployment::stamp`].
    pub stamp: u64,
    /// The deployment's origin.
    pub origin: NodeName,
    /// The deployment.
    pub deployment: Uuid,
}

/// Digits of the largest timestamp: names of directories sort by age.
const STAMP_DIGITS: usize = 20;

impl BuildId {
    /// The build of a deployment.
    pub fn of(deployment: &Deployment) -> Self {
        let Deployment { stamp, origin_node, deployment_id, .. } = deployment;
        Self { stamp: *stamp, origin: origin_node.clone(), deployment: *deployment_id }
    }

    /// The name of its directory.
    fn directory(&self) -> String {
        let origin: String = self.origin.as_str().bytes().map(escape).collect();
        format!("{:0STAMP_DIGITS$}-{origin}-{}", self.stamp, self.deployment)
    }

    /// The build whose directory has this name.
    fn parse(directory: &str) -> Option<Self> {
        let (stamp, rest) = directory.split_at_checked(STAMP_DIGITS)?;
        let (origin, deployment) = rest.strip_prefix('-')?.split_at_checked(rest.len().checked_sub(38)?)?;
        let origin = unescape(origin)?;
        Some(Self { stamp: stamp.parse().ok()?, origin: origin.into(), deployment: deployment.get(1..)?.parse().ok()? })
    }
}

/// A byte of a node's name in a file's name.
fn escape(byte: u8) -> String {
    match byte {
        b'-' | b'_' | b'.' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02x}"),
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// A place to put something together, which a restart clears.
pub(super) fn staging(name: &str) -> PathBuf {
    Path::new(STAGING).join(name)
}

/// The live build of a project: a link.
pub fn live_path(project: &ProjectName) -> PathBuf {
    Path::new(COMPONENTS).join(&project.0)
}

/// Where a build of a project stands, live or not.
pub fn build_path(project: &ProjectName, build: &BuildId) -> PathBuf {
    builds_path(project).join(build.directory())
}

fn builds_path(project: &ProjectName) -> PathBuf {
    Path::new(BUILDS).join(&project.0)
}

/// The places of one build of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Which project.
    pub project: ProjectName,
    /// Which build.
    pub build: BuildId,
    /// Where it is put together.
    pub staged: PathBuf,
}

impl Slots {
    /// The places of `deployment`'s build.
    pub fn new(deployment: &Deployment) -> Self {
        Self {
            project: deployment.project.clone(),
            build: BuildId::of(deployment),
            staged: staging(&deployment.deployment_id.to_string()),
        }
    }

    /// What a deploy that fails may leave behind. Its build is not live: an origin asks each peer once, so that none that went live
    /// fails later.
    pub fn remains(&self) -> Vec<PathBuf> {
        vec![self.staged.clone(), self.kept(), fresh_link(&self.project, &self.build)]
    }

    /// Where it stands once it is put together.
    pub fn kept(&self) -> PathBuf {
        build_path(&self.project, &self.build)
    }
}

/// Every project that has a live build.
pub async fn projects(disk: &impl Disk) -> io::Result<Vec<ProjectName>> {
    disk.create_dir_all(Path::new(COMPONENTS)).await?;
    let names = disk.read_dir(Path::new(COMPONENTS)).await?;
    Ok(names.into_iter().filter_map(|(name, _)| ProjectName::parse(&name).ok()).collect())
}

/// The build that is live.
pub async fn live_build(disk: &impl Disk, project: &ProjectName) -> io::Result<Option<BuildId>> {
    let live = live_path(project);
    match disk.metadata(&live).await?.map(|found| found.kind) {
        None => Ok(None),
        Some(EntryKind::Symlink) => named_by(&disk.read_link(&live).await?).map(Some),
        Some(_) => Err(strange(&live)),
    }
}

fn named_by(target: &Path) -> io::Result<BuildId> {
    let directory = target.file_name().and_then(|name| name.to_str());
    directory.and_then(BuildId::parse).ok_or_else(|| strange(target))
}

fn strange(path: &Path) -> io::Error {
    let why = format!("{} is no build that drydock made: move it away", path.display());
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Does it say that a live path holds what drydock did not make? No device will say otherwise the next time.
pub fn is_strange(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::InvalidData
}

/// Why a build did not go live.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// A newer one is live.
    #[error("superseded by {by}")]
    Superseded {
        /// Whose build it is.
        by: Uuid,
    },
    /// A step that the disk did not take.
    #[error("the new build cannot go live: {step}: {cause}; the previous build stays")]
    Disk {
        /// Which step.
        step: &'static str,
        /// What the disk says.
        cause: io::Error,
    },
    /// The disk took neither the last step nor its undoing: after a power loss either build may be live.
    #[error("the new build is live, but may not survive a power loss: {cause}; deploy again")]
    NotDurable {
        /// What the disk says.
        cause: io::Error,
    },
}

fn at(step: &'static str) -> impl Fn(io::Error) -> SwapError {
    move |cause| SwapError::Disk { step, cause }
}

/// Nothing newer may be live: a node never swaps to an older build than the one it runs.
pub async fn refuse_older(disk: &impl Disk, slots: &Slots) -> Result<Option<BuildId>, SwapError> {
    match live_build(disk, &slots.project).await.map_err(at("look at the live build"))? {
        Some(live) if live > slots.build => Err(SwapError::Superseded { by: live.deployment }),
        live => Ok(live),
    }
}

/// Makes the staged build live in the place of the previous one, which stays until [`clear`] lets it go. The live path
/// leads to a whole build at every instant, and after a crash at any point. A build that is live already stays as it is, and
/// what was staged of it again is not needed.
///
/// # Errors
/// The previous build is live then, but for [`SwapError::NotDurable`].
pub async fn swap(disk: &impl Disk, slots: &Slots) -> Result<(), SwapError> {
    let previous = refuse_older(disk, slots).await?;
    if previous.as_ref() == Some(&slots.build) {
        let synced = disk.sync_dir(Path::new(COMPONENTS)).await;
        return synced.map_err(|cause| SwapError::NotDurable { cause });
    }
    keep(disk, slots).await?;
    point_at(disk, &slots.project, &slots.build).await.map_err(at("rename the link to the build"))?;
    // A rename is durable only with its directory.
    match disk.sync_dir(Path::new(COMPONENTS)).await {
        Ok(()) => Ok(()),
        Err(cause) => Err(undo(disk, &slots.project, previous.as_ref(), cause).await),
    }
}

/// Makes what is live durable, then lets go of every other build of the project, but for the one that is `served`. No deploy
/// of it may be at work.
pub async fn clear(disk: &impl Disk, project: &ProjectName, served: Option<Uuid>) -> io::Result<()> {
    disk.sync_dir(Path::new(COMPONENTS)).await?;
    for (name, _) in disk.read_dir(Path::new(COMPONENTS)).await? {
        if is_fresh_link_of(project, &name) {
            disk.remove_all(&Path::new(COMPONENTS).join(name)).await?;
        }
    }
    clear_builds(disk, project, served).await
}

/// Moves the staged build to its place, whole and durable before any link leads there.
async fn keep(disk: &impl Disk, slots: &Slots) -> Result<(), SwapError> {
    let builds = builds_path(&slots.project);
    disk.create_dir_all(&builds).await.map_err(at("create the builds directory"))?;
    disk.create_dir_all(Path::new(COMPONENTS)).await.map_err(at("create the components directory"))?;
    disk.sync_tree(&slots.staged).await.map_err(at("sync the staged build"))?;
    disk.remove_all(&slots.kept()).await.map_err(at("clear the build's place"))?;
    disk.rename(&slots.staged, &slots.kept()).await.map_err(at("rename the staged build"))?;
    disk.sync_dir(&builds).await.map_err(at("sync the builds directory"))?;
    disk.sync_dir(Path::new(BUILDS)).await.map_err(at("sync the builds directory"))
}

fn fresh_link(project: &ProjectName, build: &BuildId) -> PathBuf {
    Path::new(COMPONENTS).join(format!("{FRESH}{}-{project}", build.deployment))
}

/// Is this the name of a link of the project that never went live?
fn is_fresh_link_of(project: &ProjectName, name: &str) -> bool {
    let rest = name.strip_prefix(FRESH).and_then(|rest| rest.split_at_checked(uuid::fmt::Hyphenated::LENGTH));
    rest.is_some_and(|(_, of)| of.strip_prefix('-') == Some(&project.0))
}

/// Lets the live path lead to a build: by the rename of a fresh link, which is atomic.
async fn point_at(disk: &impl Disk, project: &ProjectName, build: &BuildId) -> io::Result<()> {
    let fresh = fresh_link(project, build);
    disk.remove_all(&fresh).await?;
    disk.symlink(&Path::new("..").join(builds_path(project)).join(build.directory()), &fresh).await?;
    disk.rename(&fresh, &live_path(project)).await
}

/// Brings the previous build back, or none; returns what is told of it.
async fn undo(disk: &impl Disk, project: &ProjectName, previous: Option<&BuildId>, cause: io::Error) -> SwapError {
    let undone = match previous {
        Some(build) => point_at(disk, project, build).await,
        None => disk.remove_all(&live_path(project)).await,
    };
    match undone {
        Ok(()) => SwapError::Disk { step: "sync the components directory", cause },
        Err(_) => SwapError::NotDurable { cause },
    }
}

/// After a crash: clears what was staged, links that never went live, and builds that no link leads to. Run once at
/// start, before any deploy. Returns the projects whose live path holds what drydock did not make, and what is wrong
/// there: they are left as they are.
pub async fn recover(disk: &impl Disk) -> io::Result<Vec<(ProjectName, io::Error)>> {
    disk.create_dir_all(Path::new(COMPONENTS)).await?;
    disk.create_dir_all(Path::new(BUILDS)).await?;
    // What goes live later syncs its own directories, and relies on the names of these two.
    disk.sync_dir(Path::new("")).await?;
    disk.remove_all(Path::new(STAGING)).await?;
    for (name, _) in disk.read_dir(Path::new(COMPONENTS)).await? {
        if name.starts_with(FRESH) {
            disk.remove_all(&Path::new(COMPONENTS).join(name)).await?;
        }
    }
    // What is live must be so after the next loss of power too, before what was live goes.
    disk.sync_dir(Path::new(COMPONENTS)).await?;
    let mut strange = Vec::new();
    for (name, _) in disk.read_dir(Path::new(BUILDS)).await? {
        let Ok(project) = ProjectName::parse(&name) else { continue };
        // A node that starts serves nothing yet.
        match clear_builds(disk, &project, None).await {
            Err(cause) if is_strange(&cause) => strange.push((project, cause)),
            cleared => cleared?,
        }
    }
    Ok(strange)
}

async fn clear_builds(disk: &impl Disk, project: &ProjectName, served: Option<Uuid>) -> io::Result<()> {
    let live = live_build(disk, project).await?.map(|build| build.directory());
    let is_served = |name: &str| served.is_some() && BuildId::parse(name).map(|build| build.deployment) == served;
    for (name, _) in disk.read_dir(&builds_path(project)).await? {
        if Some(&name) != live.as_ref() && !is_served(&name) {
            disk.remove_all(&builds_path(project).join(name)).await?;
        }
    }
    Ok(())
}

/// What only one at a time may do to a project on a node. Clones share the locks.
#[derive(Clone, Default)]
pub struct ProjectLocks(Rc<RefCell<Locks>>);

type Locks = BTreeMap<(ProjectName, Lock), Arc<Mutex<()>>>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lock {
    Build,
    Live,
}

impl ProjectLocks {
    /// Waits until no other deploy of `project` is at work.
    pub async fn build(&self, project: &ProjectName) -> OwnedMutexGuard<()> {
        self.lock(project, Lock::Build).await
    }

    /// Waits until nobody else changes what is live, or switches to it. Held briefly: a restart does not wait for another
    /// deploy's installer.
    pub async fn live(&self, project: &ProjectName) -> OwnedMutexGuard<()> {
        self.lock(project, Lock::Live).await
    }

    async fn lock(&self, project: &ProjectName, lock: Lock) -> OwnedMutexGuard<()> {
        let lock = Arc::clone(self.0.borrow_mut().entry((project.clone(), lock)).or_default());
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(stamp: u64, origin: &str, deployment: u128) -> BuildId {
        BuildId { stamp, origin: origin.into(), deployment: Uuid::from_u128(deployment) }
    }

    #[test]
    fn a_directory_names_its_build_whatever_its_origin_is_called() {
        for origin in ["n1", "node-1.example.com", "a/b", "..", "kn\u{f6}ten 1", "100%", "-"] {
            let id = build(1_735_689_600_000 << 16, origin, 7);
            assert_eq!(BuildId::parse(&id.directory()), Some(id.clone()), "{}", id.directory());
            assert!(!id.directory().contains('/'));
        }
    }

    #[test]
    fn what_names_no_build_is_none() {
        for name in ["", "x", "00000000000000000001-n1-nonsense", "00000000000000000001", ".previous-hello"] {
            assert_eq!(BuildId::parse(name), None, "{name}");
        }
    }

    #[test]
    fn builds_are_ordered_by_timestamp_then_origin_then_id() {
        let ages = [build(1, "n9", 9), build(2, "n1", 9), build(2, "n2", 1), build(2, "n2", 2)];
        assert!(ages.is_sorted());
    }
}
