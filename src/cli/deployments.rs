//! `drydock deployments` and `drydock tail`: what was deployed, and how one deployment goes.

use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    exit::{Exit, Failure},
    live::Live,
    node::tell,
    output::{self, count, duration, printable, things},
    remote::{NodeOptions, failed, watch},
};
use crate::real::wall_clock_ms;

#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    /// Only those of this project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Only those of this status, such as success, failed or replicating
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Only those begun since then: a time, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<u64>,
    /// Only those begun until then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<u64>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u64,
    /// Pass over so many of the newest
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeOptions,
}

#[derive(Clone, Debug, Args)]
pub(super) struct TailOptions {
    /// The deployment
    id: Uuid,
    /// Print one JSON object at the end instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeOptions,
}

/// A moment as operators write it, epoch ms.
fn moment(text: &str) -> Result<u64, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(wall_clock_ms().saturating_sub(ago.as_millis() as u64));
    }
    let time = humantime::parse_rfc3339_weak(text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let time = time.ok_or("write a time as 2026-01-31T12:00:00Z, or how long ago it was as 2h or 3days")?;
    Ok(time.as_millis() as u64)
}

pub(super) fn run(options: &Options) -> Result<Exit, Failure> {
    let client = options.node.client()?;
    let request = json!({
        "operation": "list_deployments", "project": options.project, "status": options.status,
        "since": options.since, "until": options.until, "limit": options.limit, "offset": options.offset,
    });
    let list = tell(async { client.ask(&request).await.map_err(failed) })?;
    output::print(&if options.json { format!("{list}\n") } else { render(&list) })?;
    Ok(Exit::Sound)
}

fn render(list: &Value) -> String {
    let rows = list["deployments"].as_array().map(Vec::as_slice).unwrap_or_default();
    let total = list["total"].as_u64().unwrap_or_default();
    if rows.is_empty() {
        return format!("None of {}.\n", things(total, "deployment"));
    }
    let header = ["deployment", "project", "status", "origin", "peers", "begun", "took#"];
    let table = output::table(&header, rows.iter().map(line));
    format!("{table}\n\n{} of {}.\n", count(rows.len() as u64), things(total, "deployment"))
}

fn line(row: &Value) -> Vec<String> {
    let text = |name: &str| printable(row[name].as_str().unwrap_or_default());
    let peers = row["peer_results"].as_array().map(Vec::as_slice).unwrap_or_default();
    let well = peers.iter().filter(|peer| peer["status"] == "success").count();
    let begun = row["started_at"].as_u64().unwrap_or_default();
    let took = row["completed_at"].as_u64().map(|ended| duration(ended.saturating_sub(begun) as f64 / 1e3));
    vec![
        text("deployment_id"),
        text("project"),
        text("status"),
        text("origin_node"),
        if peers.is_empty() { String::new() } else { format!("{well} of {}", peers.len()) },
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(begun)).to_string(),
        took.unwrap_or_default(),
    ]
}

pub(super) fn tail(options: &TailOptions) -> Result<Exit, Failure> {
    let client = options.node.client()?;
    let request = json!({ "operation": "get_deployment", "deployment_id": options.id });
    tell(async {
        let row = client.ask(&request).await.map_err(failed)?;
        let follow = client.follow(&request).await.map_err(failed)?;
        let live = Live::of(row["origin_node"].as_str().unwrap_or("?"));
        watch(follow, live, options.json).await
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago_it_was() {
        assert_eq!(moment("1970-01-01T00:00:01Z").unwrap(), 1_000);
        assert!(moment("2h").unwrap() > 1_000);
        assert!(moment("yesterday").unwrap_err().contains("2h"));
    }

    #[test]
    fn the_table_of_a_list() {
        let row = |id, status, ended: Option<u64>| {
            json!({
                "deployment_id": id, "project": "shop", "status": status, "origin_node": "n1", "started_at": 1_000,
                "completed_at": ended, "peer_results": [{ "node": "n2", "status": "success" }, { "node": "n3", "status": "failed" }],
            })
        };
        let list =
            json!({ "deployments": [row("d-2", "installing", None), row("d-1", "failed", Some(2_500))], "total": 7 });
        insta::assert_snapshot!(render(&list));
        assert_eq!(render(&json!({ "deployments": [], "total": 0 })), "None of 0 deployments.\n");
    }
}
