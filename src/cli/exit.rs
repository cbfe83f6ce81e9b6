//! How a command ends.

use std::process::ExitCode;

#[cfg(feature = "real")]
use crate::deploy::client::ClientExit;

/// How a command ended; its number is the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// No invariant is broken; or the deployment succeeded.
    Sound = 0,
    /// An invariant is broken, two runs differ, the museum missed a bug, or a deployment failed.
    Violation = 1,
    /// Wrong usage or input; or a stream broke off before it told how a deployment ended.
    Usage = 2,
    /// An error in drydock itself.
    Internal = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(feature = "real")]
impl From<ClientExit> for Exit {
    fn from(exit: ClientExit) -> Self {
        match exit {
            ClientExit::Success => Self::Sound,
            ClientExit::Failure => Self::Violation,
            ClientExit::Lost => Self::Usage,
        }
    }
}

/// Why a command could not do what it was asked; one line, with what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The user can put it right.
    Usage(String),
    /// Only we can.
    Internal(String),
}

impl Failure {
    /// Wrong usage or input.
    pub(super) fn usage(cause: impl ToString) -> Self {
        Self::Usage(cause.to_string())
    }

    /// An error in drydock itself.
    pub(super) fn internal(cause: impl ToString) -> Self {
        Self::Internal(cause.to_string())
    }

    /// The exit code that goes with it.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Internal(_) => Exit::Internal,
        }
    }
}

#[cfg(all(test, feature = "real"))]
mod tests {
    use super::*;

    #[test]
    fn a_clients_command_exits_as_its_stream_ended() {
        for exit in [ClientExit::Success, ClientExit::Failure, ClientExit::Lost] {
            assert_eq!(Exit::from(exit) as u8, exit.code());
        }
    }
}
