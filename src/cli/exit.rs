//! How a command ends.

use std::process::ExitCode;

/// How a command ended; its number is the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// No invariant is broken.
    Sound = 0,
    /// An invariant is broken, two runs differ, or the museum missed a bug.
    Violation = 1,
    /// Wrong usage or input.
    Usage = 2,
    /// An error in drydock itself.
    Internal = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
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
