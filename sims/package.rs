//! Deploys of packages: the origin fetches and packs each, and the archive takes the way of an upload.
//!
//! Simulates a packer that succeeds, fails, prints and leaves no archive, or leaves too much. Fails when nodes run anything but
//! what was packed, when a failure does not say what came of the packer, or when what it left stays behind.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    check::NodeIndex,
    env::{Command, ExitStatus},
    sim::{cluster::Cluster, process::Script, scenario::Scenario, scripts},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "package",
    summary: "deploys that name a package in place of an upload: the origin's packer succeeds, fails, or leaves no archive",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

async fn tell(cluster: Cluster) {
    for _ in 0..=cluster.choose(2) {
        let archives = cluster.choose_from(&[1, 1, 0, 2]);
        let exit = ExitStatus::Code(cluster.choose_from(&[0, 0, 0, 1]));
        let pause = Duration::from_secs(cluster.choose_from(&[0, 0, 90]));
        let archive = cluster.next_archive();
        let leaves_log = cluster.choose(2) == 1;
        cluster.script(move |node, command| match is_packer(command) {
            false => scripts::quiet_success(node, command),
            true => {
                let named = |number| (format!("hello-1.0.{number}.tgz"), archive.clone());
                // What else a packer leaves is no archive.
                let log = leaves_log.then(|| ("npm-debug.log".to_owned(), vec![Bytes::from_static(b"npm verbose\n")]));
                let files = (0..archives).map(named).chain(log).collect();
                Ok(Script {
                    files,
                    last_pause: pause,
                    ..scripts::printing(&[b"npm notice\n", b"hello-1.0.0.tgz\n"], exit)
                })
            }
        });
        let deploy = cluster.component().packed("hello@^1.0.0", archives);
        let deploy = match cluster.choose(4) {
            0..=2 => deploy,
            _ => deploy.with("install_timeout", 60_000),
        };
        let origin = NodeIndex(cluster.choose(u32::from(cluster.nodes())) as u8);
        let _ = cluster.deploy(origin, deploy).await;
    }
    cluster.settle().await;
}

fn is_packer(command: &Command) -> bool {
    command.args.first().is_some_and(|arg| arg == "pack")
}
