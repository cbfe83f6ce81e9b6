//! `drydock cluster`: three processes, npm, and one of them killed in mid-install.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use super::nodes::{SHOP, component, eventually};

/// Runs a cluster on a component; returns its exit code, and all that it said.
fn cluster(folder: &TempDir, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drydock"));
    command.args(["cluster", "--component", "component", "--project", "shop"]).args(args);
    let output = command.current_dir(folder.path()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// A component whose first install on `node` lasts until it is killed: by then the node's operation log holds `entry` once.
/// What the kill leaves behind writes on into what the node has staged, for as long as it lives.
fn component_that_waits_on(node: &str, entry: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "case $PWD in */{node}/*) [ $(grep -c {entry} ${{PWD%%/staging/*}}/journal.jsonl) -ge 2 ] || \
         while :; do mkdir -p $PWD/again; sleep 0.05; done;; esac"
    );
    let manifest = json!({
        "name": "shop", "version": "1.0.0", "dependencies": { "till": "file:./till" }, "scripts": { "postinstall": script },
    });
    component(folder.path(), &SHOP);
    std::fs::write(folder.path().join("component/package.json"), manifest.to_string()).unwrap();
    folder
}

#[test]
fn a_component_with_a_dependency_is_installed_by_three_processes() {
    let folder = tempfile::tempdir().unwrap();
    component(folder.path(), &SHOP);
    let (code, said) = cluster(&folder, &["--deployment-timeout", "2m"]);
    assert_eq!(code, Some(0), "{said}");
    for says in ["n1   │ npm: added", "n2   │ npm: added", "n3   │ npm: added", "All as promised."] {
        assert!(said.contains(says), "{says}: {said}");
    }
}

#[test]
fn a_peer_that_is_killed_in_mid_install_fails_the_deploy_by_name_and_the_next_one_succeeds() {
    let folder = component_that_waits_on("n2", "operation_received");
    let (code, said) = cluster(&folder, &["--kill", "n2@install"]);
    assert_eq!(code, Some(0), "{said}");
    for says in
        ["1 of 2 peers did not deploy: n2: connection closed", "n2 was killed in phase install", "A second deploy"]
    {
        assert!(said.contains(says), "{says}: {said}");
    }
}

#[test]
fn an_origin_that_is_killed_in_mid_install_leaves_a_failed_row_and_its_tail_ends_with_an_error() {
    let folder = component_that_waits_on("n1", "prepare");
    let (code, said) = cluster(&folder, &["--kill", "n1@install"]);
    assert_eq!(code, Some(0), "{said}");
    for says in ["The deploy's stream broke off", "the tail on n2 ended: the origin restarted", "A second deploy"] {
        assert!(said.contains(says), "{says}: {said}");
    }
}

#[test]
fn an_origin_without_peers_that_is_killed_in_mid_install_is_judged_without_a_tail() {
    let folder = component_that_waits_on("n1", "prepare");
    let (code, said) = cluster(&folder, &["--nodes", "1", "--kill", "n1@install"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("n1 was killed in phase install") && said.contains("All as promised."), "{said}");
}

#[test]
fn a_cluster_that_is_told_to_stop_lets_its_nodes_stop_and_their_installers_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = json!({
        "name": "shop", "version": "1.0.0", "scripts": { "postinstall": "echo $$ > $NOTE && exec sleep 600" },
    });
    component(folder.path(), &[("package.json", &manifest.to_string())]);
    let note = folder.path().join("note");
    let mut command = Command::new(env!("CARGO_BIN_EXE_drydock"));
    command.args(["cluster", "--component", "component", "--nodes", "1"]).current_dir(folder.path());
    // All that it leaves behind goes with the folder.
    let cluster = command.env("TMPDIR", folder.path()).env("NOTE", &note).stderr(Stdio::piped()).spawn().unwrap();
    let mut installer = String::new();
    eventually("an installer at work", || {
        installer = std::fs::read_to_string(&note).unwrap_or_default();
        installer.ends_with('\n')
    });
    kill_process(Pid::from_child(&cluster), Signal::TERM).unwrap();

    let ended = cluster.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(2) && said.contains("interrupted by SIGTERM"), "{said}");
    let place = said.lines().find_map(|line| line.split_once("logs and directories of the nodes: ")).unwrap().1;
    let log = std::fs::read_to_string(Path::new(place).join("n1.log")).unwrap();
    assert!(log.contains("n1 stops: its starter is gone"), "{log}");
    eventually("the end of the installer", || !Path::new("/proc").join(installer.trim()).exists());
}

#[test]
fn a_kill_that_cannot_come_about_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    component(folder.path(), &SHOP);
    for (kill, says) in
        [("n9@install", "there is no node `n9`"), ("n2@replicate", "no phase `replicate`"), ("n2", "NODE@PHASE")]
    {
        let (code, said) = cluster(&folder, &["--kill", kill]);
        assert!(code == Some(2) && said.contains(says), "{said}");
    }
}
