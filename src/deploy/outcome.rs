//! What came of a peer, whatever shape it came in (spec 4).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event_log::{shorten, shorten_text};

/// A peer's outcome, normalised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PeerResult {
    /// What was no object, as text. Counts as a failure of coverage.
    Unknown {
        /// Always null.
        node: (),
        /// Always `unknown`.
        status: UnknownStatus,
        /// What came.
        raw: String,
    },
    /// What a peer said, or what was found in its stead.
    Outcome(Outcome),
}

/// The only status of what is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownStatus {
    /// It is not understood.
    Unknown,
}

/// What a peer said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which peer: a name in sound operation, null when nobody said.
    pub node: Value,
    /// `success`, `failed`, or what the peer called it.
    pub status: String,
    /// Why it failed.
    pub error: Option<PeerError>,
    /// Epoch ms, as the peer said it.
    #[serde(default)]
    pub started_at: Value,
    /// Epoch ms, as the peer said it.
    #[serde(default)]
    pub completed_at: Value,
}

/// Why a peer failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerError {
    /// For people.
    pub message: String,
    /// For programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl PeerResult {
    /// Which peer it is about; null when nobody said.
    pub fn node(&self) -> &Value {
        match self {
            Self::Unknown { .. } => &Value::Null,
            Self::Outcome(outcome) => &outcome.node,
        }
    }

    /// Did the peer succeed?
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Outcome(outcome) if outcome.status == "success")
    }

    /// Why it is no success, for programs, if that was said.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Outcome(Outcome { error: Some(error), .. }) => error.code.as_deref(),
            _ => None,
        }
    }

    /// Why it is no success, for people.
    pub fn cause(&self) -> String {
        match self {
            Self::Unknown { raw, .. } => format!("answered what is not understood: {raw}"),
            Self::Outcome(Outcome { error: Some(error), .. }) => error.message.clone(),
            Self::Outcome(outcome) => format!("status {}", outcome.status),
        }
    }
}

/// Normalises what a peer answered, or what was found in its stead.
pub fn normalize(raw: &Value) -> PeerResult {
    match raw {
        Value::Object(fields) => PeerResult::Outcome(of_fields(fields)),
        // As in the original: a list is an object without the fields asked for.
        Value::Array(_) => PeerResult::Outcome(of_fields(&Map::new())),
        other => PeerResult::Unknown { node: (), status: UnknownStatus::Unknown, raw: short(text(other)) },
    }
}

/// A row must fit a frame of the replication channel, whatever peers say.
fn short(mut text: String) -> String {
    shorten_text(&mut text);
    text
}

/// Puts an outcome in the place of the same node's earlier one; one without a node is appended.
pub fn upsert(results: &mut Vec<PeerResult>, result: PeerResult) {
    let same = results.iter_mut().find(|known| !result.node().is_null() && known.node() == result.node());
    match same {
        Some(known) => *known = result,
        None => results.push(result),
    }
}

fn of_fields(fields: &Map<String, Value>) -> Outcome {
    let said = |field: &str| fields.get(field).filter(|value| !value.is_null());
    let node = ["node", "name", "hostname"].into_iter().find_map(said).cloned().unwrap_or_default();
    let status = said("status").map(text);
    let error = said("error").and_then(of_error);
    let (status, error) = match error {
        Some(error) => ("failed".to_owned(), Some(error)),
        None if status.as_deref() == Some("failed") => {
            // An `error` that says nothing takes the place of the reason all the same, as in the original.
            let reason = said("reason").filter(|_| said("error").is_none()).and_then(of_error);
            ("failed".to_owned(), reason)
        }
        None => (status.unwrap_or_else(|| "success".to_owned()), None),
    };
    let kept = |value: Option<&Value>| {
        let mut value = value.cloned().unwrap_or_default();
        shorten(&mut value);
        value
    };
    let time = |field: &str| kept(fields.get(field));
    let node = kept(Some(&node));
    Outcome { node, status: short(status), error, started_at: time("started_at"), completed_at: time("completed_at") }
}

/// An error that says something: a text that is not empty, an object or a number.
fn of_error(error: &Value) -> Option<PeerError> {
    match error {
        Value::String(message) if message.is_empty() => None,
        Value::Bool(_) | Value::Null => None,
        Value::Object(fields) => Some(PeerError {
            message: fields.get("message").map(text).map(short).unwrap_or_default(),
            code: fields.get("code").filter(|code| !code.is_null()).map(text).map(short),
        }),
        other => Some(PeerError { message: short(text(other)), code: None }),
    }
}

/// A value as text, as the original's language has it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_recorded_outcome_is_normalised_as_the_original_did() {
        let vectors = include_str!("../../fixtures/vectors/normalize-peer.json");
        let vectors: Vec<Value> = serde_json::from_str(vectors).unwrap();
        for vector in vectors {
            let ours = serde_json::to_value(normalize(&vector["input"])).unwrap();
            assert_eq!(ours, vector["output"], "input {}", vector["input"]);
        }
    }

    /// Spec 4 to the letter has the reason here, since the error says nothing. The original was recorded to drop it: its
    /// `error ?? reason` takes an empty text for an error that is there. We keep its answer; no node sends both.
    #[test]
    fn an_empty_error_hides_the_reason_as_recorded_where_spec_4_gives_it() {
        let raw = json!({ "node": "n", "status": "failed", "error": "", "reason": "r" });
        let recorded: Value =
            json!({ "node": "n", "status": "failed", "error": null, "started_at": null, "completed_at": null });
        assert_eq!(serde_json::to_value(normalize(&raw)).unwrap(), recorded);
    }

    #[test]
    fn an_outcome_takes_the_place_of_the_same_nodes_earlier_one() {
        let mut results = Vec::new();
        upsert(&mut results, normalize(&json!({ "node": "n2", "status": "failed" })));
        upsert(&mut results, normalize(&json!({ "node": "n3" })));
        upsert(&mut results, normalize(&json!({ "node": "n2" })));
        assert_eq!(results.iter().map(PeerResult::is_success).collect::<Vec<_>>(), [true, true]);
    }

    #[test]
    fn outcomes_without_a_node_are_all_kept() {
        let mut results = Vec::new();
        upsert(&mut results, normalize(&json!("lost")));
        upsert(&mut results, normalize(&json!({})));
        upsert(&mut results, normalize(&json!({})));
        assert_eq!(results.len(), 3);
    }

    #[test]
    fn an_outcome_read_from_a_row_is_the_one_written_to_it() {
        for raw in [json!("lost"), json!({}), json!({ "node": "n2", "error": { "message": "m", "code": "E" } })] {
            let result = normalize(&raw);
            let read: PeerResult = serde_json::from_str(&serde_json::to_string(&result).unwrap()).unwrap();
            assert_eq!(read, result);
        }
    }
}
