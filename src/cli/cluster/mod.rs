//! `drydock cluster`: a component on a cluster of real processes, from the start of the nodes to the verdict.
//!
//! The nodes are this executable (`process`), in a directory of their own (`place`). One of them may be killed in the middle
//! of a phase (`kill`); then the cluster must come to rest, and a second deploy must succeed. What is found to be otherwise than
//! promised is told at the end (`findings`), and makes the exit code 1.

mod findings;
mod kill;
mod place;
mod process;
mod story;
mod trees;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use self::{
    kill::Kill,
    place::Place,
    process::{Processes, end_all},
    story::{Plan, Story},
};
use super::{
    exit::{Exit, Failure},
    node::{Stop, tell},
    output,
    whole::whole,
};
use crate::{client::Component, deploy::slots::ProjectName};

#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    /// The component: a directory, or an archive (tar, gzipped or not)
    #[arg(long, value_name = "PATH")]
    component: PathBuf,
    /// Nodes in the cluster, 1 to 9; the first one, n1, is the origin
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = whole::<u8>(1..=9))]
    nodes: u8,
    /// The project that it is deployed as [default: the component's file name]
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Leave out what has this name, wherever it stands in the directory; may be given several times
    #[arg(long, value_name = "NAME")]
    exclude: Vec<String>,
    /// Kill this node when it begins this phase, and start it again: n2@install
    #[arg(long, value_name = "NODE@PHASE")]
    kill: Option<Kill>,
    /// Give a peer so long to get the payload, such as 2m [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    deployment_timeout: Option<Duration>,
    /// Leave the nodes' directories where they are
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(options: &Options) -> Result<Exit, Failure> {
    let component = Component::at(&options.component, &options.exclude).map_err(Failure::usage)?;
    let project = project(options)?;
    let mut place = Place::new(options.nodes)
        .map_err(|error| Failure::usage(format!("there is no place for a cluster: {error}")))?;
    if let Some(kill) = &options.kill {
        kill.check(&place.names()).map_err(Failure::Usage)?;
    }
    let (kill, deployment_timeout) = (options.kill.clone(), options.deployment_timeout);
    let plan = Plan { component, project, kill, deployment_timeout };
    let ended = tell(async {
        let (mut stop, mut processes) = (Stop::new(false).map_err(Failure::internal)?, Processes::new());
        let told = tokio::select! {
            told = Story::new(&place, &plan).tell(&mut processes) => told,
            reason = stop.told() => Err(Failure::usage(format!("interrupted by {reason}; the nodes are ended"))),
        };
        end_all(&mut processes).await;
        told
    });
    if options.keep || !matches!(ended, Ok(Exit::Sound)) {
        place.keep();
        output::error_line(&format!("logs and directories of the nodes: {}", place.directory().display()));
    }
    ended
}

fn project(options: &Options) -> Result<ProjectName, Failure> {
    let named = options.project.clone().unwrap_or_else(|| name_of(&options.component));
    ProjectName::parse(&named)
        .map_err(|error| Failure::Usage(format!("`{named}` is no project: it {error}; set --project")))
}

fn name_of(component: &Path) -> String {
    let path = component.canonicalize().unwrap_or_else(|_| component.to_owned());
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
