//! The operation log of a node: what it was asked, what it answered, what it let pass.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::NodeName;

/// An entry in a node's operation log. The deploy logic never reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Journal {
    /// A forwarded operation came in.
    OperationReceived {
        /// Whose deploy it is.
        deployment_id: Uuid,
        /// The node that forwarded it.
        origin: NodeName,
    },
    /// A forwarded operation was answered.
    OperationAnswered {
        /// Whose deploy it was.
        deployment_id: Uuid,
        /// The answer, as sent.
        outcome: Value,
    },
    /// A restart that a deploy's origin asked for was answered.
    RestartAnswered {
        /// Whose deploy it was.
        deployment_id: Uuid,
        /// The answer, as sent.
        outcome: Value,
    },
    /// An event of a deploy, as its listeners on this node see it.
    Progress {
        /// Whose deploy.
        deployment_id: Uuid,
        /// The event's name: `phase`, `install`, …
        event: Cow<'static, str>,
        /// Its data.
        data: Value,
    },
    /// A payload is about to be let go: its row's next put names no blob.
    PayloadDropped {
        /// Whose payload.
        deployment_id: Uuid,
        /// `deleted`, or which rule of retention.
        why: Cow<'static, str>,
    },
    /// Something failed that must not fail a deploy, and was let pass.
    Dropped {
        /// What: "progress put of …", "listener of …".
        what: String,
        /// Why.
        cause: String,
    },
    /// An error left a background task: no handler was there for it.
    Unhandled {
        /// The task's name.
        task: String,
        /// The error.
        error: String,
    },
}
