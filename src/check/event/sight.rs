//! What the reader of a deployment saw of it.

use std::{fmt, rc::Rc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A moment in a reader's life.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TailSight {
    /// The tail began.
    Attached {
        /// How long the reader takes over each item, milliseconds.
        pause_ms: u64,
    },
    /// An entry came.
    Entry {
        /// See spec 3.
        seq: u64,
        /// See spec 3.
        event: Rc<str>,
        /// See spec 3.
        data: Value,
    },
    /// The terminal row came.
    Ended {
        /// As readers see it.
        row: Value,
    },
    /// Nothing more comes.
    Closed,
    /// The tail broke off.
    Failed {
        /// What the reader was told.
        cause: String,
    },
    /// The reader left.
    Left,
    /// Its node died.
    Lost,
}

impl fmt::Display for TailSight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached { .. } => write!(f, "begins to tail"),
            Self::Entry { seq, event, data } => write!(f, "sees {seq}: {event} {data}"),
            Self::Ended { row } => write!(f, "sees the end: {}", row["status"]),
            Self::Closed => write!(f, "sees that nothing more comes"),
            Self::Failed { cause } => write!(f, "is told: {cause}"),
            Self::Left => write!(f, "leaves"),
            Self::Lost => write!(f, "loses its node"),
        }
    }
}
