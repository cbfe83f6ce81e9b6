//! The API between clients that keep to the rules.

use std::{fs, io::Read, io::Write};

use drydock::api::{limits::TAILS_MAX, sse::Message};
use serde_json::{Value, json};

use super::{
    nodes::{Nodes, archive, eventually},
    web,
};

const EVENTS: &str = "text/event-stream";
const OBJECT: &str = "application/json";

/// Events by name, phases with what became of them; those that the recorded cluster did not have are left out.
fn recorded(messages: &[Message]) -> Vec<String> {
    let told = messages.iter().map(|message| {
        let data: Value = serde_json::from_str(&message.data).unwrap();
        match (data["phase"].as_str(), data["status"].as_str()) {
            (Some(phase), Some(status)) if message.event == "phase" => format!("phase {phase} {status}"),
            _ => message.event.clone(),
        }
    });
    let finer = |told: &String| ["extract", "install", "load"].iter().any(|phase| told.contains(phase));
    told.filter(|told| !finer(told)).collect()
}

#[test]
fn a_stream_has_the_events_of_the_recorded_cluster_in_its_order() {
    let nodes = Nodes::start(3);
    let plain = archive(&[("index.js", "1;\n")]);
    let success = web::deploy(nodes.api(1), "plain", &plain, EVENTS);
    assert_eq!(success.status, 200);
    // As `vectors/README.md` has it: a success without an install, on three nodes.
    let order = [
        "phase prepare start",
        "phase prepare done",
        "phase replicate start",
        "peer",
        "peer",
        "phase replicate done",
        "phase success done",
        "done",
    ];
    assert_eq!(recorded(&success.messages()), order);

    // The tail of the same deployment, on another node: the same log, and the same end.
    let done: Value = serde_json::from_str(&success.messages().last().unwrap().data).unwrap();
    let id = done["result"]["deployment_id"].as_str().unwrap();
    eventually("the row's end on n3", || nodes.row(3, id)["status"] == "success");
    let tail = web::ask(nodes.api(3), &json!({ "operation": "get_deployment", "deployment_id": id }), EVENTS);
    assert_eq!(recorded(&tail.messages()), order);
    let seqs: Vec<_> = tail.messages().iter().filter_map(|message| message.id).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "each entry once, without a gap");
}

#[test]
fn a_failure_is_the_streams_last_event_and_without_a_stream_the_body_of_a_500() {
    let nodes = Nodes::start(1);
    let broken = archive(&[
        ("package.json", r#"{ "name": "x", "main": "missing.js", "dependencies": {} }"#),
        ("node_modules/x", ""),
    ]);
    let stream = web::deploy(nodes.api(1), "broken", &broken, EVENTS);
    let messages = stream.messages();
    let failure: Value = serde_json::from_str(&messages.last().unwrap().data).unwrap();
    assert_eq!((stream.status, messages.last().unwrap().event.as_str()), (200, "error"));
    assert!(messages.iter().all(|message| message.event != "done"));
    assert_eq!((&failure["phase"], &failure["code"]), (&json!("load"), &json!("load_failed")));

    let plain = web::deploy(nodes.api(1), "broken", &broken, OBJECT);
    assert_eq!(plain.status, 500);
    assert_eq!(plain.json()["message"], failure["message"]);
    let row = nodes.row(1, plain.json()["deployment_id"].as_str().unwrap());
    assert_eq!((&row["status"], &row["error"]["message"]), (&json!("failed"), &failure["message"]));
}

#[test]
fn a_payload_comes_back_as_it_was_until_it_is_deleted() {
    let nodes = Nodes::start(2);
    let payload = archive(&[("index.js", "1;\n"), ("data.txt", &"x".repeat(300_000))]);
    let deployed = web::deploy(nodes.api(1), "plain", &payload, OBJECT).json();
    let about = |operation: &str| json!({ "operation": operation, "deployment_id": deployed["deployment_id"] });
    // From another node, where it was replicated to.
    assert!(nodes.ask(2, &about("get_deployment_payload")).body == payload);
    assert_eq!(nodes.ask(2, &about("delete_deployment_payload")).status, 200, "its origin deletes it");
    assert_eq!(nodes.ask(1, &about("delete_deployment_payload")).status, 200, "twice is fine");
    let (status, message) = nodes.ask(1, &about("get_deployment_payload")).refusal();
    assert_eq!(status, 404);
    assert!(message.contains("is gone"), "{message}");
}

/// An installer that says that it is there, and waits to be let on.
fn waiting_component(gate: &std::path::Path) -> Vec<u8> {
    let script = format!("echo at the gate; while [ ! -e {} ]; do sleep 0.02; done", gate.display());
    archive(&[("package.json", &json!({ "name": "slow", "scripts": { "postinstall": script } }).to_string())])
}

#[test]
fn a_client_that_leaves_cancels_nothing() {
    let nodes = Nodes::start(1);
    let gate = nodes.folder.path().join("gate");
    let fields: [(&str, &[u8]); 2] = [("operation", b"deploy_component"), ("project", b"slow")];
    let payload = waiting_component(&gate);
    let parts = [&fields[..], &[("payload", &payload)]].concat();

    // It leaves once the install has begun.
    let mut stream = web::connect(nodes.api(1));
    stream.write_all(&web::upload_request(&parts, EVENTS)).unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains(r#""phase":"install","status":"start""#) {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).unwrap();
        assert!(read > 0, "the stream lasts to the install");
        heard.extend_from_slice(&bytes[..read]);
    }
    drop(stream);
    fs::write(&gate, "").unwrap();

    let list = || nodes.ask(1, &json!({ "operation": "list_deployments", "project": "slow" })).json();
    eventually("the deploy's success", || list()["deployments"][0]["status"] == "success");
    assert!(nodes.directory(1).join("components/slow/package.json").exists());
}

#[test]
fn a_deletion_whose_origin_is_not_there_can_be_tried_again() {
    let mut nodes = Nodes::start(2);
    let deployed = web::deploy(nodes.api(1), "plain", &archive(&[("index.js", "1;\n")]), OBJECT).json();
    nodes.child(1).kill().unwrap();
    let delete = json!({ "operation": "delete_deployment_payload", "deployment_id": deployed["deployment_id"] });
    let (status, message) = nodes.ask(2, &delete).refusal();
    assert!(status == 503 && message.contains("try again"), "{status} {message}");
}

/// A tail that goes on: its connection, and the status of its head.
fn tail(nodes: &Nodes, id: &Value) -> (std::net::TcpStream, Vec<u8>) {
    let mut stream = web::connect(nodes.api(1));
    let request = json!({ "operation": "get_deployment", "deployment_id": id });
    stream.write_all(&web::json_request(&request, EVENTS)).unwrap();
    let mut status = vec![0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut status).unwrap();
    (stream, status)
}

#[test]
fn those_who_follow_a_deployment_leave_room_for_others() {
    let nodes = Nodes::start(1);
    let gate = nodes.folder.path().join("gate");
    let payload = waiting_component(&gate);
    let parts: [(&str, &[u8]); 3] = [("operation", b"deploy_component"), ("project", b"slow"), ("payload", &payload)];
    let mut deploy = web::connect(nodes.api(1));
    deploy.write_all(&web::upload_request(&parts, EVENTS)).unwrap();
    let list = || nodes.ask(1, &json!({ "operation": "list_deployments" })).json();
    eventually("the deployment", || list()["total"] == 1);
    let id = &list()["deployments"][0]["deployment_id"];

    let mut tails: Vec<_> = (0..TAILS_MAX).map(|_| tail(&nodes, id)).collect();
    assert!(tails.iter().all(|(_, status)| status == b"HTTP/1.1 200"));
    let refused = web::ask(nodes.api(1), &json!({ "operation": "get_deployment", "deployment_id": id }), EVENTS);
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("too_many_tails")));
    assert!(refused.head.contains("drydock-node: n1"), "{}", refused.head);
    assert_eq!(list()["total"], 1);
    // One that leaves makes room.
    tails.pop();
    eventually("room for a tail", || tail(&nodes, id).1 == b"HTTP/1.1 200");
    fs::write(&gate, "").unwrap();
}
