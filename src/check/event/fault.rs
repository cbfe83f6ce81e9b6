//! What the world does to a node: how it dies, and the hardships that it must survive.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::{check::NodeIndex, env::Port};

/// How a node dies. What its devices had made durable is there at its next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Death {
    /// Its process ends, and the machine closes its connections.
    Closed,
    /// Its process ends, and the machine resets its connections.
    Reset,
    /// Nothing is heard of it any more: the others see half-open connections.
    Silent,
    /// The same, and a part of what was not synced is lost.
    PowerLoss,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "crashes; its connections are closed",
            Self::Reset => "crashes; its connections are reset",
            Self::Silent => "crashes; its connections fall silent",
            Self::PowerLoss => "loses power; its connections fall silent",
        })
    }
}

/// A legal hardship that the design claims to survive; `what` is the kind of choice behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fault {
    /// It takes so much longer.
    Delayed {
        /// What.
        what: Cow<'static, str>,
        /// Milliseconds.
        ms: u64,
    },
    /// Only a part is handed on now.
    Cut {
        /// What.
        what: Cow<'static, str>,
        /// Bytes handed on.
        bytes: u64,
        /// Bytes there were.
        of: u64,
    },
    /// Packets to another node are lost for a while.
    Lost {
        /// To whom.
        to: NodeIndex,
        /// For how long, milliseconds.
        ms: u64,
    },
    /// A connection that the node had made breaks.
    Reset {
        /// To whom.
        to: NodeIndex,
        /// To which of its ports.
        port: Port,
    },
    /// It fails.
    Failed {
        /// What.
        what: Cow<'static, str>,
    },
    /// It fails on a real machine, where nobody chose that.
    Broke {
        /// What, by the kind of choice that stands for it in a simulated world.
        what: Cow<'static, str>,
        /// What the system says.
        cause: String,
    },
    /// The node's wall clock shows another time from now on.
    ClockSet {
        /// How far it is from the true time, milliseconds.
        ms: i64,
    },
    /// The whole node is paused: it does nothing for a while, unless it dies or everything heals first.
    Paused {
        /// For how long, milliseconds.
        ms: u64,
    },
}

impl Fault {
    /// How much longer it makes something take, if that is all it does; milliseconds.
    pub fn takes_ms(&self) -> Option<u64> {
        match self {
            Self::Delayed { ms, .. } | Self::Paused { ms } => Some(*ms),
            _ => None,
        }
    }

    /// What has failed, if that is what happened.
    pub fn failed(&self) -> Option<&str> {
        match self {
            Self::Failed { what } | Self::Broke { what, .. } => Some(what),
            Self::Delayed { .. }
            | Self::Cut { .. }
            | Self::Lost { .. }
            | Self::Paused { .. }
            | Self::ClockSet { .. }
            | Self::Reset { .. } => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delayed { what, ms } => write!(f, "{what} takes {ms} ms longer"),
            Self::Cut { what, bytes, of } => write!(f, "{what} hands on {bytes} of {of} bytes"),
            Self::Lost { to, ms } => write!(f, "packets to {to} are lost for {ms} ms"),
            Self::Paused { ms } => write!(f, "is paused for {ms} ms"),
            Self::ClockSet { ms } => write!(f, "its clock is {ms} ms from the true time"),
            Self::Reset { to, port } => write!(f, "its connection to {to} for {port:?} breaks"),
            Self::Failed { what } => write!(f, "{what}"),
            Self::Broke { what, cause } => write!(f, "{what}: {cause}"),
        }
    }
}
