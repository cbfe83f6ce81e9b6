//! Where components stand on disk, and how a new build takes the place of the old one (spec 8).
//!
//! A build is staged in a directory of its own and goes live by rename. The previous build is kept beside the live one
//! until the new one is live: at every instant the live path, or else the previous one, holds a whole build, and
//! [`recover`] puts it back after a crash between the two renames.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    rc::Rc,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

use crate::env::Disk;

const COMPONENTS: &str = "components";
const STAGING: &str = "staging";

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

/// The three places of one project's builds during one deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// The build that is served.
    pub live: PathBuf,
    /// The build that was, until the new one is live.
    pub previous: PathBuf,
    /// The build that is to be.
    pub staged: PathBuf,
}

impl Slots {
    /// The places of `project` during deployment `id`.
    pub fn new(project: &ProjectName, id: Uuid) -> Self {
        Self {
            live: Path::new(COMPONENTS).join(&project.0),
            previous: Path::new(COMPONENTS).join(format!(".previous-{project}")),
            staged: Path::new(STAGING).join(id.to_string()),
        }
    }
}

/// A step of the swap that the disk did not take.
#[derive(Debug, thiserror::Error)]
#[error("the new build cannot go live: {step}: {cause}; the previous build stays")]
pub struct SwapError {
    /// Which step.
    step: &'static str,
    /// What the disk says.
    cause: io::Error,
}

fn at(step: &'static str) -> impl Fn(io::Error) -> SwapError {
    move |cause| SwapError { step, cause }
}

/// Makes the staged build live, and the live one previous; then lets the previous one go. On failure the previous build
/// is live again.
pub async fn swap(disk: &impl Disk, slots: &Slots) -> Result<(), SwapError> {
    let parent = Path::new(COMPONENTS);
    disk.create_dir_all(parent).await.map_err(at("create the components directory"))?;
    disk.remove_all(&slots.previous).await.map_err(at("clear the previous slot"))?;
    let had_one = disk.metadata(&slots.live).await.map_err(at("look at the live build"))?.is_some();
    if had_one {
        disk.rename(&slots.live, &slots.previous).await.map_err(at("set the live build aside"))?;
    }
    if let Err(cause) = disk.rename(&slots.staged, &slots.live).await {
        if had_one {
            disk.rename(&slots.previous, &slots.live).await.map_err(at("put the previous build back"))?;
        }
        return Err(SwapError { step: "rename the staged build", cause });
    }
    // A rename is durable only with its directory.
    disk.sync_dir(parent).await.map_err(at("sync the components directory"))?;
    disk.remove_all(&slots.previous).await.map_err(at("let the previous build go"))
}

/// After a crash: puts a previous build back where none is live, and clears what was staged. Run once at start, before
/// any deploy.
pub async fn recover(disk: &impl Disk) -> io::Result<()> {
    disk.create_dir_all(Path::new(COMPONENTS)).await?;
    let names = disk.read_dir(Path::new(COMPONENTS)).await?;
    for (name, _) in &names {
        let Some(project) = name.strip_prefix(".previous-") else { continue };
        let (previous, live) = (Path::new(COMPONENTS).join(name), Path::new(COMPONENTS).join(project));
        if names.iter().any(|(live, _)| live == project) {
            disk.remove_all(&previous).await?;
        } else {
            disk.rename(&previous, &live).await?;
        }
    }
    disk.sync_dir(Path::new(COMPONENTS)).await?;
    disk.remove_all(Path::new(STAGING)).await
}

/// One deploy at a time per project on a node. Clones share the locks.
#[derive(Clone, Default)]
pub struct ProjectLocks(Rc<RefCell<BTreeMap<ProjectName, std::sync::Arc<Mutex<()>>>>>);

impl ProjectLocks {
    /// Waits until no other deploy of `project` is at work.
    pub async fn lock(&self, project: &ProjectName) -> OwnedMutexGuard<()> {
        let lock = std::sync::Arc::clone(self.0.borrow_mut().entry(project.clone()).or_default());
        lock.lock_owned().await
    }
}
