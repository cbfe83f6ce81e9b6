//! A story that nobody wrote: any cluster, one to four deploys of up to three projects from any nodes, one after another
//! or all at once, with any options, and with readers in between.
//!
//! Simulates the clusters that the other stories do not think of. Fails when any promise is broken: it has none of its own.

use std::{cell::RefCell, rc::Rc, time::Duration};

use futures_util::{
    StreamExt,
    future::{LocalBoxFuture, join_all},
    stream::FuturesUnordered,
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::client_leaves::any_byte;
use crate::{
    check::NodeIndex,
    deploy::retention::{PAYLOAD_BYTES_MAX, PAYLOADS_KEPT},
    env::ExitStatus,
    sim::{
        cluster::{Cluster, Deploy},
        dashboard::Dashboard,
        process::Script,
        reader::Habit,
        scenario::Scenario,
        scripts,
    },
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "mixed",
    summary: "two to seven nodes, up to four deploys and rollbacks of up to three projects, readers: all by choice",
    other_sizes: &[2, 4, 5, 6, 7],
    tell: |cluster| Box::pin(tell(cluster)),
};

/// The projects; the first one's name ends another's.
const PROJECTS: [&str; 3] = ["shop", "web-shop", "mail"];

/// Where the races of a deploy that is asked for while another runs are, in milliseconds.
const LATE_MS: [u64; 9] = [0, 1, 3, 6, 10, 15, 25, 60, 3_000];

/// The deploys of a run that have succeeded.
#[derive(Clone, Default)]
struct Past(Rc<RefCell<Vec<Succeeded>>>);

#[derive(Clone)]
struct Succeeded {
    number: u32,
    project: &'static str,
    id: Value,
    manifest: Option<(&'static str, Value)>,
}

async fn tell(cluster: Cluster) {
    cluster.set(PAYLOADS_KEPT, cluster.choose_from(&[5, 1, 0, 2]));
    if cluster.choose(6) == 5 {
        cluster.set(PAYLOAD_BYTES_MAX, 1);
    }
    install_by_choice(&cluster);
    let readers = (0..cluster.choose(4)).map(|number| reader(&cluster, number)).collect::<Vec<_>>();
    cluster.read_along(deploys(&cluster), join_all(readers)).await;
}

/// What installers do in this run; one node's may be another.
fn install_by_choice(cluster: &Cluster) {
    let [all, one] = [(); 2].map(|()| cluster.choose(6));
    let odd = cluster.choose(3).checked_sub(1).map(|place| NodeIndex((place as u8).min(cluster.nodes() - 1)));
    cluster.script(move |node, _| {
        let silent =
            |ms| Script { last_pause: Duration::from_millis(ms), exit: Some(ExitStatus::Code(0)), ..Script::default() };
        Ok(match if odd == Some(node) { one } else { all } {
            0 => silent(0),
            1 => silent(15),
            2 => scripts::printing(&["added 1 p\u{e4}ckage\r\n".as_bytes(); 40], ExitStatus::Code(0)),
            3 => silent(45_000),
            4 => scripts::printing(&[b"npm error no space left\n"], ExitStatus::Code(1)),
            _ => scripts::printing(&[b"added 1 package in 1s\n"], ExitStatus::Code(0)),
        })
    });
}

/// All deploys: each begins when the one before it is over, or a little behind its beginning.
async fn deploys(cluster: &Cluster) {
    let (projects, past) = (1 + cluster.choose(3), Past::default());
    let mut at_work = FuturesUnordered::new();
    for _ in 0..1 + cluster.choose(4) {
        let project = PROJECTS[cluster.choose(projects) as usize];
        at_work.push(one(cluster, project, past.clone()));
        let late = Duration::from_millis(cluster.choose_from(&LATE_MS));
        let all_over = async { while at_work.next().await.is_some() {} };
        match cluster.choose(2) {
            0 => all_over.await,
            // Those who are at work go on.
            _ => drop(timeout(late, all_over).await),
        }
    }
    while at_work.next().await.is_some() {}
}

/// One deploy or rollback of a project.
async fn one(cluster: &Cluster, project: &'static str, past: Past) {
    let origin = any_node(cluster);
    let earlier: Vec<_> = past.0.borrow().iter().filter(|earlier| earlier.project == project).cloned().collect();
    let back = (!earlier.is_empty() && cluster.choose(4) == 3).then(|| cluster.choose_from(&earlier));
    let mut deploy = with_options(cluster, cluster.component().with("project", project));
    if let Some(earlier) = &back {
        deploy = deploy.with("rollback_from", earlier.id.clone());
        deploy.brings_back = Some(earlier.number);
        (deploy.leaves_after, deploy.manifest) = (None, earlier.manifest.clone());
    }
    let (number, manifest) = (cluster.deploys(), deploy.manifest.clone());
    if let Ok(answer) = cluster.deploy(origin, deploy).await {
        let number = back.map_or(number, |earlier| earlier.number);
        past.0.borrow_mut().push(Succeeded { number, project, id: answer["deployment_id"].clone(), manifest });
    }
}

fn with_options(cluster: &Cluster, deploy: Deploy) -> Deploy {
    let mut deploy = match cluster.choose(4) {
        1 => deploy.with("restart", true),
        2 => deploy.with("restart", "rolling"),
        _ => deploy,
    };
    deploy = match cluster.choose(12) {
        5 => deploy.with("replicated", false),
        6 => deploy.with("deployment_timeout", 50),
        7 => deploy.with("install_timeout", 20_000),
        8 => deploy.with("install_command", "CI=1 pnpm install --prod"),
        9 => deploy.with_manifest("devEngines", json!({ "packageManager": { "name": "pnpm", "onFail": "warn" } })),
        _ => deploy,
    };
    deploy.leaves_after = (cluster.choose(8) == 7).then(|| any_byte(cluster));
    deploy.hangs_up_after = cluster.choose_from(&[None, None, None, None, None, None, None, Some(4)]);
    deploy.with("ignore_replication_errors", cluster.choose(6) == 5)
}

/// Somebody who reads, or deletes what others may be reading.
fn reader(cluster: &Cluster, number: u32) -> LocalBoxFuture<'static, ()> {
    let (node, what) = (any_node(cluster), cluster.choose(4));
    let late = Duration::from_millis(cluster.choose_from(&[0, 5, 20, 60, 200]));
    let pause = Duration::from_millis(cluster.choose_from(&[1, 0, 20]));
    let cluster = cluster.clone();
    Box::pin(async move {
        match what {
            0 => cluster.tail_newest(node, Habit { reader: number, late, pause, leaves_after: None }).await,
            1 => {
                sleep(late).await;
                cluster.download_newest(node, number, pause).await;
            }
            2 => {
                sleep(late).await;
                let pause = pause + Duration::from_millis(2);
                cluster.look_around(node, Dashboard { reader: number, looks: 12, pause }).await;
            }
            _ => {
                sleep(late).await;
                let listed = cluster.deployments(node).await;
                if let Some(id) = listed.last().and_then(|row| row["deployment_id"].as_str()) {
                    cluster.delete_payload(node, number, id).await;
                }
            }
        }
    })
}

fn any_node(cluster: &Cluster) -> NodeIndex {
    NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8)
}
