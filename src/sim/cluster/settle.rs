//! How a cluster comes to rest once nothing disturbs it any more, and by when it must.

use std::{rc::Rc, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Answer, Cluster, LOOK_EVERY, client::SLOWEST_BYTES_PER_MS};
use crate::{
    check::{DeployFacts, Event, NodeFinal, NodeIndex},
    deploy::{
        origin::ANSWER_MARGIN,
        request::{DEPLOYMENT_TIMEOUT_DEFAULT, INSTALL_TIMEOUT_DEFAULT},
        restart::RESTART_MAX,
        retention::PHASES_BEFORE_PEERS,
    },
    env::{BlobId, BlobState, Env, Record},
    replication::operations::SILENCE_MAX,
    sim::{
        blobs::SimBlobs,
        choice::{DELAY_BOUND, delay_ms},
        component::Component,
    },
};

/// The longest pause between two looks whether a cluster has settled.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(5);

/// The longest pause of the logic before it tries again what has failed.
const PAUSE_MAX: Duration = Duration::from_secs(30);

impl Cluster {
    /// Lets everything heal, then waits until nothing is under way any more. What is under way may take its time, but no
    /// longer: then the run is over, and the trace says what is not at rest.
    pub async fn settle(&self) {
        self.0.world.heal();
        let within = self.settles_within();
        let deadline = Instant::now() + within;
        let mut step = LOOK_EVERY;
        loop {
            sleep(step).await;
            let Some(what) = self.unsettled() else { return };
            if Instant::now() >= deadline {
                let within_ms = within.as_millis() as u64;
                return self.0.world.record(None, Event::Unsettled { within_ms, what });
            }
            step = (step * 2).min(LOOK_EVERY_MAX);
        }
    }

    /// How long what a deploy begins may go on: its origin's install, then what its peers take, then their restarts.
    pub(super) fn may_go_on(&self, asked: &DeployFacts) -> Duration {
        let or = |ms: Option<u64>, default| ms.map_or(default, Duration::from_millis);
        let install = or(asked.install_timeout_ms, INSTALL_TIMEOUT_DEFAULT);
        let wait = or(asked.deployment_timeout_ms, DEPLOYMENT_TIMEOUT_DEFAULT);
        let restarts = if asked.restart { 2 * RESTART_MAX * u32::from(self.nodes()) } else { Duration::ZERO };
        2 * install + wait + ANSWER_MARGIN + restarts
    }

    /// Deploys wait for each other, so what they may take adds up, from the moment on at which the last was asked for or
    /// over. What is over has nothing left to do, but its row and its payload may still have to reach somebody: the last
    /// delay comes to its end, who waits on a silent link notices that and connects anew behind a pause, a device is asked
    /// again behind another, and the bytes come. The bound ends before the run's horizon, so that the trace says what is not
    /// at rest.
    fn settles_within(&self) -> Duration {
        let limits: Duration = self.0.open.borrow().values().sum();
        let since = self.0.last_turn.get().elapsed();
        let delay = Duration::from_millis(delay_ms(DELAY_BOUND - 1));
        let Component { payload_bytes, .. } = &*self.0.params.component;
        let sent = u64::from(self.deploys()) * u64::from(self.nodes()) * payload_bytes;
        let rest = delay + SILENCE_MAX + 2 * PAUSE_MAX + Duration::from_millis(sent / SLOWEST_BYTES_PER_MS);
        let left = self.0.spawner.horizon().saturating_sub(self.0.world.elapsed() + LOOK_EVERY_MAX);
        (limits.saturating_sub(since) + rest).min(left)
    }

    /// What is not at rest, if anything.
    fn unsettled(&self) -> Option<String> {
        let holdings: Vec<_> = self.0.envs.iter().map(|env| (env.index(), env.holdings())).collect();
        let membership = self.0.world.membership();
        let down = self.0.doors.borrow().iter().position(Option::is_none);
        down.map(|node| format!("{} is down", NodeIndex(node as u8)))
            .or_else(|| {
                (!membership.is_known_to_all()).then(|| "not every node knows who is in the cluster".to_owned())
            })
            .or_else(|| holdings.iter().find_map(|(node, holds)| self.is_busy(*node, holds)))
            .or_else(|| self.disagree(&holdings))
    }

    /// What a node still has to do.
    fn is_busy(&self, node: NodeIndex, holds: &NodeFinal) -> Option<String> {
        let blobs = &mut holds.blobs.iter();
        let rows = || holds.rows.iter();
        let unknown = |row: &&Rc<Record>| row.blob.is_some_and(|named| !self.is_known(node, named));
        let open = |row: &&Rc<Record>| self.is_shared(node, row) && !has_ended(row);
        None.or_else(|| holds.leftovers.first().map(|path| format!("{path} stands on {node}")))
            .or_else(|| holds.processes.first().map(|process| format!("process {process} runs on {node}")))
            .or_else(|| {
                let (id, state) = blobs.find(|(id, state)| !is_at_rest(**id, state, &holds.rows))?;
                Some(format!("blob {id} on {node} is {state:?}"))
            })
            .or_else(|| rows().find(unknown).map(|row| format!("the blob of {} has not come to {node}", row.key)))
            .or_else(|| rows().find(open).map(|row| format!("deployment {} has not ended on {node}", row.key)))
            .or_else(|| {
                let row = rows().find(|row| self.may_still_come(node, row))?;
                Some(format!("the blob of {} may still come to {node}", row.key))
            })
    }

    /// Where two members hold different rows.
    fn disagree(&self, holdings: &[(NodeIndex, NodeFinal)]) -> Option<String> {
        if self.0.world.keeps_rows_apart() {
            return None;
        }
        let membership = self.0.world.membership();
        let members: Vec<_> = holdings.iter().filter(|(node, _)| membership.includes(*node)).collect();
        let shared = |(node, holds): &(NodeIndex, NodeFinal)| {
            holds.rows.iter().filter(|row| self.is_shared(*node, row)).cloned().collect::<Vec<_>>()
        };
        let differ = members.windows(2).find(|pair| shared(pair[0]) != shared(pair[1]))?;
        Some(format!("{} and {} hold different rows", differ[0].0, differ[1].0))
    }

    /// Is it known what became of a blob?
    fn is_known(&self, node: NodeIndex, blob: BlobId) -> bool {
        let blobs = self.blobs_of(node);
        blobs.is_damaged(blob) || blobs.states().contains_key(&blob)
    }

    /// Is a row's blob recorded as failed on a node, and whole where it comes from? Then it is sent again.
    fn may_still_come(&self, node: NodeIndex, record: &Record) -> bool {
        let Some((blob, writer)) = record.blob.zip(self.0.world.index_of(&record.version.node)) else { return false };
        let failed = matches!(self.blobs_of(node).states().get(&blob), Some(BlobState::Failed { .. }));
        let source = self.blobs_of(writer);
        let whole = matches!(source.states().get(&blob), Some(BlobState::Complete { .. }));
        failed && whole && !source.is_damaged(blob) && self.is_shared(node, record)
    }

    fn blobs_of(&self, node: NodeIndex) -> &SimBlobs {
        self.0.envs[usize::from(node.0)].blobs()
    }

    /// Must a row on `node` become what it is on its origin? Not once one of the two has left the cluster.
    fn is_shared(&self, node: NodeIndex, record: &Record) -> bool {
        let writer = self.0.world.index_of(&record.version.node);
        let together = |writer| [node, writer].iter().all(|node| self.0.world.membership().includes(*node));
        writer == Some(node) || writer.is_some_and(together)
    }
}

/// Is nobody at work any more for a deploy that ended like this? A success had all its peers, unless it ignores them; and a failure
/// before any was asked had none.
pub(super) fn has_left_nothing(answer: &Answer, ignores_peers: bool) -> bool {
    match answer {
        Ok(_) => !ignores_peers,
        Err(failure) => {
            failure["phase"].as_str().is_some_and(|phase| phase == "validate" || PHASES_BEFORE_PEERS.contains(&phase))
        }
    }
}

/// A blob is whole and a row names it, or it has failed for good.
fn is_at_rest(id: BlobId, state: &BlobState, rows: &[Rc<Record>]) -> bool {
    match state {
        BlobState::Failed { .. } => true,
        BlobState::Complete { .. } => rows.iter().any(|record| record.blob == Some(id)),
        _ => false,
    }
}

/// Is the row's deployment over?
fn has_ended(record: &Rc<Record>) -> bool {
    let row: Result<Value, _> = serde_json::from_slice(&record.value);
    row.is_ok_and(|row| ["success", "failed", "rolled_back"].iter().any(|end| row["status"] == *end))
}
