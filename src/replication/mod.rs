//! The replication channel: rows, blob chunks and operations between the nodes of a cluster (spec 11).
//!
//! Full mesh. Each node subscribes to every other one (`receiver`), and serves those who subscribe to it (`sender`): one
//! stream per pair and direction carries the sender's own commits in its log's order, and the chunks of their blobs.
//! Operations go over connections of their own (`operations`), so an operation may come before, between or after the
//! rows and chunks that it is about. Who is subscribed to and who is served follows the membership (`membership`).

pub mod cursor;
pub mod frame;
pub mod membership;
pub mod notes;
pub mod operations;
mod receiver;
pub mod scope;
mod sender;
pub mod version;

use std::{convert::Infallible, fmt::Display, io, time::Duration};

use tokio::time::sleep;

use self::{operations::Handler, sender::Sessions};
use crate::env::{Env, Journal, Network, Port};

/// The pause after a device failed, before it is asked again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Starts replication: serves this node's rows and `handler`'s operations, and subscribes to every other member, for as
/// long as it is one.
///
/// # Errors
/// When a port cannot be bound.
pub async fn start<E: Env>(env: &E, handler: Handler) -> io::Result<()> {
    let rows = env.network().listen(Port::Rows).await?;
    let operations = env.network().listen(Port::Operations).await?;
    let serving = operations::serve(env.clone(), operations, handler);
    in_background(env, "operations", serving);
    let sessions = Sessions::default();
    in_background(env, "subscribers", sender::serve(env.clone(), rows, sessions.clone()));
    in_background(env, "membership", membership::follow(env.clone(), sessions));
    Ok(())
}

/// Runs what has a handler for every error of its own.
fn in_background<E: Env>(env: &E, name: &str, work: impl Future<Output = ()> + 'static) {
    env.spawn_background(name, async move {
        work.await;
        Ok::<(), Infallible>(())
    });
}

/// Tells what failed, and waits a little before it is tried again.
async fn pause_after<E: Env>(env: &E, what: &str, cause: &dyn Display) {
    env.journal(Journal::Dropped { what: what.to_owned(), cause: cause.to_string() });
    sleep(PAUSE_AFTER_FAILURE).await;
}
