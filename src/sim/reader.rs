//! Readers of deployments: clients that tail, download and delete, on any node. What each saw is in the trace.
//! Those that list and look are in [`super::dashboard`].

use std::{future::Future, pin::pin, rc::Rc, time::Duration};

use futures_util::future::{Either, select};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{cluster::Cluster, env::SimEnv};
use crate::{
    check::{Event, NodeIndex, TailSight},
    deploy::{hashing::Hashing, node::Node, reading::tail::TailItem},
};

/// How often a reader that waits for a deployment to show looks for it, at first and later, and how many times.
const LOOK_CLOSELY_EVERY: Duration = Duration::from_millis(1);
const LOOK_EVERY: Duration = Duration::from_millis(3);
const LOOKS_MAX: u32 = 2_000;

/// How long readers have for the rest when everything has come to rest: the slowest needs less than a minute.
const REST: Duration = Duration::from_secs(300);

/// Looks before a waiting reader slows down, and those that it takes until it has waited for some seconds.
const CLOSE_LOOKS: u32 = 40;
const SLOWER_LOOKS: u32 = 30;

/// How a reader behaves.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    /// Its number in this run.
    pub reader: u32,
    /// It comes so much later than it could.
    pub late: Duration,
    /// It takes so long over each item.
    pub pause: Duration,
    /// It leaves after so many items.
    pub leaves_after: Option<u32>,
}

impl Cluster {
    /// Tells a story while others read; when everything has come to rest, they read what is left to them.
    pub async fn read_along(&self, story: impl Future<Output = ()>, readers: impl Future) {
        let told = async {
            story.await;
            self.settle().await;
        };
        match select(pin!(told), pin!(readers)).await {
            Either::Left(((), readers)) => drop(timeout(REST, readers).await),
            Either::Right((_, told)) => told.await,
        }
        self.settle().await;
    }

    /// A client tails the newest deployment that `node` knows, from its first event until the tail ends or the client
    /// leaves.
    pub async fn tail_newest(&self, node: NodeIndex, habit: Habit) {
        let cluster = self.clone();
        let read = self.on(node, move |at| {
            Box::pin(async move {
                sleep(habit.late).await;
                let Some(id) = newest(&at).await else { return };
                follow(&cluster, node, &at, &id, habit).await;
            })
        });
        if read.await.is_none() {
            let saw = TailSight::Lost;
            self.record(node, Event::Tail { reader: habit.reader, key: "".into(), saw });
        }
    }

    /// A client downloads the payload of the newest deployment that `node` knows, and takes `pause` over each piece.
    pub async fn download_newest(&self, node: NodeIndex, reader: u32, pause: Duration) {
        let cluster = self.clone();
        let _ = self
            .on(node, move |at| {
                Box::pin(async move {
                    let Some(id) = newest(&at).await else { return };
                    let request = json!({ "operation": "get_deployment_payload", "deployment_id": id });
                    cluster.record(node, Event::ReaderAsks { reader, request: Rc::new(request) });
                    let asked_ms = cluster.world().elapsed().as_millis() as u64;
                    let got = download(&at, &id, pause).await;
                    cluster.record(node, Event::PayloadRead { key: id.into(), asked_ms, got });
                })
            })
            .await;
    }

    /// The deployments that `node` knows, newest first; none when it is down.
    pub async fn deployments(&self, node: NodeIndex) -> Vec<Value> {
        let listed = self.on(node, |at| Box::pin(async move { at.list_deployments(&json!({})).await })).await;
        let listed = listed.and_then(Result::ok).unwrap_or_default();
        listed["deployments"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until a deployment that `node` does not know yet has begun to restart its nodes there, or has ended; not for ever.
    pub async fn until_next_restart(&self, node: NodeIndex) {
        let known = self.deployments(node).await.len();
        // Short waits are looked at closely, long ones ever more seldom: a look reads every row.
        let mut pause = LOOK_EVERY;
        for look in 0..CLOSE_LOOKS + SLOWER_LOOKS {
            let rows = self.deployments(node).await;
            let newest = rows.first().filter(|_| rows.len() > known);
            if newest.is_some_and(|row| row["status"] == "restarting" || !row["completed_at"].is_null()) {
                return;
            }
            sleep(pause).await;
            if look >= CLOSE_LOOKS {
                pause = pause * 5 / 4;
            }
        }
    }

    /// Has a node delete a deployment's payload; `reader` is who asks, one thing at a time.
    pub async fn delete_payload(&self, node: NodeIndex, reader: u32, id: &str) {
        let request = json!({ "operation": "delete_deployment_payload", "deployment_id": id });
        // What becomes of it is in the trace.
        let _ = self.ask_as_reader(node, reader, request).await;
    }
}

async fn newest(at: &Rc<Node<SimEnv>>) -> Option<String> {
    for look in 0..LOOKS_MAX {
        let listed = at.list_deployments(&json!({ "limit": 1 })).await.unwrap_or_default();
        if let Some(id) = listed["deployments"][0]["deployment_id"].as_str() {
            return Some(id.to_owned());
        }
        // The moment in which a deployment begins is looked at closely.
        sleep(if look < CLOSE_LOOKS { LOOK_CLOSELY_EVERY } else { LOOK_EVERY }).await;
    }
    None
}

async fn follow(cluster: &Cluster, node: NodeIndex, at: &Rc<Node<SimEnv>>, id: &str, habit: Habit) {
    let saw = |saw| cluster.record(node, Event::Tail { reader: habit.reader, key: id.into(), saw });
    // A store that refuses the first look has a client that tries again; this one does not.
    let Ok(mut tail) = at.tail_deployment(&json!({ "deployment_id": id })).await else { return };
    saw(TailSight::Attached { pause_ms: habit.pause.as_millis() as u64 });
    let mut items = 0;
    loop {
        match tail.next().await {
            Ok(Some(TailItem::Entry(entry))) => {
                saw(TailSight::Entry { seq: entry.seq, event: entry.event, data: entry.data });
            }
            Ok(Some(TailItem::End(row))) => saw(TailSight::Ended { row: row.to_public() }),
            Ok(None) => return saw(TailSight::Closed),
            Err(error) => return saw(TailSight::Failed { cause: error.to_string() }),
        }
        items += 1;
        if habit.leaves_after.is_some_and(|most| items >= most) {
            return saw(TailSight::Left);
        }
        sleep(habit.pause).await;
    }
}

/// The hash and length of what came.
async fn download(at: &Rc<Node<SimEnv>>, id: &str, pause: Duration) -> Result<(String, u64), String> {
    let payload =
        at.get_deployment_payload(&json!({ "deployment_id": id })).await.map_err(|error| error.to_string())?;
    let (mut stream, mut hashing) = (payload.stream(), Hashing::default());
    while let Some(piece) = stream.next().await.map_err(|error| error.to_string())? {
        hashing.update(&piece);
        sleep(pause).await;
    }
    Ok((hashing.hash(), hashing.bytes()))
}
