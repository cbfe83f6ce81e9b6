//! What a simulated node serves.
//!
//! The design claims to survive that a build is refused when it is tried out, and that a switch takes long, fails, or claims
//! to have happened and has not.

use std::{cell::RefCell, collections::BTreeMap, io, path::Path, rc::Rc};

use uuid::Uuid;

use super::{choice::Kind, disk::SimDisk, world::World};
use crate::{
    check::{Event, NodeIndex},
    env::Serving,
};

/// The serving part of a node; clones are handles to the same one.
#[derive(Clone)]
pub struct SimServing {
    world: Rc<World>,
    node: NodeIndex,
    disk: SimDisk,
    served: Rc<RefCell<BTreeMap<String, Uuid>>>,
}

impl SimServing {
    /// Serves nothing yet.
    pub fn new(world: Rc<World>, node: NodeIndex, disk: SimDisk) -> Self {
        Self { world, node, disk, served: Rc::default() }
    }

    /// What is served of each project, for the harness.
    pub fn all(&self) -> BTreeMap<String, Uuid> {
        self.served.borrow().clone()
    }

    /// The part of the node that serves is gone with its memory: a node that starts serves nothing.
    pub fn forget(&self) {
        self.served.borrow_mut().clear();
    }
}

impl Serving for SimServing {
    async fn load(&self, _: &str, _: &Path) -> io::Result<()> {
        match self.world.fails(self.node, Kind::LoadRefused).await {
            true => Err(io::Error::other("a module threw while it was tried out")),
            false => Ok(()),
        }
    }

    async fn switch(&self, project: &str, build: Uuid, directory: &Path) -> io::Result<()> {
        self.world.record(Some(self.node), Event::Switching { project: project.to_owned(), build });
        self.world.delay(self.node, Kind::Switch).await;
        let not_switched = || Event::NotSwitched { project: project.to_owned(), build };
        if self.world.fails(self.node, Kind::SwitchRefused).await {
            self.world.record(Some(self.node), not_switched());
            return Err(io::Error::other("the component threw while it was loaded"));
        }
        if self.world.fails(self.node, Kind::SwitchStale).await {
            self.world.record(Some(self.node), not_switched());
            return Ok(());
        }
        self.served.borrow_mut().insert(project.to_owned(), build);
        let tree = directory.to_str().and_then(|directory| self.disk.digest(directory));
        self.world.record(Some(self.node), Event::Serves { project: project.to_owned(), build, tree });
        Ok(())
    }

    async fn served(&self, project: &str) -> io::Result<Option<Uuid>> {
        Ok(self.served.borrow().get(project).copied())
    }
}
