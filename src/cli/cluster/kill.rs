//! `--kill NODE@PHASE`: which node is killed, and when.
//!
//! A phase of the origin stands in its stream; that of a peer stands nowhere but in the peer's own operation log, which every
//! node writes as it goes. So that is what is watched, for the origin too. An install is killed once its installer is seen at
//! work, by what it prints or by the `node_modules` that it makes: at its first moment there would be nothing to leave half done.

use std::{
    fs,
    future::pending,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde_json::Value;
use tokio::time::sleep;
use uuid::Uuid;
use walkdir::WalkDir;

/// How often a log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The phase in which an installer runs.
const INSTALL: &str = "install";

/// How deep below the staging directory a build has its packages: it may stand in a directory that is hoisted.
const NODE_MODULES_DEPTH: usize = 3;

/// The phases that every node goes through.
const OF_EVERY_NODE: [&str; 3] = ["extract", INSTALL, "load"];

/// Those of the origin alone.
const OF_THE_ORIGIN: [&str; 2] = ["prepare", "replicate"];

/// Who is killed, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kill {
    pub(super) node: String,
    pub(super) phase: String,
}

impl FromStr for Kill {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (node, phase) = text.split_once('@').ok_or("write it as NODE@PHASE, such as n2@install")?;
        Ok(Self { node: node.to_owned(), phase: phase.to_owned() })
    }
}

impl Kill {
    /// Refuses what cannot come about in a cluster of these nodes, the origin first.
    pub(super) fn check(&self, nodes: &[String]) -> Result<(), String> {
        if !nodes.contains(&self.node) {
            return Err(format!("--kill: there is no node `{}`: choose one of {}", self.node, nodes.join(", ")));
        }
        let own: &[&str] = if self.is_of_origin(nodes) { &OF_THE_ORIGIN } else { &[] };
        let phases = [&OF_EVERY_NODE, own].concat();
        match phases.contains(&self.phase.as_str()) {
            true => Ok(()),
            false => {
                let (node, phase) = (&self.node, &self.phase);
                Err(format!("--kill: {node} goes through no phase `{phase}`: choose one of {}", phases.join(", ")))
            }
        }
    }

    /// Is it the origin who is killed?
    pub(super) fn is_of_origin(&self, nodes: &[String]) -> bool {
        nodes.first() == Some(&self.node)
    }
}

/// A node's operation log, followed while it is written.
pub(super) struct JournalTail {
    path: PathBuf,
    offset: u64,
    unread: Vec<u8>,
}

impl JournalTail {
    /// The log at `path` from its beginning on; it need not be there yet.
    pub(super) fn of(path: PathBuf) -> Self {
        Self { path, offset: 0, unread: Vec::new() }
    }

    /// The deployment that the node works on, once it works on one.
    pub(super) async fn deployment(&mut self) -> io::Result<Uuid> {
        loop {
            let entry = self.next().await?;
            if let Some(id) = entry["deployment_id"].as_str().and_then(|id| id.parse().ok()) {
                return Ok(id);
            }
        }
    }

    /// Resolves when the node is at work in a phase. Builds are staged in `staging`.
    pub(super) async fn works_in(&mut self, phase: &str, staging: &Path) -> io::Result<()> {
        while !is_phase(&self.next().await?, phase, "start") {}
        if phase != INSTALL {
            return Ok(());
        }
        loop {
            match self.look()? {
                Some(entry) if is_phase(&entry, phase, "done") => return pending().await,
                Some(entry) if entry["event"] == "install" => return Ok(()),
                Some(_) => {}
                None if has_node_modules(staging) => return Ok(()),
                None => sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn next(&mut self) -> io::Result<Value> {
        loop {
            match self.look()? {
                Some(entry) => return Ok(entry),
                None => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// The next entry, if it has been written.
    fn look(&mut self) -> io::Result<Option<Value>> {
        self.read()?;
        let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
        let line: Vec<u8> = self.unread.drain(..=end).collect();
        serde_json::from_slice(&line).map(Some).map_err(io::Error::other)
    }

    /// Reads what has been written since.
    fn read(&mut self) -> io::Result<()> {
        let mut file = match fs::File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        file.seek(io::SeekFrom::Start(self.offset))?;
        self.offset += file.read_to_end(&mut self.unread)? as u64;
        Ok(())
    }
}

fn is_phase(entry: &Value, phase: &str, status: &str) -> bool {
    entry["event"] == "phase" && entry["data"]["phase"] == phase && entry["data"]["status"] == status
}

/// Has a package manager begun to fill a staged build?
fn has_node_modules(staging: &Path) -> bool {
    let below = WalkDir::new(staging).min_depth(1).max_depth(NODE_MODULES_DEPTH);
    // What goes away meanwhile is not there.
    below.into_iter().filter_map(Result::ok).any(|entry| entry.file_name() == "node_modules")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_that_cannot_come_about_is_refused() {
        let nodes = ["n1".to_owned(), "n2".to_owned()];
        let check = |text: &str| text.parse::<Kill>().and_then(|kill| kill.check(&nodes));
        for sound in ["n1@replicate", "n1@install", "n2@install", "n2@load"] {
            assert_eq!(check(sound), Ok(()));
        }
        let told = ["n2", "n4@install", "n2@replicate", "n1@lunch"].map(|text| check(text).unwrap_err());
        insta::assert_snapshot!(told.join("\n"));
    }
}
