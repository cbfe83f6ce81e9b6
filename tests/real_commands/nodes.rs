//! Node processes of a test.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use drydock::real::free_address;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::web::{self, Response};

/// Far longer than any of this takes: only a test that hangs meets it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const TOKEN: &str = "a-token-of-this-test";

/// Waits for something that will be.
#[expect(clippy::disallowed_methods, reason = "a test on real processes waits in real time")]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come about");
        sleep(Duration::from_millis(10));
    }
}

/// A cluster's directory, and its running nodes.
pub(crate) struct Nodes {
    pub(crate) folder: TempDir,
    addresses: Vec<[SocketAddr; 3]>,
    children: Vec<Child>,
}

impl Nodes {
    /// So many nodes, named n1 and so on, all serving.
    pub(crate) fn start(count: usize) -> Self {
        let mut nodes = Self::configured(count);
        for number in 1..=count {
            let child = nodes.command(number).stderr(Stdio::null()).spawn().unwrap();
            nodes.children.push(child);
        }
        for number in 1..=count {
            eventually("a node that serves", || web::answers(nodes.api(number)));
        }
        nodes
    }

    /// Their configuration, and none of them running.
    pub(crate) fn configured(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let addresses: Vec<_> = (0..count).map(|_| [(); 3].map(|()| free_address().unwrap())).collect();
        let members = addresses.iter().enumerate().map(|(index, [rows, operations, _])| {
            format!("[members.n{}]\nrows = \"{rows}\"\noperations = \"{operations}\"\n", index + 1)
        });
        let members: String = members.collect();
        for (index, [_, _, api]) in addresses.iter().enumerate() {
            let name = format!("n{}", index + 1);
            let head = format!("name = \"{name}\"\ndirectory = \"{name}\"\nsecret = \"{}\"\n", "s".repeat(32));
            let api = format!("[api]\naddress = \"{api}\"\ntoken_file = \"token\"\n");
            fs::write(folder.path().join(format!("{name}.toml")), head + &api + &members).unwrap();
        }
        fs::write(folder.path().join("token"), format!("{TOKEN}\n")).unwrap();
        Self { folder, addresses, children: Vec::new() }
    }

    fn command(&self, number: usize) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drydock"));
        command.args(["node", "--config"]).arg(self.folder.path().join(format!("n{number}.toml"))).stdin(Stdio::null());
        command
    }

    /// Starts a node that is expected not to last.
    pub(crate) fn run(&self, number: usize) -> Output {
        self.command(number).output().unwrap()
    }

    pub(crate) fn api(&self, number: usize) -> SocketAddr {
        self.addresses[number - 1][2]
    }

    /// Where a node takes rows and operations from members.
    pub(crate) fn doors(&self, number: usize) -> [SocketAddr; 2] {
        let [rows, operations, _] = self.addresses[number - 1];
        [rows, operations]
    }

    pub(crate) fn url(&self, number: usize) -> String {
        format!("http://{}", self.api(number))
    }

    pub(crate) fn directory(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("n{number}"))
    }

    pub(crate) fn child(&mut self, number: usize) -> &mut Child {
        &mut self.children[number - 1]
    }

    pub(crate) fn ask(&self, number: usize, request: &Value) -> Response {
        web::ask(self.api(number), request, "application/json")
    }

    pub(crate) fn row(&self, number: usize, id: &str) -> Value {
        self.ask(number, &json!({ "operation": "get_deployment", "deployment_id": id })).json()
    }

    /// Every file that an upload or an install has left on a node, but for what is live.
    pub(crate) fn remains(&self, number: usize) -> Vec<PathBuf> {
        let files = |path: &str| {
            let read = fs::read_dir(self.directory(number).join(path)).into_iter().flatten();
            read.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        };
        [files("store/blobs"), files("staging"), files("components")].concat()
    }

    /// Runs a command against a node.
    pub(crate) fn drydock(&self, number: usize, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drydock"));
        command
            .args(args)
            .args(["--node", &self.url(number)])
            .env("DRYDOCK_TOKEN", TOKEN)
            .current_dir(self.folder.path());
        command.output().unwrap()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A component's directory.
pub(crate) fn component(folder: &Path, files: &[(&str, &str)]) -> PathBuf {
    let directory = folder.join("component");
    for (name, text) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

/// Files of a component that depends on a package of its own tree, so that npm needs no network.
pub(crate) const SHOP: [(&str, &str); 3] = [
    ("package.json", r#"{ "name": "shop", "version": "1.0.0", "dependencies": { "till": "file:./till" } }"#),
    ("till/package.json", r#"{ "name": "till", "version": "1.0.0" }"#),
    ("index.js", "module.exports = require('till');\n"),
];

/// A tar archive of files.
pub(crate) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, format!("package/{path}"), text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}
