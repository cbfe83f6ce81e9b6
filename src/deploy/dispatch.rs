//! Asks every peer in parallel, and turns whatever comes of it into outcomes: a peer's failure is data.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};

use crate::{
    env::{Env, NodeName, Task},
    replication::operations::{self, CallError},
};

/// Forwards `operation` to each of `peers`, and calls `settled` with each outcome as it comes; returns when every peer
/// has one. Each peer has its own connection and its own `deadline`.
pub(super) async fn dispatch<E: Env>(
    env: &E,
    peers: &[NodeName],
    operation: &Bytes,
    deadline: Duration,
    mut settled: impl FnMut(Value),
) {
    let mut asked: FuturesUnordered<_> = peers.iter().map(|peer| ask(env, peer, operation, deadline)).collect();
    while let Some(outcome) = asked.next().await {
        settled(outcome);
    }
}

/// One peer's outcome. A task of its own, so that one peer's connection never waits for another's.
fn ask<E: Env>(env: &E, peer: &NodeName, operation: &Bytes, deadline: Duration) -> Task<Value> {
    let (asking, peer, operation) = (env.clone(), peer.clone(), operation.clone());
    env.spawn(format!("dispatch to {peer}"), async move {
        let started_at = asking.wall_clock_ms();
        let answer = operations::call(&asking, &peer, &operation, deadline).await;
        let completed_at = asking.wall_clock_ms();
        match answer {
            Ok(answer) => outcome_of_answer(&peer, &answer, started_at, completed_at),
            Err(error) => outcome_of_failure(&peer, &error, started_at, completed_at),
        }
    })
}

/// The answer as it stands, under the name of the peer that was asked, whatever name it gave itself.
fn outcome_of_answer(peer: &NodeName, answer: &[u8], started_at: u64, completed_at: u64) -> Value {
    match serde_json::from_slice(answer) {
        Ok(Value::Object(mut outcome)) => {
            outcome.insert("node".to_owned(), json!(peer));
            outcome.entry("started_at").or_insert(json!(started_at));
            outcome.entry("completed_at").or_insert(json!(completed_at));
            Value::Object(outcome)
        }
        Ok(other) => other,
        Err(error) => Value::String(format!("{peer} answered what is no JSON: {error}")),
    }
}

fn outcome_of_failure(peer: &NodeName, error: &CallError, started_at: u64, completed_at: u64) -> Value {
    json!({
        "node": peer,
        "status": "failed",
        "error": { "message": error.to_string(), "code": error.code() },
        "started_at": started_at,
        "completed_at": completed_at,
    })
}
