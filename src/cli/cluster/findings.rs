//! What must hold once the cluster has come to rest, whatever was killed.

use std::{io, path::Path, time::Duration};

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{
    place::Place,
    trees::{self, Tree},
};
use crate::{
    client::Component,
    deploy::{row::Status, slots::ProjectName},
    real::blocking,
};

/// How long rows may take to come to their end on every node.
pub(super) const AT_REST_WITHIN: Duration = Duration::from_secs(90);

/// How often they are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is wrong, a line each.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<String>);

impl Findings {
    /// Something is otherwise than promised.
    pub(super) fn add(&mut self, what: impl Into<String>) {
        self.0.push(what.into());
    }

    /// Something may be.
    pub(super) fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.add(what());
        }
    }

    /// All of it.
    pub(super) fn lines(&self) -> &[String] {
        &self.0
    }
}

/// A node once a deploy is over.
pub(super) struct NodeState {
    pub(super) node: String,
    /// The status of the deployment's row on this node; `None` when it has no such row.
    pub(super) row: Option<String>,
    /// Its live build, if it has one.
    pub(super) build: Option<Tree>,
}

impl NodeState {
    /// Its row, for people.
    pub(super) fn row(&self) -> &str {
        self.row.as_deref().unwrap_or("none")
    }
}

/// The state of every node once each has the deployment's terminal row, or time is up.
pub(super) async fn at_rest(place: &Place, project: &ProjectName, id: Uuid) -> io::Result<Vec<NodeState>> {
    // What has no end in time is seen below, and told.
    let _ = timeout(AT_REST_WITHIN, async {
        for node in place.names() {
            while !is_over(row_on(place, &node, id).await.as_deref()) {
                sleep(LOOK_EVERY).await;
            }
        }
    })
    .await;
    let mut states = Vec::new();
    for node in place.names() {
        let row = row_on(place, &node, id).await;
        let build = live_build(&place.live_of(&node, project)).await?;
        states.push(NodeState { node, row, build });
    }
    Ok(states)
}

async fn row_on(place: &Place, node: &str, id: Uuid) -> Option<String> {
    let request = json!({ "operation": "get_deployment", "deployment_id": id });
    let row = place.client(node).ask(&request).await.ok()?;
    Some(row["status"].as_str()?.to_owned())
}

fn is_over(status: Option<&str>) -> bool {
    let status = status.and_then(|status| serde_json::from_value::<Status>(Value::from(status)).ok());
    status.is_some_and(Status::is_terminal)
}

async fn live_build(path: &Path) -> io::Result<Option<Tree>> {
    let path = path.to_owned();
    blocking(move || match trees::of_directory(&path, &[]) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        tree => tree.map(Some),
    })
    .await
}

/// What the component itself brings.
pub(super) async fn of_component(component: &Component) -> io::Result<Tree> {
    let component = component.clone();
    blocking(move || trees::of_component(&component)).await
}

/// Rows that have not ended, or not in the same way; live builds that are not whole.
pub(super) fn judge(states: &[NodeState], component: &Tree, findings: &mut Findings) {
    for state in states {
        let (node, row) = (&state.node, state.row());
        findings.expect(is_over(state.row.as_deref()), || format!("the row on {node} has not ended: {row}"));
        findings.expect(state.row == states[0].row, || {
            format!("the row on {node} is {row}, elsewhere {}", states[0].row())
        });
        if let Some(missing) = state.build.as_ref().and_then(|build| trees::lacks(build, component)) {
            findings.add(format!("the live build on {node} is not whole: `{}`", missing.display()));
        }
    }
}

/// Live builds that are missing, or not the same.
pub(super) fn judge_equal(states: &[NodeState], findings: &mut Findings) {
    let first = states[0].build.as_ref();
    for NodeState { node, build, .. } in states {
        match (first, build) {
            (_, None) => findings.add(format!("{node} has no live build")),
            (Some(first), Some(build)) => {
                if let Some(name) = trees::difference(first, build) {
                    findings.add(format!("the builds on {} and {node} differ: `{}`", states[0].node, name.display()));
                }
            }
            (None, Some(_)) => {}
        }
    }
}
