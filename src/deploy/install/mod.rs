//! Installs a staged component: runs its package manager, and tells every line of its output (spec 9).
//!
//! What is to be run is decided in [`choice`] and [`dev_engines`]; here it is run. All that one install runs shares one time
//! limit. Nothing is told after a failure.

mod choice;
mod dev_engines;

use std::{collections::VecDeque, io, path::Path, time::Duration};

use tokio::time::{Instant, timeout_at};

use self::{
    choice::{Choice, choose},
    dev_engines::{Managers, OnFail, Wanted},
};
use super::{event::Event, lines::LineSplitter, request::InstallPlan, retry::drop_told};
use crate::env::{Child, Command, Env, ExitStatus, Output, OutputStream, Processes};

/// How many of the last lines of output a failure carries.
const OUTPUT_LINES_MAX: usize = 40;

/// The package manager of a component that asks for none.
const DEFAULT_MANAGER: &str = "npm";

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
        cause: io::Error,
    },
    /// It ran, and nobody knows how it ended.
    #[error("the output of `{command}` cannot be read: {cause}; it was ended, deploy again")]
    Unreadable {
        /// What ran.
        command: String,
        /// What the system says.
        cause: io::Error,
    },
    /// The component asks for package managers, and none of them is usable here.
    #[error(
        "no package manager that the component's devEngines ask for is usable on this node ({}); install one here, or set \
         its `onFail` to `warn` or `ignore` to take {DEFAULT_MANAGER}", unusable.join("; ")
    )]
    NoManager {
        /// Each of them, and why not.
        unusable: Vec<String>,
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
    /// What printed it: the package manager, or the program that a custom command begins with.
    pub manager: &'a str,
    /// Where to.
    pub stream: OutputStream,
    /// Without its end.
    pub line: &'a str,
}

/// Installs the component staged in `directory`, and tells each line as an `install` event as it comes.
///
/// # Errors
/// When no installer can be run, it fails, or it is ended at its time limit. Nothing is told after that.
pub async fn install<E: Env>(
    env: &E,
    directory: &Path,
    plan: &InstallPlan,
    mut tell: impl FnMut(&Event),
) -> Result<(), InstallError> {
    let choice = choose(env.disk(), directory, plan.command.as_deref()).await?;
    let deadline = Instant::now() + plan.timeout;
    let mut installer = Installer { env, directory, limit: plan.timeout, deadline, tell: &mut tell };
    match choice {
        Choice::Nothing => Ok(()),
        Choice::Custom { manager, script } => installer.run(&manager, "sh", &["-c", &script]).await,
        Choice::Managers(managers) => installer.run_first_usable(&managers).await,
    }
}

/// Runs one program in `directory` as an install would, under the name `program`.
///
/// # Errors
/// As [`install`].
pub(super) async fn run<E: Env>(
    env: &E,
    directory: &Path,
    limit: Duration,
    mut tell: impl FnMut(&Event),
    program: &str,
    args: &[&str],
) -> Result<(), InstallError> {
    let mut installer = Installer { env, directory, limit, deadline: Instant::now() + limit, tell: &mut tell };
    installer.run(program, program, args).await
}

/// One install on its node.
struct Installer<'a, E> {
    env: &'a E,
    directory: &'a Path,
    limit: Duration,
    deadline: Instant,
    tell: &'a mut dyn FnMut(&Event),
}

/// How a program ended, and what it printed last.
struct Ended {
    status: ExitStatus,
    output: VecDeque<String>,
}

/// What came of a package manager that a component asks for.
enum Tried {
    Installed,
    Unusable(String),
}

impl<E: Env> Installer<'_, E> {
    /// Lets the first manager install that can; without any, `onFail` says what becomes of it. As in the original, one that
    /// is there and fails has failed for good only if it says `error`: else another takes its place, npm at last.
    async fn run_first_usable(&mut self, managers: &Managers) -> Result<(), InstallError> {
        let mut unusable = Vec::new();
        for wanted in &managers.wanted {
            let why = match self.try_manager(wanted).await {
                Ok(Tried::Installed) => return Ok(()),
                Ok(Tried::Unusable(why)) => why,
                Err(InstallError::Failed { command, status, .. }) if managers.on_fail != OnFail::Error => {
                    format!("`{command}` failed with {status}")
                }
                Err(error) => return Err(error),
            };
            unusable.push(format!("{}: {why}", wanted.name));
        }
        match managers.on_fail {
            OnFail::Error => return Err(InstallError::NoManager { unusable }),
            OnFail::Warn => {
                let why = unusable.join("; ");
                let message = format!(
                    "no package manager that devEngines ask for has installed it ({why}): {DEFAULT_MANAGER} is taken"
                );
                (self.tell)(&Event::warning(&message));
            }
            OnFail::Ignore => {}
        }
        self.run(DEFAULT_MANAGER, DEFAULT_MANAGER, &["install"]).await
    }

    /// Installs with a manager if it is there in a version that is asked for.
    async fn try_manager(&mut self, wanted: &Wanted) -> Result<Tried, InstallError> {
        if let Some(version) = &wanted.version
            && let Some(why) = self.lacks_version(&wanted.name, version).await?
        {
            return Ok(Tried::Unusable(why));
        }
        let command = self.command(&wanted.name, &["install"]);
        match self.spawn(&command).await? {
            None => Ok(Tried::Unusable("is not installed".to_owned())),
            Some(child) => {
                let ended = self.attend(&wanted.name, &command, child).await?;
                succeeded(&command, ended)?;
                Ok(Tried::Installed)
            }
        }
    }

    /// Why a manager is not there in that version. It is asked where it would run: its own settings there may choose it.
    async fn lacks_version(
        &mut self,
        manager: &str,
        version: &dev_engines::Version,
    ) -> Result<Option<String>, InstallError> {
        let command = self.command(manager, &["--version"]);
        let Some(child) = self.spawn(&command).await? else { return Ok(Some("is not installed".to_owned())) };
        let ended = self.attend(manager, &command, child).await?;
        Ok(match ended.status {
            ExitStatus::Code(0) => version.lacking_in(ended.output.iter().map(String::as_str)),
            status => Some(format!("`{command}` failed with {status}")),
        })
    }

    async fn run(&mut self, manager: &str, program: &str, args: &[&str]) -> Result<(), InstallError> {
        let command = self.command(program, args);
        let child = self.env.processes().spawn(&command).await;
        let child = child.map_err(|cause| InstallError::NotRun { command: command.to_string(), cause })?;
        let ended = self.attend(manager, &command, child).await?;
        succeeded(&command, ended)
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Command { program: program.to_owned(), args, directory: self.directory.to_owned() }
    }

    /// Starts a program; `None` when there is none of that name.
    async fn spawn(&self, command: &Command) -> Result<Option<<E::Processes as Processes>::Child>, InstallError> {
        match self.env.processes().spawn(command).await {
            Ok(child) => Ok(Some(child)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(InstallError::NotRun { command: command.to_string(), cause }),
        }
    }

    /// Lets a child run to its end and tells what it prints; at the time limit its whole group ends.
    async fn attend(&mut self, manager: &str, command: &Command, mut child: impl Child) -> Result<Ended, InstallError> {
        let mut told = Told { manager, tell: &mut *self.tell, last: VecDeque::new() };
        let ran = timeout_at(self.deadline, listen(&mut child, &mut told)).await;
        let output = told.last;
        let command = command.to_string();
        let failure = match ran {
            Ok(Ok(status)) => return Ok(Ended { status, output }),
            Ok(Err(cause)) => InstallError::Unreadable { command, cause },
            Err(_) => InstallError::TimedOut { command, limit: self.limit, output: output.into() },
        };
        // What cannot be ended never hides why it had to end.
        if let Err(cause) = child.kill_group().await {
            drop_told(self.env, "end of an installer's process group", &cause);
        }
        Err(failure)
    }
}

fn succeeded(command: &Command, ended: Ended) -> Result<(), InstallError> {
    match ended.status {
        ExitStatus::Code(0) => Ok(()),
        status => Err(InstallError::Failed { command: command.to_string(), status, output: ended.output.into() }),
    }
}

/// Takes all that a child prints, until it ends.
async fn listen(child: &mut impl Child, told: &mut Told<'_>) -> io::Result<ExitStatus> {
    let (mut stdout, mut stderr) = (LineSplitter::default(), LineSplitter::default());
    loop {
        match child.next().await? {
            Output::Chunk(OutputStream::Stdout, bytes) => told.take(OutputStream::Stdout, stdout.push(&bytes)),
            Output::Chunk(OutputStream::Stderr, bytes) => told.take(OutputStream::Stderr, stderr.push(&bytes)),
            Output::Exit(status) => {
                told.take(OutputStream::Stdout, stdout.finish());
                told.take(OutputStream::Stderr, stderr.finish());
                return Ok(status);
            }
        }
    }
}

/// Where lines go.
struct Told<'a> {
    manager: &'a str,
    tell: &'a mut dyn FnMut(&Event),
    last: VecDeque<String>,
}

impl Told<'_> {
    fn take(&mut self, stream: OutputStream, lines: Vec<String>) {
        for line in lines {
            (self.tell)(&Event::install(&InstallLine { manager: self.manager, stream, line: &line }));
            self.last.push_back(line);
            if self.last.len() > OUTPUT_LINES_MAX {
                self.last.pop_front();
            }
        }
    }
}
