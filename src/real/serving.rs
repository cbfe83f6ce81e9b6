//! What a real node serves: which build answers requests to which project.
//!
//! The code of a component runs in an embedder's own server, which hangs its loader on this part of the seam; without one a
//! node knows what it serves and makes sure that it is there.

use std::{cell::RefCell, collections::BTreeMap, io, path::Path, path::PathBuf, rc::Rc};

use uuid::Uuid;

use super::{blocking::blocking, trace::Recorder};
use crate::{check::Event, env::Serving};

/// The serving part of a node.
#[derive(Clone)]
pub struct RealServing {
    root: PathBuf,
    recorder: Recorder,
    served: Rc<RefCell<BTreeMap<String, Uuid>>>,
}

impl RealServing {
    pub(super) fn new(root: PathBuf, recorder: Recorder) -> Self {
        Self { root, recorder, served: Rc::default() }
    }

    /// Fails unless a build stands there.
    async fn stands(&self, directory: &Path) -> io::Result<()> {
        let path = self.root.join(directory);
        blocking(move || std::fs::read_dir(path).map(drop)).await
    }
}

impl Serving for RealServing {
    async fn load(&self, _: &str, directory: &Path) -> io::Result<()> {
        self.stands(directory).await
    }

    async fn switch(&self, project: &str, build: Uuid, directory: &Path) -> io::Result<()> {
        self.recorder.record(&Event::Switching { project: project.to_owned(), build });
        if let Err(cause) = self.stands(directory).await {
            self.recorder.record(&Event::NotSwitched { project: project.to_owned(), build });
            return Err(cause);
        }
        self.served.borrow_mut().insert(project.to_owned(), build);
        self.recorder.record(&Event::Serves { project: project.to_owned(), build, tree: None });
        Ok(())
    }

    async fn served(&self, project: &str) -> io::Result<Option<Uuid>> {
        Ok(self.served.borrow().get(project).copied())
    }
}
