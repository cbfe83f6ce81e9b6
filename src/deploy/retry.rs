//! Work that must be done however often a device refuses it.

use std::{convert::Infallible, fmt::Display, future::Future, time::Duration};

use tokio::time::sleep;

use crate::env::{BlobId, Blobs, Env, Journal};

/// The pause before a device that failed is asked again; doubled each time, up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Does `work` until the device takes it: without it the node cannot go on.
pub(super) async fn until_done<E: Env, T, F: Display, W: Future<Output = Result<T, F>>>(
    env: &E,
    what: &str,
    work: impl Fn() -> W,
) -> T {
    let mut pause = PAUSE_FIRST;
    loop {
        match work().await {
            Ok(done) => return done,
            Err(cause) => drop_told(env, what, &cause),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Lets a blob go; a store that does not take it is asked again, while nobody waits for it.
pub(super) async fn delete_blob<E: Env>(env: &E, blob: BlobId) {
    let Err(cause) = env.blobs().delete(blob).await else { return };
    let (env, what) = (env.clone(), format!("deletion of blob {blob}"));
    drop_told(&env, &what, &cause);
    env.clone().spawn_background(what.clone(), async move {
        until_done(&env, &what, || env.blobs().delete(blob)).await;
        Ok::<(), Infallible>(())
    });
}

/// Tells what is let pass, and why.
pub(super) fn drop_told<E: Env>(env: &E, what: &str, cause: &impl Display) {
    env.journal(Journal::Dropped { what: what.to_owned(), cause: cause.to_string() });
}
