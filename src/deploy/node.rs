//! A node: the deploy logic and the replication channel, started together.

use std::{convert::Infallible, rc::Rc};

use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::{Value, json};

use super::{
    event::Event,
    origin, peer,
    recorder::Upload,
    recovery,
    registry::Registry,
    request::DeployRequest,
    rollback::{self, Source},
    slots::ProjectLocks,
};
use crate::{
    env::{Env, NodeName, Task},
    replication::{self, notes::Notes},
};

/// A running node.
pub struct Node<E: Env> {
    pub(super) env: E,
    locks: ProjectLocks,
    pub(super) registry: Registry<E>,
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
        let node = Rc::new(Self { env: env.clone(), locks: ProjectLocks::default(), registry: Registry::default() });
        let handler = Rc::clone(&node);
        replication::start(
            &env,
            Rc::new(move |peer, operation, notes| {
                Rc::clone(&handler).take_operation(peer, operation, notes).boxed_local()
            }),
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
        match self.accept(&request, upload).await {
            Ok((request, source)) => self.run_apart(request, source, sees).await,
            Err(failure) => {
                sees(&Event::error(failure.clone()));
                Err(failure)
            }
        }
    }

    /// Validates a request, and finds its payload: uploaded or of an earlier deployment.
    async fn accept(&self, request: &Value, upload: Option<Upload>) -> Result<(DeployRequest, Source), Value> {
        let bad = |message: String| json!({ "message": message, "code": "bad_request", "phase": "validate" });
        let request = DeployRequest::parse(request).map_err(|error| bad(error.to_string()))?;
        let source = match (request.rollback_from, request.package.clone(), upload) {
            (None, None, Some(upload)) => Source::Upload(upload),
            (None, Some(package), None) => Source::Package(package),
            (Some(id), None, None) => rollback::find(&self.env, &request, id).await.map_err(|error| error.told())?,
            (None, None, None) => {
                return Err(bad(
                    "bad request: `payload` is missing: send the component's archive, or name a `package`".to_owned(),
                ));
            }
            (Some(_), ..) => {
                return Err(bad(
                    "bad request: `rollback_from` comes with a payload or a package: send one of them".to_owned()
                ));
            }
            (None, Some(_), Some(_)) => {
                return Err(bad("bad request: `package` comes with a payload: send one of the two".to_owned()));
            }
        };
        Ok((request, source))
    }

    /// Runs the deploy as a task of its own, which nobody's absence ends.
    async fn run_apart(
        &self,
        request: DeployRequest,
        source: Source,
        sees: impl Fn(&Event) + 'static,
    ) -> Result<Value, Value> {
        let (env, locks, registry) = (self.env.clone(), self.locks.clone(), self.registry.clone());
        let (tx, rx) = tokio::sync::oneshot::channel();
        let deploy = async move {
            let answer = origin::deploy_component(&env, &locks, &registry, request, source, sees).await;
            // The client has left; the row tells the outcome.
            let _ = tx.send(answer);
        };
        let task: Task<()> = self.env.spawn("deploy", deploy);
        task.detach();
        rx.await.expect("a deploy always answers")
    }

    async fn take_operation(self: Rc<Self>, peer: NodeName, operation: Bytes, notes: Notes) -> Bytes {
        peer::take_operation(&self.env, &self.locks, &self.registry, &peer, &operation, notes).await
    }
}
