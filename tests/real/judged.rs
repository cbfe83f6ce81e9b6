//! Real runs are judged: nodes that are killed with `kill -9`, traces that say something else than what happened, and traces
//! that cannot be read.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use drydock::{
    deploy::node::Node,
    real::{
        Config, RealEnv,
        trace::{Run, Unjudged, judge},
    },
};
use serde_json::{Value, json};

use super::{
    Place, Running, archive, assert_sound, component, looked, npm_is_here, on_one_thread, request, secret, told,
};

/// What the process of a node is told.
const TOLD: &str = "DRYDOCK_TEST_NODE";

/// Hangs where a file says so, until its node is gone.
const HANGING_INSTALL: &str =
    "if [ -e ../../../hang ]; then touch ../../../hangs; while kill -0 $PPID 2>/dev/null; do sleep 0.02; done; fi";

/// A node in a process of its own; gone when it is dropped.
struct NodeProcess(Child);

impl NodeProcess {
    /// Starts it, and waits until it can be connected to. One that is told to deploys a component.
    fn start(place: &Place, node: &str, deploys: Option<Value>) -> Self {
        let told = json!({ "name": node, "directory": place.of(node), "members": place.members, "deploys": deploys });
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "judged::is_a_node_of_its_own"]).env(TOLD, told.to_string());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let address = place.members[&node.into()].operations;
        while TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        Self(child)
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
#[ignore = "what other tests start as a process"]
fn is_a_node_of_its_own() {
    let told: Value = serde_json::from_str(&std::env::var(TOLD).expect("a test starts this")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let config = Config {
            name: told["name"].as_str().unwrap().into(),
            directory: PathBuf::from(told["directory"].as_str().unwrap()),
            members: serde_json::from_value(told["members"].clone()).unwrap(),
            secret: secret(),
            settings: Default::default(),
        };
        let env = RealEnv::open(config).unwrap();
        let running = Running { node: Node::start(env.clone()).await.unwrap(), env };
        if !told["deploys"].is_null() {
            let _ = running.deploy(told["deploys"].clone(), plain()).await;
        }
        std::future::pending::<()>().await;
    });
}

fn plain() -> Vec<u8> {
    archive(&[("package.json", r#"{ "name": "plain" }"#), ("index.js", "1;\n")])
}

fn hanging_request() -> Value {
    let mut asks = request("plain");
    asks["install_command"] = HANGING_INSTALL.into();
    asks
}

async fn until_there(path: &Path) {
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_peer_killed_in_mid_install_fails_the_deploy_and_the_next_one_succeeds() {
    let place = Place::new();
    let run = on_one_thread(async {
        let (_second, third) = (NodeProcess::start(&place, "n2", None), NodeProcess::start(&place, "n3", None));
        let origin = place.start("n1").await;
        let hang = place.of("n3").join("hang");
        fs::write(&hang, "").unwrap();
        let kill = async {
            until_there(&place.of("n3").join("hangs")).await;
            fs::remove_file(&hang).unwrap();
            drop(third);
        };
        let (failure, ()) = tokio::join!(origin.deploy(hanging_request(), plain()), kill);
        let failure = failure.unwrap_err();
        assert!(failure["message"].as_str().unwrap().contains("n3"), "{failure}");
        let _third = NodeProcess::start(&place, "n3", None);
        origin.deploy(hanging_request(), plain()).await.unwrap();
        place.comes_to_rest().await
    });
    assert_sound(&run.judge().unwrap());
}

#[test]
fn an_origin_killed_in_mid_install_comes_back_to_a_row_that_has_failed() {
    let place = Place::new();
    let run = on_one_thread(async {
        let (_second, _third) = (place.start("n2").await, place.start("n3").await);
        fs::create_dir_all(place.of("n1")).unwrap();
        fs::write(place.of("n1").join("hang"), "").unwrap();
        let origin = NodeProcess::start(&place, "n1", Some(hanging_request()));
        until_there(&place.of("n1").join("hangs")).await;
        drop(origin);
        fs::remove_file(place.of("n1").join("hang")).unwrap();
        let _origin = NodeProcess::start(&place, "n1", None);
        place.comes_to_rest().await
    });
    let judged = run.judge().unwrap();
    assert_sound(&judged);
    let text = told(&judged);
    assert!(text.contains("client loses its node") && text.contains("status failed"), "{text}");
}

/// An invariant, and what makes a trace of a calm run break it.
type Doctored = (&'static str, fn(&Place));

const DOCTORED: &[Doctored] = &[
    ("PEERS", |place| edit_rows(place, "n1", |row| drop(row["peer_results"].as_array_mut().unwrap().pop()))),
    ("TERM", |place| edit_rows(place, "n1", |row| row["status"] = json!("replicating"))),
    ("HASH", |place| edit_rows(place, "n1", |row| row["payload_hash"] = json!("00".repeat(32)))),
    ("TRUTH", |place| keep_events(place, "n3", |event| event["Renamed"]["to"] != "components/shop")),
    ("BYTES", |place| {
        edit_events(place, "n2", |event| {
            if event["Renamed"]["to"] == "components/shop" {
                event["Renamed"]["tree"] = json!("00000000000000000000000000000001");
            }
        });
    }),
    ("COVER", |place| {
        keep_events(place, "n1", |event| event["Connecting"] != json!({ "to": 2, "port": "Operations" }))
    }),
    ("LINES", |place| keep_events(place, "n2", |event| event["ProcessOutput"].is_null())),
    ("AUTHZ", |place| keep_events(place, "n1", |event| event["PutStarted"].is_null())),
    ("CONV", |place| fs::remove_file(place.of("n3").join("components/shop")).unwrap()),
    ("NOORPHAN", |place| fs::create_dir_all(place.of("n2").join("staging/forgotten")).unwrap()),
    ("EXIT", |place| {
        edit_lines(place, "n1", |line| {
            if line["what"]["client"]["did"]["exited"] == 0 {
                line["what"]["client"]["did"]["exited"] = json!(1);
            }
        });
    }),
];

#[test]
fn every_doctored_trace_of_a_real_run_breaks_what_it_belies() {
    npm_is_here();
    let calm_place = Place::new();
    let run = calm(&calm_place);
    assert_sound(&run.judge().unwrap());
    for (invariant, doctor) in DOCTORED {
        let place = copy(&calm_place);
        doctor(&place);
        let judged = run.elsewhere(&place.directories()).judge().unwrap();
        let broken: Vec<_> = judged.violations().map(|violation| violation.invariant).collect();
        assert!(broken.contains(invariant), "{invariant}: {broken:?}");
    }
}

#[test]
fn nodes_may_have_any_names() {
    let place = Place::of_nodes(["zebra", "ape", "lion"]);
    let run = on_one_thread(async {
        let (_ape, origin, _zebra) = (place.start("ape").await, place.start("lion").await, place.start("zebra").await);
        origin.deploy(request("plain"), plain()).await.unwrap();
        place.comes_to_rest().await
    });
    let judged = run.judge().unwrap();
    assert_sound(&judged);
    assert_eq!(judged.legend().as_deref(), Some("n1 is ape, n2 is lion, n3 is zebra"));
    edit_rows(&place, "lion", |row| row["peer_results"][0]["node"] = json!("lion"));
    let broken = run.judge().unwrap();
    assert!(broken.violations().any(|violation| violation.invariant == "PEERS"));
}

#[test]
fn a_payload_that_was_deleted_is_judged_by_what_it_was_and_one_that_vanished_is_not() {
    let place = Place::new();
    let run = on_one_thread(async {
        let (origin, _second, _third) = (place.start("n1").await, place.start("n2").await, place.start("n3").await);
        let answer = origin.deploy(request("plain"), plain()).await.unwrap();
        let delete = json!({ "deployment_id": answer["deployment_id"] });
        origin.node.delete_deployment_payload(&delete).await.unwrap();
        place.comes_to_rest().await
    });
    let judged = run.judge().unwrap();
    assert_sound(&judged);
    assert!(looked(&judged).contains(&"TRUTH") && looked(&judged).contains(&"BYTES"), "{}", told(&judged));
    for node in ["n1", "n2", "n3"] {
        edit_lines(&place, node, |line| {
            if !line["what"]["let_go"].is_null() {
                line["what"] = json!({ "event": "Restarted" });
            }
        });
    }
    let judged = run.judge().unwrap();
    let truth = judged.verdicts.iter().find(|verdict| verdict.invariant.name == "TRUTH").unwrap();
    assert!(matches!(&truth.unjudged, Some(Unjudged::All(why)) if why.contains("in no node's store")), "{truth}");
}

/// A deploy on three nodes that meets nothing.
fn calm(place: &Place) -> Run {
    on_one_thread(async {
        let (origin, _second, _third) = (place.start("n1").await, place.start("n2").await, place.start("n3").await);
        origin.deploy(request("shop"), component()).await.unwrap();
        place.comes_to_rest().await
    })
}

fn copy(place: &Place) -> Place {
    let copy = Place { directory: tempfile::tempdir().unwrap(), members: place.members.clone() };
    let copied = Command::new("cp").arg("-a").arg(place.directory.path().join(".")).arg(copy.directory.path()).status();
    assert!(copied.unwrap().success());
    copy
}

fn edit_lines(place: &Place, node: &str, mut edit: impl FnMut(&mut Value)) {
    let path = place.of(node).join("trace.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let edited = text.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        edit(&mut line);
        format!("{line}\n")
    });
    fs::write(path, edited.collect::<String>()).unwrap();
}

fn edit_events(place: &Place, node: &str, mut edit: impl FnMut(&mut Value)) {
    edit_lines(place, node, |line| {
        for kind in ["event", "intends"] {
            if !line["what"][kind].is_null() {
                edit(&mut line["what"][kind]);
            }
        }
    });
}

/// Events that are not kept become ones that say nothing.
fn keep_events(place: &Place, node: &str, keep: impl Fn(&Value) -> bool) {
    edit_events(place, node, |event| {
        if !keep(event) {
            *event = json!("Restarted");
        }
    });
}

/// Edits the ended rows in what a node wrote.
fn edit_rows(place: &Place, node: &str, edit: impl Fn(&mut Value)) {
    edit_events(place, node, |event| {
        for path in ["/PutStarted/draft/value", "/PutCommitted/record/value"] {
            let Some(value) = event.pointer_mut(path) else { continue };
            let mut row: Value = serde_json::from_str(value.as_str().unwrap()).unwrap();
            if row["status"] == "success" {
                edit(&mut row);
                *value = row.to_string().into();
            }
        }
    });
}

fn append(place: &Place, node: &str, text: &str) {
    let file = fs::OpenOptions::new().append(true).open(place.of(node).join("trace.jsonl"));
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn half_a_line_at_the_end_is_no_loss_and_one_in_the_middle_is_told() {
    let place = Place::new();
    on_one_thread(async {
        let ask = json!({ "operation": "deploy_component", "project": "plain", "replicated": false });
        place.start("n1").await.deploy(ask, plain()).await.unwrap();
    });
    append(&place, "n1", r#"{"at_ns":17,"what":{"ev"#);
    let judged = judge(&place.directories()).unwrap();
    assert_sound(&judged);
    let unjudged = |judged: &drydock::real::trace::RunJudgement, name| {
        let verdict = judged.verdicts.iter().find(|verdict| verdict.invariant.name == name).unwrap();
        verdict.unjudged.clone()
    };
    assert_eq!(unjudged(&judged, "TRUTH"), None);
    assert_eq!(unjudged(&judged, "CONV"), Some(Unjudged::All("the end of the run is not marked".to_owned())));
    append(&place, "n1", "\n{\"at_ns\":18,\"what\":{\"event\":\"Restarted\"}}\n");
    let judged = judge(&place.directories()).unwrap();
    let Some(Unjudged::All(why)) = unjudged(&judged, "TRUTH") else { panic!("a hole is told") };
    assert!(why.contains("cannot be read") && why.contains("n1"), "{why}");
}

#[test]
fn directories_without_a_trace_are_an_error_that_says_what_to_do() {
    let Err(error) = judge(&Place::new().directories()) else { panic!("nothing can be judged") };
    assert!(error.to_string().contains("name those of the nodes"), "{error}");
}
