//! Child processes.

use std::{fmt, future::Future, io, path::PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Command {
    /// The program, looked up in `PATH`.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where it runs; relative to the node's own directory.
    pub directory: PathBuf,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

/// Which of a child's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputStream {
    /// `stdout` or `stderr`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// What a child did next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// It wrote bytes, cut anywhere.
    Chunk(OutputStream, Bytes),
    /// It ended, and both its streams are drained.
    Exit(ExitStatus),
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Starts children, each in a process group of its own.
pub trait Processes {
    /// A running child.
    type Child: Child;

    /// Starts a command; fails as `std::process::Command::spawn` does.
    fn spawn(&self, command: &Command) -> impl Future<Output = io::Result<Self::Child>>;
}

/// A running child. Dropping it kills its group.
pub trait Child: 'static {
    /// What it does next; after [`Output::Exit`] it is not called again. Safe to cancel: no output is lost.
    fn next(&mut self) -> impl Future<Output = io::Result<Output>>;
    /// Ends the whole process group, and resolves when it is gone.
    fn kill_group(&mut self) -> impl Future<Output = io::Result<()>>;
}
