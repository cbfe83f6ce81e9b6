//! The lines of a trace.

use std::{borrow::Cow, collections::BTreeMap};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::payloads::Payload;
use crate::{
    check::Event,
    env::{BlobId, BlobState, Key, NodeName, Version},
};

/// The file in a node's directory.
pub(super) const FILE: &str = "trace.jsonl";

/// Where its lines go when it has become too long; what was there before is gone.
pub(super) const FILE_BEFORE: &str = "trace.before.jsonl";

/// A moment on the clock that all processes of this machine share, nanoseconds. It never goes back while the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::real) struct Stamp(u64);

impl Stamp {
    /// After everything else.
    pub(super) const LAST: Self = Self(u64::MAX);

    pub(in crate::real) fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        Self(now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs())
    }

    #[cfg(test)]
    pub(super) fn at(ns: u64) -> Self {
        Self(ns)
    }

    /// Milliseconds since `start`.
    pub(super) fn ms_since(self, start: Self) -> u64 {
        self.0.saturating_sub(start.0) / 1_000_000
    }
}

/// Something that is known, and when it was so.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line<'a> {
    pub(super) at_ns: Stamp,
    pub(super) what: What<'a>,
}

/// What a line says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What<'a> {
    /// A life of the node begins.
    Begins(Box<Life>),
    /// It ends in order.
    Ends,
    /// The lines before stand in the other file.
    GoesOn,
    /// Lines are missing here.
    Gap {
        /// Why they could not be written.
        cause: String,
    },
    /// Something happened.
    Event(Cow<'a, Event>),
    /// Something is about to become durable, and others may see it before its end is known here.
    Intends(Cow<'a, Event>),
    /// What was intended at this moment has happened.
    Did(Stamp),
    /// What was intended at this moment has not happened.
    DidNot(Stamp),
    /// A whole payload was let go; this was it.
    LetGo {
        /// Its id.
        blob: BlobId,
        /// What it was.
        payload: Payload,
    },
    /// A client did something at the node's door.
    Client {
        /// The how-manieth client of this life.
        client: u32,
        /// What.
        did: ClientAct,
    },
}

/// What a node is and holds when a life begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Life {
    pub(super) node: NodeName,
    pub(super) members: Vec<NodeName>,
    pub(super) settings: BTreeMap<String, Value>,
    /// The version of each row: whether what the last life intended has happened.
    pub(super) rows: Vec<(Key, Version)>,
    pub(super) blobs: BTreeMap<BlobId, BlobState>,
}

/// What a client of a node did or saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClientAct {
    /// It asked for a deploy.
    Asked(Value),
    /// So many more bytes of its upload came.
    Uploaded(u64),
    /// Its upload came to its end.
    UploadEnded {
        /// Lower-case hex SHA-256 of the whole.
        hash: String,
        /// Its length.
        bytes: u64,
    },
    /// Its upload broke off.
    UploadAborted(String),
    /// It saw an event of its stream.
    Saw {
        /// The event's name.
        event: String,
        /// Its data.
        data: Value,
    },
    /// It was answered.
    Answered(Result<Value, Value>),
    /// It left without an answer, or its node did.
    Lost,
    /// Its command ended with this exit code.
    Exited(u8),
}
