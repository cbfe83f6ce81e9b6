//! A node: the deploy logic and the replication channel, started together.

use std::{convert::Infallible, rc::Rc};

use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::Value;

use super::{event::Event, origin, peer, recorder::Upload, recovery, request::DeployRequest, slots::ProjectLocks};
use crate::{
    env::{Env, Task},
    replication::{self, notes::Notes},
};

/// A running node.
pub struct Node<E: Env> {
    env: E,
    locks: ProjectLocks,
}

impl<E: Env> Node<E> {
    /// Brings the node's devices in order after its last life, serves what is live, then starts replication and takes
    /// operations. Resolves when all that is done; waits for devices that fail.
    ///
    /// # Errors
    /// When a port cannot be bound.
    pub async fn start(env: E) -> std::io::Result<Rc<Self>> {
        let interrupted = recovery::recover(&env).await;
        recovery::serve(&env).await;
        let node = Rc::new(Self { env: env.clone(), locks: ProjectLocks::default() });
        let handler = Rc::clone(&node);
        replication::start(
            &env,
            Rc::new(move |operation, notes| Rc::clone(&handler).take_operation(operation, notes).boxed_local()),
        )
        .await?;
        env.spawn_background("end of interrupted deployments", {
            let env = env.clone();
            async move {
                recovery::end_interrupted(&env, interrupted).await;
                Ok::<(), Infallible>(())
            }
        });
        Ok(node)
    }

    /// `deploy_component` as a client sends it: deploys `upload` as `request` says, and calls `sees` with each event of
    /// the client's stream, the last of which is `done` or `error`.
    ///
    /// The deploy goes on when this future is dropped: a client that disconnects cancels nothing.
    ///
    /// # Errors
    /// The failure as the client is told: `{message, code?, phase, deployment_id?, failed_peers?}`.
    pub async fn deploy_component(
        &self,
        request: Value,
        upload: Option<Upload>,
        sees: impl Fn(&Event) + 'static,
    ) -> Result<Value, Value> {
        let accepted = DeployRequest::parse(&request).map_err(|error| error.to_string());
        let accepted = accepted.and_then(|request| match upload {
            Some(upload) => Ok((request, upload)),
            None => Err("bad request: `payload` is missing: send the component's archive".to_owned()),
        });
        match accepted {
            Ok((request, upload)) => self.run_apart(request, upload, sees).await,
            Err(message) => {
                let failure = serde_json::json!({ "message": message, "code": "bad_request", "phase": "validate" });
                sees(&Event::error(failure.clone()));
                Err(failure)
            }
        }
    }

    /// Runs the deploy as a task of its own, which nobody's absence ends.
    async fn run_apart(
        &self,
        request: DeployRequest,
        upload: Upload,
        sees: impl Fn(&Event) + 'static,
    ) -> Result<Value, Value> {
        let (env, locks) = (self.env.clone(), self.locks.clone());
        let (tx, rx) = tokio::sync::oneshot::channel();
        let deploy = async move {
            let answer = origin::deploy_component(&env, &locks, request, upload, sees).await;
            // The client has left; the row tells the outcome.
            let _ = tx.send(answer);
        };
        let task: Task<()> = self.env.spawn("deploy", deploy);
        task.detach();
        rx.await.expect("a deploy always answers")
    }

    async fn take_operation(self: Rc<Self>, operation: Bytes, notes: Notes) -> Bytes {
        peer::take_operation(&self.env, &self.locks, &operation, notes).await
    }
}
