//! What the commands for running nodes have in common: which node, and the token it wants.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::{
    config::read_secret,
    exit::{Exit, Failure},
    live::Live,
    output,
};
use crate::{
    client::{Address, Client, ClientError, Follow},
    deploy::client::ClientExit,
};

/// Where a token comes from when no file is named: an argument could be seen by every user of the machine.
const TOKEN_VARIABLE: &str = "DRYDOCK_TOKEN";

/// Which node is asked.
#[derive(Clone, Debug, Args)]
pub(super) struct NodeOptions {
    /// The API of a running node
    #[arg(long, value_name = "URL", env = "DRYDOCK_NODE", default_value = "http://127.0.0.1:9925")]
    node: Address,
    /// The file that holds the node's token [default: the token is that of the variable DRYDOCK_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl NodeOptions {
    /// A client that shows the token.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let token = match &self.token_file {
            Some(path) => read_secret(path).map_err(|why| Failure::Usage(format!("--token-file: {why}")))?,
            None => std::env::var(TOKEN_VARIABLE).map_err(|_| {
                Failure::Usage(format!("the node wants a token: set {TOKEN_VARIABLE}, or --token-file"))
            })?,
        };
        Ok(Client::new(self.node.clone(), token))
    }
}

/// How a command failed that a node did not carry out.
pub(super) fn failed(error: ClientError) -> Failure {
    Failure::usage(error)
}

/// Shows a stream to its end, and says how it ended.
pub(super) async fn watch(mut follow: Follow, mut live: Live, json: bool) -> Result<Exit, Failure> {
    while let Some(told) = follow.next().await {
        live.see(&told);
    }
    live.finish();
    let exit = follow.exit();
    if exit == ClientExit::Lost {
        let cause = follow.broken().unwrap_or_else(|| "it ended".to_owned());
        output::error_line(&format!(
            "the stream broke off before it told how the deployment ended: {cause}; see `drydock deployments`"
        ));
    } else {
        output::print(&if json { format!("{}\n", live.end().unwrap_or(&Value::Null)) } else { live.verdict() })?;
    }
    Ok(exit.into())
}
