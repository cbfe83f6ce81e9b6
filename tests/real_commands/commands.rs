//! The commands against running nodes: exit codes, and what an operator reads.

use std::{fs, os::unix::fs::symlink, process::Output};

use serde_json::Value;

use super::nodes::{Nodes, SHOP, component};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn ended(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_component_is_deployed_listed_tailed_and_rolled_back() {
    let nodes = Nodes::start(2);
    let directory = component(nodes.folder.path(), &SHOP);
    symlink("nowhere", directory.join("dangling")).unwrap();

    let (code, _, live) =
        ended(&nodes.drydock(1, &["deploy", "--project", "shop", "component", "--user", "ann", "--json"]));
    assert_eq!(code, Some(0), "{live}");
    assert!(
        live.contains("n1   │ install") && live.contains("n2   │ npm: ") && live.contains("n2   │ deployed"),
        "{live}"
    );
    for number in [1, 2] {
        let build = nodes.directory(number).join("components/shop");
        assert_eq!(
            fs::read_link(build.join("dangling")).unwrap().to_str(),
            Some("nowhere"),
            "a link is kept as a link"
        );
        assert!(build.join("node_modules/till/package.json").exists() && build.join("till/package.json").exists());
    }

    let (code, list, _) = ended(&nodes.drydock(2, &["deployments", "--json", "--project", "shop"]));
    let list: Value = serde_json::from_str(&list).unwrap();
    let id = list["deployments"][0]["deployment_id"].as_str().unwrap().to_owned();
    assert_eq!((code, &list["total"], &list["deployments"][0]["user"]), (Some(0), &1.into(), &"ann".into()));
    let (code, table, _) = ended(&nodes.drydock(2, &["deployments"]));
    assert!(code == Some(0) && table.contains(&id) && table.contains("1 of 1 deployment."), "{table}");

    let (code, verdict, tail) = ended(&nodes.drydock(2, &["tail", &id]));
    assert!(code == Some(0) && tail.contains("n1   │ replicate") && verdict.contains("Deployed: "), "{tail}{verdict}");

    let (code, verdict, _) = ended(&nodes.drydock(1, &["rollback", &id]));
    assert!(code == Some(0) && verdict.contains("Deployed: "), "{verdict}");
    let (_, list, _) = ended(&nodes.drydock(1, &["deployments", "--json"]));
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["deployments"][0]["rollback_of"], *id);
}

#[test]
fn exit_code_0_says_that_the_deployment_succeeded_and_nothing_else_does() {
    let nodes = Nodes::start(1);
    let broken = [("package.json", r#"{ "name": "x", "scripts": { "postinstall": "exit 3" } }"#)];
    component(nodes.folder.path(), &broken);
    let deploy = ["deploy", "--project", "x", "component"];
    let (code, verdict, _) = ended(&nodes.drydock(1, &deploy));
    assert!(code == Some(1) && verdict.contains("Failed in phase install"), "{verdict}");

    let failures: [&[&str]; 5] = [
        &["deploy", "--project", "../x", "component"],
        &["deploy", "--project", "x", "missing"],
        &["deploy", "--project", "x", "component", "--token-file", "missing"],
        &["tail", "6f1b2ad0-54b4-4f5e-8c2c-0a2f3f2f9f10"],
        &["deployments", "--status", "done"],
    ];
    for args in failures {
        let (code, out, told) = ended(&nodes.drydock(1, args));
        assert!(code == Some(2) && out.is_empty() && told.lines().count() == 1, "{args:?}: {code:?} {told}");
    }
    let url = nodes.url(1);
    drop(nodes);
    let gone = Nodes::configured(1);
    component(gone.folder.path(), &broken);
    let (code, _, told) = ended(&gone.drydock(1, &deploy));
    assert!(code == Some(2) && told.contains("is the node running?"), "{url}: {told}");
}

#[test]
fn a_node_stops_when_it_is_told_and_says_why_it_does_not_start() {
    let mut nodes = Nodes::start(1);
    let in_use = nodes.run(1);
    let (code, _, told) = ended(&in_use);
    assert!(code == Some(2) && told.contains("is in use by another node"), "{told}");

    let config = nodes.folder.path().join("n1.toml");
    let elsewhere = fs::read_to_string(&config).unwrap().replace("directory = \"n1\"", "directory = \"other\"");
    fs::write(&config, elsewhere).unwrap();
    let (code, _, told) = ended(&nodes.run(1));
    assert!(code == Some(2) && told.contains("n1 cannot listen on 127.0.0.1:"), "{told}");

    let id = rustix::process::Pid::from_child(nodes.child(1));
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(nodes.child(1).wait().unwrap().code(), Some(0));
}
