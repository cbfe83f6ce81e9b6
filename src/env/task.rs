//! Tasks of a node.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

/// A future that stays on its node's thread.
pub type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// A world's hold on a task that it runs.
pub trait Kill {
    /// Drops the task where it stands; nothing happens when it has ended.
    fn kill(&self);
    /// Lets the task run on without a handle.
    fn detach(self: Box<Self>) {}
}

/// A running task. Awaiting it yields its output; dropping it cancels the task.
#[must_use = "dropping a task cancels it"]
pub struct Task<T> {
    output: oneshot::Receiver<T>,
    hold: Option<Box<dyn Kill>>,
}

impl<T: 'static> Task<T> {
    /// The handle for `future`, and the future that a world is to run. Worlds only.
    pub(super) fn pair(future: impl Future<Output = T> + 'static) -> (Self, LocalFuture) {
        let (tx, output) = oneshot::channel();
        let run = async move {
            let value = future.await;
            // Nobody waits any more: the output is not wanted.
            let _ = tx.send(value);
        };
        (Self { output, hold: None }, Box::pin(run))
    }

    pub(super) fn running(mut self, hold: Box<dyn Kill>) -> Self {
        self.hold = Some(hold);
        self
    }

    /// Has it ended, with an output that nobody has taken?
    pub fn is_finished(&self) -> bool {
        !self.output.is_empty()
    }

    /// Lets the task run on without a handle.
    pub fn detach(mut self) {
        if let Some(hold) = self.hold.take() {
            hold.detach();
        }
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    /// # Panics
    /// When the task panicked: a broken promise does not end at the task that broke it.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.output).poll(cx).map(|output| output.expect("the awaited task panicked"))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(hold) = &self.hold {
            hold.kill();
        }
    }
}
