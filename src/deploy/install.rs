//! Installs a staged component: runs its package manager, and tells every line of its output (spec 9).

use std::{collections::VecDeque, path::Path, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{lines::LineSplitter, request::InstallPlan};
use crate::env::{Child, Command, Disk, EntryKind, Env, ExitStatus, Output, OutputStream, Processes};

/// The largest `package.json` that is read.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;

/// How many of the last lines of output a failure carries.
const OUTPUT_LINES_MAX: usize = 40;

/// Why an install failed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It ended badly.
    #[error("`{command}` failed with {status}{}", last_line(output))]
    Failed {
        /// What ran.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its output.
        output: Vec<String>,
    },
    /// It took too long, and was ended.
    #[error("`{command}` was ended at its time limit of {} s; set `install_timeout` to give it longer", limit.as_secs_f64())]
    TimedOut {
        /// What ran.
        command: String,
        /// The limit.
        limit: Duration,
        /// The last lines of its output.
        output: Vec<String>,
    },
    /// It could not be run.
    #[error("`{command}` cannot be run: {cause}; is it installed on this node?")]
    NotRun {
        /// What was to run.
        command: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The component cannot be looked at.
    #[error("the component's package.json cannot be read: {0}")]
    Manifest(String),
}

fn last_line(output: &[String]) -> String {
    output.iter().rev().find(|line| !line.is_empty()).map(|line| format!(": {line}")).unwrap_or_default()
}

impl InstallError {
    /// The last lines of the installer's output, if it printed any.
    pub fn output(&self) -> Option<&[String]> {
        match self {
            Self::Failed { output, .. } | Self::TimedOut { output, .. } => Some(output),
            _ => None,
        }
    }
}

/// A line that an installer printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallLine<'a> {
    /// What printed it: `npm`, or the name of a custom command.
    pub manager: &'a str,
    /// Where to.
    pub stream: OutputStream,
    /// Without its end.
    pub line: &'a str,
}

/// Installs the component staged in `directory`, telling each line as it comes. Nothing is told after a failure.
///
/// # Errors
/// When the installer cannot be run, fails, or is ended at its time limit.
pub async fn install<E: Env>(
    env: &E,
    directory: &Path,
    plan: &InstallPlan,
    mut tell: impl FnMut(&InstallLine<'_>),
) -> Result<(), InstallError> {
    let Some(installer) = choose(env.disk(), directory, plan).await? else { return Ok(()) };
    let (program, args) = installer.split_first().expect("an installer has a program");
    let command = Command { program: program.clone(), args: args.to_vec(), directory: directory.to_owned() };
    let not_run = |cause| InstallError::NotRun { command: command.to_string(), cause };
    let mut child = env.processes().spawn(&command).await.map_err(not_run)?;
    let mut output = Told { manager: program, tell: &mut tell, last: VecDeque::new() };
    let deadline = Instant::now() + plan.timeout;
    match timeout_at(deadline, run(&mut child, &mut output)).await {
        Ok(Ok(ExitStatus::Code(0))) => Ok(()),
        Ok(Ok(status)) => {
            Err(InstallError::Failed { command: command.to_string(), status, output: output.last.into() })
        }
        Ok(Err(cause)) => Err(not_run(cause)),
        Err(_) => {
            let output = output.last.into();
            end(&mut child).await.map_err(not_run)?;
            Err(InstallError::TimedOut { command: command.to_string(), limit: plan.timeout, output })
        }
    }
}

async fn end(child: &mut impl Child) -> std::io::Result<()> {
    child.kill_group().await
}

/// What to run: the command asked for; else `npm install`, where there is a package.json and no node_modules.
async fn choose(disk: &impl Disk, directory: &Path, plan: &InstallPlan) -> Result<Option<Vec<String>>, InstallError> {
    if let Some(command) = &plan.command {
        return Ok(Some(vec!["sh".to_owned(), "-c".to_owned(), command.clone()]));
    }
    let unreadable = |error: std::io::Error| InstallError::Manifest(error.to_string());
    let manifest = disk.metadata(&directory.join("package.json")).await.map_err(unreadable)?;
    let shipped = disk.metadata(&directory.join("node_modules")).await.map_err(unreadable)?;
    if manifest.is_none_or(|found| found.kind != EntryKind::File) || shipped.is_some() {
        return Ok(None);
    }
    let text = disk.read_file(&directory.join("package.json"), MANIFEST_BYTES_MAX).await.map_err(unreadable)?;
    let _: Value = serde_json::from_slice(&text).map_err(|error| InstallError::Manifest(error.to_string()))?;
    Ok(Some(vec!["npm".to_owned(), "install".to_owned()]))
}

/// Lets the child run to its end, and tells what it prints.
async fn run(child: &mut impl Child, output: &mut Told<'_>) -> std::io::Result<ExitStatus> {
    let (mut stdout, mut stderr) = (LineSplitter::default(), LineSplitter::default());
    loop {
        match child.next().await? {
            Output::Chunk(OutputStream::Stdout, bytes) => output.take(OutputStream::Stdout, stdout.push(&bytes)),
            Output::Chunk(OutputStream::Stderr, bytes) => output.take(OutputStream::Stderr, stderr.push(&bytes)),
            Output::Exit(status) => {
                output.take(OutputStream::Stdout, stdout.finish());
                output.take(OutputStream::Stderr, stderr.finish());
                return Ok(status);
            }
        }
    }
}

/// Where lines go.
struct Told<'a> {
    manager: &'a str,
    tell: &'a mut dyn FnMut(&InstallLine<'_>),
    last: VecDeque<String>,
}

impl Told<'_> {
    fn take(&mut self, stream: OutputStream, lines: Vec<String>) {
        for line in lines {
            (self.tell)(&InstallLine { manager: self.manager, stream, line: &line });
            self.last.push_back(line);
            if self.last.len() > OUTPUT_LINES_MAX {
                self.last.pop_front();
            }
        }
    }
}
