//! What a node serves: one build per project.

use std::{future::Future, io, path::Path};

use uuid::Uuid;

/// The part of a node that answers requests with a component's build. Starting a node starts it empty.
pub trait Serving {
    /// Tries a build of `project` in `directory` out before it goes live: an embedder's own loader. An error keeps it from
    /// going live, and changes nothing that is served.
    fn load(&self, project: &str, directory: &Path) -> impl Future<Output = io::Result<()>>;

    /// Serves the build of deployment `build`, which stands in `directory`, in place of what was served of `project`;
    /// resolves once requests go to it. On an error what was served before is served on. The directory stays as it is for
    /// as long as [`served`](Self::served) names the build.
    fn switch(&self, project: &str, build: Uuid, directory: &Path) -> impl Future<Output = io::Result<()>>;

    /// The deployment whose build answers requests to `project` now.
    fn served(&self, project: &str) -> impl Future<Output = io::Result<Option<Uuid>>>;
}
