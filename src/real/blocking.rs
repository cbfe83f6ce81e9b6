//! Calls that block, apart from the node's thread; and work that is done to its end, whoever waits.

use std::io;

use tokio::sync::oneshot;

use super::{env::spawn_watched, trace::Recorder};

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
///
/// # Panics
/// When `work` does, as [`blocking`].
pub(super) async fn to_its_end<T: 'static>(
    recorder: &Recorder,
    what: &str,
    work: impl Future<Output = T> + 'static,
) -> T {
    let (tx, rx) = oneshot::channel();
    spawn_watched(recorder, what, async move {
        // Who asked may have left.
        let _ = tx.send(work.await);
    });
    // A node that stops polls nobody any more.
    rx.await.unwrap_or_else(|_| panic!("{what} panicked"))
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    #[test]
    fn work_that_panics_is_told_though_nobody_waits_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let recorder = Recorder::open(directory.path(), Vec::new()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let told = LocalSet::new().block_on(&runtime, async {
            let work = to_its_end::<()>(&recorder, "a commit", async { panic!("of no avail") });
            assert!(futures_util::poll!(std::pin::pin!(work)).is_pending());
            recorder.panic().await
        });
        assert_eq!(told, "a commit: of no avail");
    }
}
