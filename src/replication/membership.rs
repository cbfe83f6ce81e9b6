//! Who is subscribed to, and who is served: the other members of the cluster, as this node knows them at any time.
//!
//! A node that joins is subscribed to at once; the log of each member brings it what was committed before. One that leaves
//! is sent nothing more, and what had not come of it by then never will: its rows stay as they are, and payloads of its
//! that are not whole here are recorded as failed, so that nobody waits for them. Should it come back, both come again.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use tokio_util::sync::{CancellationToken, DropGuard};

use super::{receiver, sender::Sessions};
use crate::env::{BlobError, BlobId, BlobState, Blobs, Env, NodeName, Record, Table, Task};

/// What a row's readers are told of a payload that cannot come any more.
const SOURCE_LEFT: &str = "the node that has it has left the cluster";

/// Follows the membership for as long as this node lives.
pub(super) async fn follow<E: Env>(env: E, sessions: Sessions) {
    let mut subscriptions = Subscriptions::default();
    let mut changes = env.members_changed();
    let mut members = others(&env);
    loop {
        sessions.keep_only(&members);
        subscriptions.keep_only(&env, &members);
        subscriptions.begin(&env, &members);
        changes.changed().await;
        members = others(&env);
    }
}

fn others<E: Env>(env: &E) -> Vec<NodeName> {
    env.members().into_iter().filter(|member| member != env.node()).collect()
}

/// The members that are followed, and those that were and are not settled with yet.
#[derive(Default)]
struct Subscriptions {
    followed: BTreeMap<NodeName, Subscription>,
    left: BTreeMap<NodeName, Task<()>>,
}

struct Subscription {
    /// Dropping it tells the task that the member has left.
    member: DropGuard,
    task: Task<()>,
}

impl Subscriptions {
    /// Ends the subscriptions to all that are not among `members`.
    fn keep_only<E: Env>(&mut self, env: &E, members: &[NodeName]) {
        self.left.retain(|_, task| !task.is_finished());
        let gone = self.followed.extract_if(.., |node, _| !members.contains(node)).collect::<Vec<_>>();
        for (node, Subscription { member, task }) in gone {
            drop(member);
            let (env, source) = (env.clone(), node.clone());
            let settling = env.clone().spawn(format!("settlement with {node}"), async move {
                task.await;
                let rows = until_scanned(&env).await;
                give_up_on(&env, &rows, |writer| *writer == source).await;
            });
            self.left.insert(node, settling);
        }
    }

    /// Subscribes to those of `members` that are not followed yet; one that comes back, when all of its last time here is
    /// settled.
    fn begin<E: Env>(&mut self, env: &E, members: &[NodeName]) {
        for member in members {
            if self.followed.contains_key(member) {
                continue;
            }
            let (before, left) = (self.left.remove(member), CancellationToken::new());
            let (following, source, watched) = (env.clone(), member.clone(), left.clone());
            let task = env.spawn(format!("subscription to {member}"), async move {
                if let Some(before) = before {
                    before.await;
                }
                receiver::follow(following, source, watched).await;
            });
            self.followed.insert(member.clone(), Subscription { member: left.drop_guard(), task });
        }
    }
}

async fn until_scanned<E: Env>(env: &E) -> Vec<Rc<Record>> {
    loop {
        match env.table().scan().await {
            Ok(rows) => return rows,
            Err(cause) => super::pause_after(env, "looking for payloads that cannot come", &cause).await,
        }
    }
}

/// Records as failed what is not whole here of the payloads of nodes that are no members: they left while this one was
/// down. To be called when a node starts, with all its rows, before it follows anybody.
pub async fn give_up_on_strangers<E: Env>(env: &E, rows: &[Rc<Record>]) {
    let members = env.members();
    give_up_on(env, rows, |writer| !members.contains(writer)).await;
}

/// Records as failed what is not whole here of the payloads of `who`.
async fn give_up_on<E: Env>(env: &E, rows: &[Rc<Record>], who: impl Fn(&NodeName) -> bool) {
    for id in payloads_of(rows, who) {
        while let Err(cause) = give_up(env, id).await {
            super::pause_after(env, "giving a payload up", &cause).await;
        }
    }
}

fn payloads_of(rows: &[Rc<Record>], who: impl Fn(&NodeName) -> bool) -> BTreeSet<BlobId> {
    rows.iter().filter(|record| who(&record.version.node)).filter_map(|record| record.blob).collect()
}

async fn give_up<E: Env>(env: &E, id: BlobId) -> Result<(), BlobError> {
    match env.blobs().state(id).await? {
        BlobState::Complete { .. } | BlobState::Failed { .. } => Ok(()),
        BlobState::Missing | BlobState::Writing { .. } => env.blobs().fail(id, SOURCE_LEFT.to_owned()).await,
    }
}
