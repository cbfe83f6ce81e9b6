//! What nodes ran, and how it ended.

use uuid::Uuid;

use super::{At, Facts};
use crate::{
    check::{Event, NodeIndex},
    env::{Command, ExitStatus},
};

impl Facts<'_> {
    /// The processes that a node ran for a deployment.
    pub fn processes_of(&self, id: Uuid, node: NodeIndex) -> Vec<u32> {
        self.processes_where(id, node, |_| true)
    }

    fn processes_where(&self, id: Uuid, node: NodeIndex, wanted: impl Fn(&Command) -> bool) -> Vec<u32> {
        let processes = self.on(node, 0, self.end()).filter_map(|(_, entry)| match &entry.event {
            Event::ProcessStarted { process, command } => {
                (deployment_of(&command.directory) == Some(id) && wanted(command)).then_some(*process)
            }
            _ => None,
        });
        processes.collect()
    }

    /// How the installers ended that a node ran for a deployment, before `at`.
    pub fn process_exits(&self, id: Uuid, node: NodeIndex, at: At) -> Vec<ExitStatus> {
        let processes = self.processes_of(id, node);
        let ended = self.on(node, 0, at).filter_map(|(_, entry)| match &entry.event {
            Event::ProcessExited { process, status } if processes.contains(process) => Some(*status),
            _ => None,
        });
        ended.collect()
    }

    /// How the last installer that a node ran for a deployment ended before `at`; none when another was to take its place and
    /// could not be started. One that was asked for its version only is none.
    pub fn process_exit(&self, id: Uuid, node: NodeIndex, at: At) -> Option<ExitStatus> {
        let processes = self.processes_where(id, node, |command| command.args != ["--version"]);
        let mut ended = self.on(node, 0, at).rev().filter_map(|(_, entry)| match &entry.event {
            Event::ProcessExited { process, status } if processes.contains(process) => Some(Some(*status)),
            Event::Fault(fault) if fault.failed() == Some("spawn-fails") => Some(None),
            _ => None,
        });
        ended.next().flatten()
    }
}

/// The deployment in whose staging directory a path lies.
pub(in crate::check::invariants) fn deployment_of(path: &std::path::Path) -> Option<Uuid> {
    let rest = path.strip_prefix("staging").ok()?;
    rest.iter().next()?.to_str()?.get(..uuid::fmt::Hyphenated::LENGTH)?.parse().ok()
}
