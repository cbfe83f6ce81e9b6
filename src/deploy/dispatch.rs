//! Asks every peer in parallel, and turns whatever comes of it into outcomes: a peer's failure is data.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};

use crate::{
    env::{Env, NodeName, Task},
    replication::{notes::Note, operations},
};

/// What a peer says while it works, with the peer's name.
pub(super) type Heard = Rc<dyn Fn(&NodeName, Note)>;

/// Forwards `operation` to each of `peers`, and calls `settled` with each outcome as it comes; returns when every peer
/// has one. Each peer has its own connection and its own `deadline`.
pub(super) async fn dispatch<E: Env>(
    env: &E,
    peers: &[NodeName],
    operation: &Bytes,
    deadline: Duration,
    heard: &Heard,
    mut settled: impl FnMut(Value),
) {
    let mut asked: FuturesUnordered<_> = peers.iter().map(|peer| ask(env, peer, operation, deadline, heard)).collect();
    while let Some(outcome) = asked.next().await {
        settled(outcome);
    }
}

/// One peer's outcome. A task of its own, so that one peer's connection never waits for another's.
fn ask<E: Env>(env: &E, peer: &NodeName, operation: &Bytes, deadline: Duration, heard: &Heard) -> Task<Value> {
    let (asking, peer, operation, heard) = (env.clone(), peer.clone(), operation.clone(), Rc::clone(heard));
    env.spawn(format!("dispatch to {peer}"), async move {
        let started_at = asking.wall_clock_ms();
        let answer = operations::call(&asking, &peer, &operation, deadline, |note| heard(&peer, note)).await;
        let completed_at = asking.wall_clock_ms();
        match answer {
            Ok(answer) => outcome_of_answer(&peer, &answer, started_at, completed_at),
            Err(error) => failed(&peer, &error.to_string(), error.code(), started_at, completed_at),
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
        Ok(other) => failed(peer, &not_understood(&other), "bad_answer", started_at, completed_at),
        Err(error) => failed(peer, &not_understood(&error), "bad_answer", started_at, completed_at),
    }
}

fn not_understood(what: &dyn std::fmt::Display) -> String {
    format!("answered what is not understood: {what}; do all nodes run the same version?")
}

fn failed(peer: &NodeName, message: &str, code: &str, started_at: u64, completed_at: u64) -> Value {
    json!({
        "node": peer,
        "status": "failed",
        "error": { "message": message, "code": code },
        "started_at": started_at,
        "completed_at": completed_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_no_object_is_its_peers_failure() {
        for answer in [&b"17"[..], b"[]", b"\"fine\"", b"{", b""] {
            let outcome = outcome_of_answer(&"n2".into(), answer, 1, 2);
            assert_eq!((&outcome["node"], &outcome["status"]), (&json!("n2"), &json!("failed")));
            assert_eq!(outcome["error"]["code"], "bad_answer");
            assert!(outcome["error"]["message"].as_str().unwrap().starts_with("answered what is not understood: "));
        }
    }

    #[test]
    fn an_answer_stands_under_the_name_of_the_peer_that_was_asked() {
        let outcome = outcome_of_answer(&"n2".into(), br#"{"node":"n3","status":"success","started_at":7}"#, 1, 2);
        assert_eq!(outcome, json!({ "node": "n2", "status": "success", "started_at": 7, "completed_at": 2 }));
    }
}
