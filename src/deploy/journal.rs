//! What a node's operation log hears of a deploy.

use uuid::Uuid;

use super::event::{ProgressEmitter, Subscription};
use crate::env::{Env, Journal};

/// Lets the node's operation log see every event of a deploy, for as long as the subscription is held.
pub(super) fn journal_progress<E: Env>(env: &E, progress: &ProgressEmitter, deployment_id: Uuid) -> Subscription {
    let env = env.clone();
    progress.subscribe(move |event| {
        env.journal(Journal::Progress { deployment_id, event: event.name().into(), data: event.data().clone() });
        Ok(())
    })
}
