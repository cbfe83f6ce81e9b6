//! The same logic on sockets, disks and npm: three nodes on loopback. No outcome depends on how fast the machine is.

#[path = "real/judged.rs"]
mod judged;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use drydock::{
    deploy::{node::Node, recorder::Upload},
    env::{Accepted, Blobs, Child, Env, ExitStatus, Key, Listener, Network, NodeName, Output, Port, Processes, Table},
    real::{
        Config, Member, RealEnv, Secret, free_address,
        trace::{Run, RunJudgement},
    },
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::LocalSet;

/// Far longer than any of this takes: only a test that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(120);

fn secret() -> Secret {
    Secret::new("a secret of this test, long enough to pass").unwrap()
}

/// Three nodes' places on this machine.
struct Place {
    directory: TempDir,
    members: BTreeMap<NodeName, Member>,
}

impl Place {
    fn new() -> Self {
        Self::of_nodes(["n1", "n2", "n3"])
    }

    fn of_nodes(names: [&str; 3]) -> Self {
        let member = || Member { rows: free_address().unwrap(), operations: free_address().unwrap() };
        let members = names.map(|name| (NodeName::from(name), member())).into();
        Self { directory: tempfile::tempdir().unwrap(), members }
    }

    fn of(&self, node: &str) -> PathBuf {
        self.directory.path().join(node)
    }

    fn config(&self, node: &str, secret: Secret) -> Config {
        let (directory, members) = (self.of(node), self.members.clone());
        Config { name: node.into(), directory, members, secret, settings: BTreeMap::new() }
    }

    fn open(&self, node: &str) -> RealEnv {
        RealEnv::open(self.config(node, secret())).unwrap()
    }

    async fn start(&self, node: &str) -> Running {
        let env = self.open(node);
        Running { node: Node::start(env.clone()).await.unwrap(), env }
    }

    fn directories(&self) -> Vec<PathBuf> {
        self.members.keys().map(|node| self.of(node.as_str())).collect()
    }

    /// The run of all nodes, which is over once it has come to rest.
    async fn comes_to_rest(&self) -> Run {
        let mut run = Run::new(&self.directories());
        run.heals();
        assert!(run.comes_to_rest(PATIENCE).await.unwrap(), "something is under way for ever");
        run
    }
}

/// A node, with the door that its clients come to.
struct Running {
    node: Rc<Node<RealEnv>>,
    env: RealEnv,
}

impl Running {
    async fn deploy(&self, request: Value, payload: Vec<u8>) -> Result<Value, Value> {
        let client = self.env.client_asks(&request);
        let (upload, seeing) = (upload(payload).map(|upload| client.upload(upload)), client.clone());
        let answer = self.node.deploy_component(request, upload, move |event| seeing.sees(event)).await;
        client.answered(&answer);
        answer
    }
}

fn assert_sound(run: &RunJudgement) {
    let broken: Vec<_> = run.violations().map(ToString::to_string).collect();
    assert!(broken.is_empty(), "{}\n{}", broken.join("\n"), told(run));
}

/// What every invariant says, and the trace.
fn told(run: &RunJudgement) -> String {
    let verdicts = run.verdicts.iter().map(ToString::to_string);
    verdicts.chain(run.trace.entries().iter().map(ToString::to_string)).collect::<Vec<_>>().join("\n")
}

/// The invariants that found something to look at.
fn looked(run: &RunJudgement) -> Vec<&str> {
    let looked = run.verdicts.iter().filter(|verdict| verdict.judgement.checked > 0);
    looked.map(|verdict| verdict.invariant.name).collect()
}

/// Tells a test's story on a runtime of its own.
fn on_one_thread<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = LocalSet::new().block_on(&runtime, async { tokio::time::timeout(PATIENCE, story).await });
    told.expect("the story ends")
}

/// A component that depends on a package of its own tree, so that npm needs no network.
fn component() -> Vec<u8> {
    let files = [
        ("package.json", r#"{ "name": "shop", "version": "1.0.0", "dependencies": { "till": "file:./till" } }"#),
        ("till/package.json", r#"{ "name": "till", "version": "1.0.0" }"#),
        ("index.js", "module.exports = require('till');\n"),
    ];
    archive(&files)
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, format!("package/{path}"), text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn upload(payload: Vec<u8>) -> Option<Upload> {
    let pieces: Vec<_> = payload.chunks(700).map(Bytes::copy_from_slice).map(Ok).collect();
    Some(stream::iter(pieces).boxed_local())
}

fn request(project: &str) -> Value {
    json!({ "operation": "deploy_component", "project": project, "deployment_timeout": 60_000 })
}

/// Every name below `root` with what it holds.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let (name, kind) = (directory.join(entry.file_name()), entry.file_type().unwrap());
            if kind.is_dir() {
                open.push(name);
            } else if kind.is_symlink() {
                found.insert(name, fs::read_link(entry.path()).unwrap().into_os_string().into_encoded_bytes());
            } else {
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

fn npm_is_here() {
    let npm = std::process::Command::new("npm").arg("--version").output();
    assert!(npm.is_ok_and(|npm| npm.status.success()), "this test runs `npm install`: install Node.js with npm");
}

#[test]
fn a_deploy_installs_the_same_tree_on_three_nodes() {
    npm_is_here();
    let place = Place::new();
    let (answer, run) = on_one_thread(async {
        let (origin, _second, _third) = (place.start("n1").await, place.start("n2").await, place.start("n3").await);
        (origin.deploy(request("shop"), component()).await, place.comes_to_rest().await)
    });
    let (answer, judged) = (answer.unwrap(), run.judge().unwrap());
    assert_sound(&judged);
    let all = [
        "TRUTH", "PEERS", "COVER", "TERM", "ONETERM", "MONO", "CONV", "BYTES", "HASH", "BLOBREF", "PREV", "LINES",
        "TAIL", "CURSOR", "EXIT",
    ];
    assert!(all.iter().all(|name| looked(&judged).contains(name)), "{:?}", looked(&judged));
    assert_eq!(answer["message"], "Successfully deployed: shop", "{answer}");
    let trees = ["n1", "n2", "n3"].map(|node| tree(&place.of(node).join("components/shop")));
    assert!(trees[0].contains_key(Path::new("node_modules/till")), "npm has linked the package: {:?}", trees[0].keys());
    assert!(trees[0] == trees[1] && trees[1] == trees[2]);
}

#[test]
fn a_peer_that_is_down_fails_the_deploy_and_gets_the_row_when_it_comes_back() {
    let place = Place::new();
    let run = on_one_thread(async {
        let (origin, _second) = (place.start("n1").await, place.start("n2").await);
        let failure = origin.deploy(request("plain"), archive(&[("index.js", "1;\n")])).await.unwrap_err();
        assert!(failure["message"].as_str().unwrap().contains("n3"), "{failure}");
        let key: Key = failure["deployment_id"].as_str().unwrap().into();
        let third = place.open("n3");
        let _third = Node::start(third.clone()).await.unwrap();
        while !third.table().get(&key).await.unwrap().is_some_and(|row| has_ended(&row.value)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        place.comes_to_rest().await
    });
    assert_sound(&run.judge().unwrap());
}

fn has_ended(row: &[u8]) -> bool {
    let row: Value = serde_json::from_slice(row).unwrap();
    row["status"] == "failed"
}

#[test]
fn what_was_deployed_is_there_after_a_restart() {
    let place = Place::new();
    let payload = archive(&[("index.js", "1;\n")]);
    let ask = json!({ "operation": "deploy_component", "project": "plain", "replicated": false });
    let answer = on_one_thread(async { place.start("n1").await.deploy(ask, payload.clone()).await.unwrap() });
    let run = on_one_thread(async {
        let env = place.open("n1");
        let _node = Node::start(env.clone()).await.unwrap();
        let key: Key = answer["deployment_id"].as_str().unwrap().into();
        let row = env.table().get(&key).await.unwrap().unwrap();
        let blob = env.blobs().read(row.blob.unwrap(), 0, 1 << 20).await.unwrap();
        assert_eq!(blob, payload);
        place.comes_to_rest().await
    });
    assert_sound(&run.judge().unwrap());
    assert_eq!(fs::read(place.of("n1").join("components/plain/index.js")).unwrap(), b"1;\n");
}

#[test]
fn strangers_are_refused_and_members_are_served_on() {
    let place = Place::new();
    let address = place.members[&NodeName::from("n1")].operations;
    on_one_thread(async {
        let env = place.open("n1");
        let mut listener = env.network().listen(Port::Operations).await.unwrap();
        // One says nothing, one says half of something, others say nonsense; all at once, and more than a node listens to.
        let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut nonsense: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
        nonsense.iter_mut().for_each(|stream| drop(stream.write_all(&[0xff; 1 << 16])));
        let mut half = TcpStream::connect(address).unwrap();
        half.write_all(b"drydock1").unwrap();
        let other = Secret::new("another secret, of another cluster, also long").unwrap();
        let impostor = RealEnv::open(place.config("n3", other)).unwrap();
        let member = place.open("n2");
        let (from, to) = (NodeName::from("n2"), NodeName::from("n1"));
        let story = async {
            let refused = impostor.network().connect(&to, Port::Operations).await;
            assert!(refused.is_err(), "who knows another secret is refused");
            member.network().connect(&to, Port::Operations).await.unwrap()
        };
        let (accepted, _mine) = tokio::join!(listener.accept(), story);
        let Accepted { peer, .. } = accepted.unwrap();
        assert_eq!(peer, from, "the member is let in, by its name, and nobody else was");
        drop((silent, half));
        // What came of nonsense is the end of its connection, and not a word in answer.
        for mut stream in nonsense {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard);
            assert!(heard.is_empty());
        }
    });
}

/// Runs a shell script on a node: what it wrote, and how it ended.
fn run(script: &str) -> (Vec<u8>, ExitStatus) {
    let place = Place::new();
    on_one_thread(async {
        let command = drydock::env::Command {
            program: "sh".to_owned(),
            args: vec!["-c".to_owned(), script.to_owned()],
            directory: PathBuf::new(),
        };
        let mut child = place.open("n1").processes().spawn(&command).await.unwrap();
        let mut written = Vec::new();
        loop {
            match child.next().await.unwrap() {
                Output::Chunk(_, bytes) => written.extend_from_slice(&bytes),
                Output::Exit(status) => return (written, status),
            }
        }
    })
}

#[test]
fn a_process_is_over_when_its_leader_is_whatever_it_leaves_behind() {
    for left in ["yes &", "setsid sh -c 'yes' &", "setsid sleep 20 &"] {
        assert_eq!(run(&format!("{left} exit 3")).1, ExitStatus::Code(3), "{left}");
    }
}

#[test]
fn what_a_process_wrote_before_its_end_is_read() {
    let (written, status) = run("head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2");
    assert_eq!((written.len(), status), (120_000, ExitStatus::Code(0)));
}

#[test]
fn a_killed_installer_takes_its_whole_group_along() {
    let place = Place::new();
    on_one_thread(async {
        let env = place.open("n1");
        let script = "sleep 1000 & echo $!; wait".to_owned();
        let command = drydock::env::Command {
            program: "sh".to_owned(),
            args: vec!["-c".to_owned(), script],
            directory: PathBuf::new(),
        };
        let mut child = env.processes().spawn(&command).await.unwrap();
        let Output::Chunk(_, printed) = child.next().await.unwrap() else { panic!("it prints first") };
        let grandchild = String::from_utf8(printed.to_vec()).unwrap();
        let state = PathBuf::from(format!("/proc/{}/stat", grandchild.trim()));
        assert!(state.exists());
        child.kill_group().await.unwrap();
        // Until whoever adopted it has taken note, a dead process is a zombie.
        while fs::read_to_string(&state).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}
