//! Where a cluster of processes lives: a directory of its own, free ports, a secret and a token.

use std::{
    fs, io,
    io::Write,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{client::Client, deploy::slots::ProjectName, real::free_address};

/// A cluster's place on this machine.
pub(super) struct Place {
    directory: PathBuf,
    /// Removes the directory when it is dropped.
    temporary: Option<TempDir>,
    token: String,
    nodes: Vec<Ports>,
}

/// What one node listens on.
struct Ports {
    name: String,
    rows: SocketAddr,
    operations: SocketAddr,
    api: SocketAddr,
}

impl Place {
    /// A fresh place for so many nodes, with a configuration file for each.
    pub(super) fn new(nodes: u8) -> io::Result<Self> {
        let temporary = tempfile::Builder::new().prefix("drydock-cluster-").tempdir()?;
        let directory = temporary.path().canonicalize()?;
        let token = random()?;
        let place = Self { directory, temporary: Some(temporary), token, nodes: ports(nodes)? };
        place.write("secret", &random()?)?;
        place.write("token", &place.token)?;
        for node in &place.nodes {
            place.write(&format!("{}.toml", node.name), &place.config(node))?;
        }
        Ok(place)
    }

    /// For nobody else to read.
    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.directory.join(name);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    }

    fn config(&self, node: &Ports) -> String {
        let Ports { name, api, .. } = node;
        let mut text = format!(
            "name = \"{name}\"\ndirectory = \"{name}\"\nsecret_file = \"secret\"\n\n[api]\naddress = \"{api}\"\n\
             token_file = \"token\"\n"
        );
        for Ports { name, rows, operations, .. } in &self.nodes {
            text.push_str(&format!("\n[members.{name}]\nrows = \"{rows}\"\noperations = \"{operations}\"\n"));
        }
        text
    }

    /// The names of the nodes, the origin first.
    pub(super) fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    /// The directory of all.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A node's own directory.
    pub(super) fn of(&self, node: &str) -> PathBuf {
        self.directory.join(node)
    }

    /// A node's configuration file.
    pub(super) fn config_of(&self, node: &str) -> PathBuf {
        self.directory.join(format!("{node}.toml"))
    }

    /// What a node prints.
    pub(super) fn log_of(&self, node: &str) -> PathBuf {
        self.directory.join(format!("{node}.log"))
    }

    /// A node's operation log.
    pub(super) fn journal_of(&self, node: &str) -> PathBuf {
        self.of(node).join("journal.jsonl")
    }

    /// A node's live build of a project.
    pub(super) fn live_of(&self, node: &str, project: &ProjectName) -> PathBuf {
        self.of(node).join("components").join(project.to_string())
    }

    /// A client of a node.
    ///
    /// # Panics
    /// When it is none of the cluster's.
    pub(super) fn client(&self, node: &str) -> Client {
        let node = self.nodes.iter().find(|known| known.name == node).expect("only the cluster's own nodes are asked");
        Client::new(node.api.into(), self.token.clone())
    }

    /// Leaves the directory where it is.
    pub(super) fn keep(&mut self) {
        self.temporary.take().map(TempDir::keep);
    }
}

/// Ports for so many nodes, which stay free until these have started.
fn ports(nodes: u8) -> io::Result<Vec<Ports>> {
    let ports = (1..=nodes).map(|number| {
        let name = format!("n{number}");
        Ok(Ports { name, rows: free_address()?, operations: free_address()?, api: free_address()? })
    });
    ports.collect()
}

fn random() -> io::Result<String> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(crate::deploy::hashing::hex(&random))
}
