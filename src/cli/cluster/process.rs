//! The processes of a cluster: each is this executable, run as `drydock node`.

use std::{
    collections::BTreeMap,
    fs, io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::{
    process::{Child, ChildStdin, Command},
    time::{sleep, timeout},
};

use super::place::Place;
use crate::client::Client;

/// How long a node may take until it serves.
const SERVES_WITHIN: Duration = Duration::from_secs(60);

/// How often it is asked whether it does.
const ASK_EVERY: Duration = Duration::from_millis(25);

/// How long a node may take to stop.
const STOPS_WITHIN: Duration = Duration::from_secs(40);

/// How long all may take to end when the story is broken off.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// The process of one node. It ends with its owner, whatever becomes of that: its standard input is the owner's.
pub(super) struct NodeProcess {
    name: String,
    child: Child,
    /// Held apart: a wait for the child would close it.
    stdin: Option<ChildStdin>,
}

/// The nodes of a cluster by their names.
pub(super) type Processes = BTreeMap<String, NodeProcess>;

/// Ends what still runs: each node may stop by itself, and its installers with it, before it is killed.
pub(super) async fn end_all(processes: &mut Processes) {
    processes.values_mut().for_each(|process| drop(process.stdin.take()));
    let all = processes.values_mut().map(|process| process.child.wait());
    // What has not stopped in time is killed when it is dropped.
    let _ = timeout(ENDS_WITHIN, join_all(all)).await;
    processes.clear();
}

impl NodeProcess {
    /// Starts a node.
    pub(super) fn start(place: &Place, name: &str) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot start {name}: {error}");
        let executable = std::env::current_exe().map_err(failed)?;
        let log = fs::OpenOptions::new().create(true).append(true).open(place.log_of(name)).map_err(failed)?;
        let mut child = Command::new(executable)
            .args(["node", "--while-stdin", "--config"])
            .arg(place.config_of(name))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            // A ^C at the terminal is for the owner, which stops its nodes.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        Ok(Self { name: name.to_owned(), stdin: child.stdin.take(), child })
    }

    /// Waits until the node answers.
    pub(super) async fn serves(&mut self, client: &Client) -> Result<(), String> {
        let name = self.name.clone();
        let asked = async {
            let request = json!({ "operation": "list_deployments", "limit": 0 });
            while client.ask(&request).await.is_err() {
                sleep(ASK_EVERY).await;
            }
        };
        tokio::select! {
            biased;
            ended = self.child.wait() => Err(format!("{name} ended before it served: {}", told(ended))),
            served = timeout(SERVES_WITHIN, asked) => {
                served.map_err(|_| format!("{name} does not serve after {} s", SERVES_WITHIN.as_secs()))
            }
        }
    }

    /// Ends the node as `kill -9` does.
    pub(super) async fn kill(&mut self) -> Result<(), String> {
        self.child.kill().await.map_err(|error| format!("cannot kill {}: {error}", self.name))
    }

    /// Has the node stop, and waits until it has.
    pub(super) async fn stop(&mut self) -> Result<(), String> {
        let id = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(id) = id {
            // One that has ended already is told below.
            let _ = kill_process(id, Signal::TERM);
        }
        match timeout(STOPS_WITHIN, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(ended) => Err(format!("{} did not stop well: {}", self.name, told(ended))),
            Err(_) => Err(format!("{} did not stop within {} s", self.name, STOPS_WITHIN.as_secs())),
        }
    }
}

fn told(ended: io::Result<ExitStatus>) -> String {
    ended.map_or_else(|error| error.to_string(), |status| status.to_string())
}
