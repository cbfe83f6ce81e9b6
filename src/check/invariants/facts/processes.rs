//! What nodes ran, and how it ended.

use uuid::Uuid;

use super::{At, Facts};
use crate::{
    check::{Event, NodeIndex},
    env::{Command, ExitStatus},
};

/// How a process ended.
#[derive(Clone, Copy)]
pub struct Exit<'a> {
    /// What the system says.
    pub status: ExitStatus,
    /// The logic of its node has ended it.
    pub was_killed: bool,
    /// Why it could not be told any more what it did, if so.
    pub unreadable: Option<&'a str>,
}

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
    pub fn process_exits(&self, id: Uuid, node: NodeIndex, at: At) -> Vec<Exit<'_>> {
        let processes = self.processes_of(id, node);
        let ended = self.on(node, 0, at).filter_map(|(ended, entry)| match &entry.event {
            Event::ProcessExited { process, status } if processes.contains(process) => {
                Some(self.exit(node, *process, *status, ended))
            }
            _ => None,
        });
        ended.collect()
    }

    /// How the last installer that a node ran for a deployment ended before `at`; none when another was to take its place and
    /// could not be started. One that was asked for its version only is none, unless its node had to end it.
    pub fn process_exit(&self, id: Uuid, node: NodeIndex, at: At) -> Option<Exit<'_>> {
        let all = self.processes_of(id, node);
        let installers = self.processes_where(id, node, |command| command.args != ["--version"]);
        let mut ended = self.on(node, 0, at).rev().filter_map(|(ended, entry)| match &entry.event {
            Event::ProcessExited { process, status } if all.contains(process) => {
                let exit = self.exit(node, *process, *status, ended);
                (exit.was_killed || installers.contains(process)).then_some(Some(exit))
            }
            Event::Fault(fault) if fault.failed() == Some("spawn-fails") => Some(None),
            _ => None,
        });
        ended.next().flatten()
    }

    /// How a process ended that had ended at a place.
    pub fn exit(&self, node: NodeIndex, process: u32, status: ExitStatus, ended: At) -> Exit<'_> {
        let mut exit = Exit { status, was_killed: false, unreadable: None };
        for (_, entry) in self.on(node, 0, ended).rev() {
            match &entry.event {
                Event::ProcessStarted { process: number, .. } if *number == process => break,
                Event::ProcessKilled { process: number } if *number == process => exit.was_killed = true,
                Event::ProcessUnreadable { process: number, cause } if *number == process => {
                    exit.unreadable = Some(cause);
                }
                _ => {}
            }
        }
        exit
    }
}

/// The deployment in whose staging directory a path lies.
pub(in crate::check::invariants) fn deployment_of(path: &std::path::Path) -> Option<Uuid> {
    let rest = path.strip_prefix("staging").ok()?;
    rest.iter().next()?.to_str()?.get(..uuid::fmt::Hyphenated::LENGTH)?.parse().ok()
}
