//! `drydock deploy` and `drydock rollback`: a deploy on a running node, watched to its end.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    exit::{Exit, Failure},
    live::Live,
    node::tell,
    remote::{NodeOptions, failed, watch},
};
use crate::client::{Client, Component, Follow, Upload};

#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    /// The component: a directory, or an archive (tar, gzipped or not)
    #[arg(required_unless_present = "package", conflicts_with = "package")]
    path: Option<PathBuf>,
    /// The project that it is deployed as
    #[arg(long, value_name = "NAME")]
    project: String,
    /// Deploy a package that the node fetches: an npm, git or file spec, as `npm pack` takes it
    #[arg(long, value_name = "SPEC")]
    package: Option<String>,
    /// Leave out what has this name, wherever it stands in the directory; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with = "package")]
    exclude: Vec<String>,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    node: NodeOptions,
}

#[derive(Clone, Debug, Args)]
pub(super) struct RollbackOptions {
    /// The deployment whose payload is deployed again
    id: Uuid,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    node: NodeOptions,
}

/// When nodes switch to the new build.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Restart {
    /// All at once
    Immediate,
    /// One after the other
    Rolling,
}

/// How a deploy is carried out.
#[derive(Clone, Debug, Args)]
struct How {
    /// Restart the nodes once it is deployed
    #[arg(long, value_name = "HOW")]
    restart: Option<Restart>,
    /// Deploy on this node only
    #[arg(long)]
    local: bool,
    /// Let peers fail: they are told, and the deploy succeeds
    #[arg(long)]
    ignore_replication_errors: bool,
    /// Run this instead of the package manager
    #[arg(long, value_name = "COMMAND")]
    install_command: Option<String>,
    /// Give an install so long, such as 10m [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    install_timeout: Option<Duration>,
    /// Give a peer so long to get the payload, such as 2m [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    deployment_timeout: Option<Duration>,
    /// Who deploys, for the record
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Print one JSON object at the end instead of a table
    #[arg(long)]
    json: bool,
}

impl How {
    /// The request's fields, without those that were left to their defaults.
    fn fields(&self, project: &str) -> Map<String, Value> {
        let ms = |time: Option<Duration>| time.map(|time| json!(time.as_secs_f64() * 1e3));
        let restart = self.restart.map(|restart| match restart {
            Restart::Immediate => json!("immediate"),
            Restart::Rolling => json!("rolling"),
        });
        let fields = [
            ("operation", Some(json!("deploy_component"))),
            ("project", Some(json!(project))),
            ("restart", restart),
            ("replicated", self.local.then_some(json!(false))),
            ("ignore_replication_errors", self.ignore_replication_errors.then_some(json!(true))),
            ("install_command", self.install_command.as_ref().map(|command| json!(command))),
            ("install_timeout", ms(self.install_timeout)),
            ("deployment_timeout", ms(self.deployment_timeout)),
            ("user", self.user.as_ref().map(|user| json!(user))),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

pub(super) fn run(options: &Options) -> Result<Exit, Failure> {
    let client = options.node.client()?;
    tell(async {
        let follow = begin(&client, options).await?;
        let live = Live::of(follow.node());
        watch(follow, live, options.how.json).await
    })
}

async fn begin(client: &Client, options: &Options) -> Result<Follow, Failure> {
    let mut fields = options.how.fields(&options.project);
    match (&options.path, &options.package) {
        (Some(path), _) => {
            let component = Component::at(path, &options.exclude).map_err(Failure::usage)?;
            let upload = Upload::new(fields, component).map_err(Failure::internal)?;
            client.upload(upload).await.map_err(failed)
        }
        (None, package) => {
            fields.insert("package".to_owned(), json!(package));
            client.follow(&Value::Object(fields)).await.map_err(failed)
        }
    }
}

pub(super) fn roll_back(options: &RollbackOptions) -> Result<Exit, Failure> {
    let client = options.node.client()?;
    tell(async {
        let asked = json!({ "operation": "get_deployment", "deployment_id": options.id });
        let row = client.ask(&asked).await.map_err(failed)?;
        let mut fields = options.how.fields(row["project"].as_str().unwrap_or_default());
        fields.insert("rollback_from".to_owned(), json!(options.id));
        let follow = client.follow(&Value::Object(fields)).await.map_err(failed)?;
        let live = Live::of(follow.node());
        watch(follow, live, options.how.json).await
    })
}
