//! `drydock node`: one node of a real cluster, until it is told to stop.

use std::{
    io::{self, stdin},
    net::SocketAddr,
    os::fd::AsFd,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use clap::Args;
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    runtime::{self, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    task::LocalSet,
};

use super::{
    config::{self, NodeConfig},
    exit::{Exit, Failure},
    output,
};
use crate::{
    api::{Door, Token},
    deploy::node::Node,
    env::{Env, Journal, NodeName},
    real::{Member, RealEnv},
};

/// How long what blocks (a sync, a commit) may take to end when the node stops.
const STOP_WITHIN: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    /// The node's configuration, in TOML (see the README)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Stop when standard input ends: for who starts nodes and may be killed
    #[arg(long, hide = true)]
    while_stdin: bool,
}

pub(super) fn run(options: &Options) -> Result<Exit, Failure> {
    let config = config::read(&options.config).map_err(Failure::Usage)?;
    on_one_thread(STOP_WITHIN, serve(config, options.while_stdin))
}

/// Runs the story of a command that has nothing to lose when it is over.
pub(super) fn tell<T>(story: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    on_one_thread(Duration::ZERO, story)
}

/// Runs a story of the real world: on one thread, which only calls that block leave. What blocks at its end may take so
/// long.
fn on_one_thread<T>(stop_within: Duration, story: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime: Runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::internal)?;
    let local = LocalSet::new();
    let told = local.block_on(&runtime, story);
    // Tasks end where they stand, and installers with them.
    runtime.block_on(async { drop(local) });
    runtime.shutdown_timeout(stop_within);
    told
}

async fn serve(config: NodeConfig, while_stdin: bool) -> Result<Exit, Failure> {
    let mut stop = Stop::new(while_stdin).map_err(Failure::internal)?;
    let name = config.node.name.clone();
    let reason = tokio::select! {
        biased;
        reason = stop.told() => reason,
        failure = up(config) => return Err(failure),
    };
    output::error_line(&format!("{name} stops: {reason}"));
    Ok(Exit::Sound)
}

/// Serves for as long as it is polled; returns why it cannot.
async fn up(config: NodeConfig) -> Failure {
    let NodeConfig { node, api, token } = config;
    let own = node.members[&node.name];
    let env = match RealEnv::open(node) {
        Ok(env) => env,
        Err(error) => return Failure::usage(error),
    };
    unless_it_panics(&env, serve_with(&env, own, api, token)).await
}

/// A node in which a task has panicked does not live on without it: its starter may start it again.
async fn unless_it_panics(env: &RealEnv, serving: impl Future<Output = Failure>) -> Failure {
    tokio::select! {
        biased;
        said = env.panicked() => Failure::internal(format!("{} ends, for a task of it panicked: {said}", env.node())),
        failure = serving => failure,
    }
}

async fn serve_with(env: &RealEnv, own: Member, api: SocketAddr, token: Token) -> Failure {
    let name = env.node();
    let starting = Node::start(env.clone());
    let node = match env.overheard(tell_what_fails(name.clone()), starting).await {
        Ok(node) => node,
        Err(error) => {
            return Failure::usage(format!(
                "{name} cannot listen on {} (rows) and {} (operations): {error}",
                own.rows, own.operations
            ));
        }
    };
    let door = match Door::bind(env, Rc::clone(&node), api, token).await {
        Ok(door) => door,
        Err(error) => return Failure::usage(format!("{name} cannot listen on {api} (API): {error}")),
    };
    let members = env.members().len();
    output::error_line(&format!("{name}, one of {}, serves http://{api}", output::things(members as u64, "member")));
    match door.serve().await {}
}

/// Says what fails while a node starts. It waits for devices that fail, and nobody can ask it why.
fn tell_what_fails(name: NodeName) -> impl Fn(&Journal) {
    move |entry| {
        if let Journal::Dropped { what, cause } = entry {
            output::error_line(&format!("{name} starts, and meets a failure: {what}: {cause}"));
        }
    }
}

/// What ends a node.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
    stdin: Option<pipe::Receiver>,
}

impl Stop {
    pub(super) fn new(while_stdin: bool) -> io::Result<Self> {
        let stdin = while_stdin.then(|| stdin().as_fd().try_clone_to_owned().and_then(pipe::Receiver::from_owned_fd));
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            stdin: stdin.transpose()?,
        })
    }

    /// Resolves when the node is to stop, with the reason.
    pub(super) async fn told(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = ended(&mut self.stdin) => "its starter is gone",
        }
    }
}

async fn ended(stdin: &mut Option<pipe::Receiver>) {
    let Some(stdin) = stdin else { return std::future::pending().await };
    let mut said = [0; 64];
    while stdin.read(&mut said).await.is_ok_and(|bytes| bytes > 0) {}
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, future::pending, path::Path};

    use super::*;
    use crate::real::{Config, Secret, free_address};

    fn env(directory: &Path) -> RealEnv {
        let name = NodeName::from("n1");
        let member = Member { rows: free_address().unwrap(), operations: free_address().unwrap() };
        let config = Config {
            members: BTreeMap::from([(name.clone(), member)]),
            name,
            directory: directory.to_owned(),
            secret: Secret::new("a secret of this test, long enough to pass").unwrap(),
            settings: BTreeMap::new(),
        };
        RealEnv::open(config).unwrap()
    }

    #[test]
    fn a_node_ends_when_a_task_of_it_panics() {
        let directory = tempfile::tempdir().unwrap();
        let ended = on_one_thread(STOP_WITHIN, async {
            let env = env(directory.path());
            env.start("late end".to_owned(), Box::pin(async { panic!("of no avail") })).detach();
            Err::<(), _>(unless_it_panics(&env, pending()).await)
        });
        let told = "n1 ends, for a task of it panicked: late end: of no avail";
        assert_eq!(ended, Err(Failure::Internal(told.to_owned())));
    }

    #[test]
    fn what_fails_is_overheard_while_a_node_starts_and_not_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let heard = on_one_thread(STOP_WITHIN, async {
            let env = env(directory.path());
            let heard = Rc::new(std::cell::Cell::new(0));
            let counted = Rc::clone(&heard);
            let fails = || Journal::Dropped { what: "recovery of the builds".to_owned(), cause: "denied".to_owned() };
            env.overheard(move |_| counted.set(counted.get() + 1), async { env.journal(fails()) }).await;
            env.journal(fails());
            Ok(heard.get())
        });
        assert_eq!(heard, Ok(1));
    }
}
