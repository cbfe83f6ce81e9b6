//! Calls that block, apart from the node's thread; and work that is done to its end, whoever waits.

use std::io;

use tokio::sync::oneshot;

/// Runs `work` on a thread of the runtime's, and waits for it. Work that has begun is done to its end, whoever waits.
///
/// # Panics
/// When `work` does: a broken promise does not end at the thread that broke it.
#[expect(clippy::disallowed_methods, reason = "a file's sync blocks; it must not hold up what else the node does")]
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(worked) => worked,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(io::Error::other("the node is shutting down")),
    }
}

/// Does `work` as a task of its own, and waits for it: a caller that leaves does not leave it half done.
pub(super) async fn to_its_end<T: 'static>(work: impl Future<Output = io::Result<T>> + 'static) -> io::Result<T> {
    let (tx, rx) = oneshot::channel();
    super::env::spawn(async move {
        // Who asked may have left.
        let _ = tx.send(work.await);
    });
    rx.await.unwrap_or_else(|_| Err(io::Error::other("the node is shutting down")))
}
