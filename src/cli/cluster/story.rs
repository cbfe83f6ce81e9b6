//! What happens in a cluster, in order.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::pin,
    time::Duration,
};

use futures_util::future::{Either, select};
use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{
    findings::{self, Findings, NodeState},
    kill::{JournalTail, Kill},
    place::Place,
    process::{NodeProcess, Processes},
    trees::Tree,
};
use crate::{
    cli::{
        exit::{Exit, Failure},
        live::{Announcer, Live},
        output::{self, printable, things},
    },
    client::{Component, Upload},
    deploy::{client::ClientExit, slots::ProjectName},
    real::trace::Run,
};

/// How often a tail tries again to attach to a deployment whose row is still on its way.
const ATTACH_EVERY: Duration = Duration::from_millis(20);

/// How long it may take to attach and to end, once the node that was killed serves again.
const TAIL_ENDS_WITHIN: Duration = findings::AT_REST_WITHIN;

/// What is deployed, and who dies.
pub(super) struct Plan {
    pub(super) component: Component,
    pub(super) project: ProjectName,
    pub(super) kill: Option<Kill>,
    /// How long a peer has to get the payload, unless it is the default.
    pub(super) deployment_timeout: Option<Duration>,
}

/// A cluster's story.
pub(super) struct Story<'a> {
    place: &'a Place,
    plan: &'a Plan,
    names: Vec<String>,
    findings: Findings,
    /// Of the deploy that is under way.
    announcer: RefCell<Announcer>,
}

/// How a deploy's stream ended.
struct Deployed {
    exit: ClientExit,
    /// What it said last.
    end: Value,
}

impl<'a> Story<'a> {
    pub(super) fn new(place: &'a Place, plan: &'a Plan) -> Self {
        Self { place, plan, names: place.names(), findings: Findings::default(), announcer: RefCell::default() }
    }

    fn origin(&self) -> &str {
        &self.names[0]
    }

    fn say(&self, text: &str) {
        self.announcer.borrow().say(text);
    }

    /// Tells it to its end.
    ///
    /// The nodes that it starts are in `processes`, whatever becomes of it.
    pub(super) async fn tell(mut self, processes: &mut Processes) -> Result<Exit, Failure> {
        self.start(processes).await.map_err(Failure::Usage)?;
        let component = findings::of_component(&self.plan.component).await.map_err(Failure::usage)?;
        match &self.plan.kill {
            None => self.deploy_and_judge(&component).await?,
            Some(kill) => {
                self.deploy_and_kill(kill, processes, &component).await?;
                output::print("\nA second deploy:\n\n")?;
                self.deploy_and_judge(&component).await?;
            }
        }
        let run = self.come_to_rest().await?;
        self.stop(processes).await;
        // The nodes have stopped: what each recorded in its directory is whole now.
        self.judge_traces(&run)?;
        self.verdict()
    }

    async fn start(&self, processes: &mut Processes) -> Result<(), String> {
        for name in &self.names {
            processes.insert(name.clone(), NodeProcess::start(self.place, name)?);
        }
        for (name, process) in processes {
            process.serves(&self.place.client(name)).await.map_err(|why| self.with_log(name, &why))?;
        }
        let count = things(self.names.len() as u64, "node");
        self.say(&format!("{count} up; {} serves {}", self.origin(), self.place.client(self.origin()).address()));
        Ok(())
    }

    /// What the node itself said last says more.
    fn with_log(&self, name: &str, why: &str) -> String {
        let log = std::fs::read_to_string(self.place.log_of(name)).unwrap_or_default();
        format!("{why}: {}", log.lines().next_back().unwrap_or("it said nothing"))
    }

    /// A deploy that nothing disturbs: it must succeed, and leave the same build everywhere.
    async fn deploy_and_judge(&mut self, component: &Tree) -> Result<(), Failure> {
        let deployed = self.deploy().await?;
        let what = || format!("the deploy did not succeed: {}", deployed.end["message"]);
        self.findings.expect(deployed.exit == ClientExit::Success, what);
        let id = &deployed.end["result"]["deployment_id"];
        let Some(id) = id.as_str().and_then(|id| id.parse().ok()) else { return Ok(()) };
        let states = self.at_rest(id).await?;
        findings::judge(&states, component, &mut self.findings);
        findings::judge_equal(&states, &mut self.findings);
        output::print(&format!("\n{}\n", table(&states)))
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("operation".to_owned(), json!("deploy_component"));
        fields.insert("project".to_owned(), json!(self.plan.project.to_string()));
        if let Some(timeout) = self.plan.deployment_timeout {
            fields.insert("deployment_timeout".to_owned(), json!(timeout.as_secs_f64() * 1e3));
        }
        fields
    }

    async fn deploy(&self) -> Result<Deployed, Failure> {
        let upload = Upload::new(self.fields(), self.plan.component.clone()).map_err(Failure::internal)?;
        let mut live = Live::of(self.origin());
        *self.announcer.borrow_mut() = live.announcer();
        let followed = self.place.client(self.origin()).upload(upload).await;
        let mut follow = followed.map_err(Failure::usage)?;
        while let Some(told) = follow.next().await {
            live.see(&told);
        }
        live.finish();
        match follow.exit() {
            ClientExit::Lost => {
                let cause = follow.broken().unwrap_or_else(|| "it ended".to_owned());
                output::print(&format!("The deploy's stream broke off: {}\n", printable(&cause)))?;
            }
            _ => output::print(&live.verdict())?,
        }
        Ok(Deployed { exit: follow.exit(), end: live.end().cloned().unwrap_or_default() })
    }

    /// A deploy in which a node dies and comes back.
    async fn deploy_and_kill(
        &mut self,
        kill: &Kill,
        processes: &mut Processes,
        component: &Tree,
    ) -> Result<(), Failure> {
        let (deployed, death) = self.deploy_while_killing(kill, processes).await?;
        let Some(Death { id, tail }) = death else {
            self.findings
                .add(format!("{} was never seen at work in phase {}: nobody was killed", kill.node, kill.phase));
            return Ok(());
        };
        output::print(&format!("\n{} was killed in phase {}, and has been started again.\n\n", kill.node, kill.phase))?;
        let states = self.at_rest(id).await?;
        findings::judge(&states, component, &mut self.findings);
        self.judge_death(kill, &deployed, &states, tail);
        output::print(&format!("{}\n", table(&states)))
    }

    /// What came of the deploy, and of the death, if it came to that before the deploy's end.
    async fn deploy_while_killing(
        &self,
        kill: &Kill,
        processes: &mut Processes,
    ) -> Result<(Deployed, Option<Death>), Failure> {
        let is_dying = Cell::new(false);
        let (deploy, death) = (pin!(self.deploy()), pin!(self.kill(kill, processes, &is_dying)));
        let (deployed, death) = match select(deploy, death).await {
            Either::Left((deployed, death)) if is_dying.get() => (deployed?, death.await),
            Either::Left((deployed, _)) => return Ok((deployed?, None)),
            Either::Right((Err(why), _)) => return Err(Failure::Usage(why)),
            Either::Right((death, deploy)) => (deploy.await?, death),
        };
        Ok((deployed, Some(death.map_err(Failure::Usage)?)))
    }

    fn judge_death(&mut self, kill: &Kill, deployed: &Deployed, states: &[NodeState], tail: Tail) {
        match kill.is_of_origin(&self.names) {
            true => self.judge_death_of_origin(deployed, states, tail),
            false => self.judge_death_of_peer(kill, deployed, states),
        }
    }

    fn judge_death_of_origin(&mut self, deployed: &Deployed, states: &[NodeState], tail: Tail) {
        let (row, findings) = (states[0].row(), &mut self.findings);
        findings.expect(row == "failed", || format!("the origin died, and its row is {row}"));
        findings.expect(deployed.exit != ClientExit::Success, || "the origin died, and told of success".to_owned());
        match tail {
            Tail::Unattached | Tail::Ended(ClientExit::Failure) => {}
            Tail::Ended(exit) => findings.add(format!("the tail on a peer ended with {exit:?}, not an error")),
            Tail::Endless => {
                let seconds = TAIL_ENDS_WITHIN.as_secs();
                findings.add(format!("the tail on a peer had not ended {seconds} s after the origin came back"));
            }
        }
    }

    fn judge_death_of_peer(&mut self, kill: &Kill, deployed: &Deployed, states: &[NodeState]) {
        let (row, findings) = (states[0].row(), &mut self.findings);
        let told = match deployed.exit {
            ClientExit::Success => "success",
            ClientExit::Failure => "failed",
            ClientExit::Lost => "nothing",
        };
        findings.expect(told == row, || format!("the client was told {told}, and the row is {row}"));
        let message = deployed.end["message"].as_str().unwrap_or_default();
        let names_it = message.contains(&kill.node) || deployed.exit == ClientExit::Success;
        findings.expect(names_it, || format!("the failure does not name {}: {message}", kill.node));
    }

    /// Kills a node in a phase, and starts it again. With the origin a tail on another node must see how it ends.
    async fn kill(&self, kill: &Kill, processes: &mut Processes, is_dying: &Cell<bool>) -> Result<Death, String> {
        let watching = |error: io::Error| format!("the operation log of {} cannot be read: {error}", kill.node);
        let mut journal = JournalTail::of(self.place.journal_of(&kill.node));
        let id = JournalTail::of(self.place.journal_of(&kill.node)).deployment().await.map_err(watching)?;
        let other = self.names.iter().find(|name| **name != kill.node).filter(|_| kill.is_of_origin(&self.names));
        let tail = async {
            match other {
                Some(other) => Tail::Ended(self.tail(other, id).await),
                None => Tail::Unattached,
            }
        };
        let die = async {
            journal.works_in(&kill.phase, &self.place.of(&kill.node).join("staging")).await.map_err(watching)?;
            let process = processes.get_mut(&kill.node).expect("the plan names a node of the cluster");
            is_dying.set(true);
            process.kill().await?;
            self.say(&format!("{} is killed (-9) in phase {}", kill.node, kill.phase));
            *process = NodeProcess::start(self.place, &kill.node)?;
            process.serves(&self.place.client(&kill.node)).await.map_err(|why| self.with_log(&kill.node, &why))
        };
        let tail = match select(pin!(die), pin!(tail)).await {
            Either::Left((died, tail)) => {
                died?;
                timeout(TAIL_ENDS_WITHIN, tail).await.unwrap_or(Tail::Endless)
            }
            Either::Right((tail, die)) => {
                die.await?;
                tail
            }
        };
        Ok(Death { id, tail })
    }

    /// A deployment's tail on another node, attached as soon as its row is there, to its end.
    async fn tail(&self, node: &str, id: Uuid) -> ClientExit {
        let request = json!({ "operation": "get_deployment", "deployment_id": id });
        let client = self.place.client(node);
        let mut follow = loop {
            match client.follow(&request).await {
                Ok(follow) => break follow,
                Err(_) => sleep(ATTACH_EVERY).await,
            }
        };
        self.say(&format!("a tail is attached on {node}"));
        let mut end = Value::Null;
        while let Some(told) = follow.next().await {
            end = told.data;
        }
        self.say(&format!("the tail on {node} ended: {}", end["message"].as_str().unwrap_or("without a word")));
        follow.exit()
    }

    async fn at_rest(&self, id: Uuid) -> Result<Vec<NodeState>, Failure> {
        let states = findings::at_rest(self.place, &self.plan.project, id).await;
        states.map_err(|error| Failure::usage(format!("a live build cannot be read: {error}")))
    }

    async fn stop(&mut self, processes: &mut Processes) {
        for process in processes.values_mut() {
            if let Err(why) = process.stop().await {
                self.findings.add(why);
            }
        }
    }

    /// The run as the nodes recorded it, whose end is marked.
    async fn come_to_rest(&mut self) -> Result<Run, Failure> {
        let directories: Vec<_> = self.names.iter().map(|name| self.place.of(name)).collect();
        let mut run = Run::new(&directories);
        run.heals();
        let rests = run.comes_to_rest(findings::AT_REST_WITHIN).await.map_err(Failure::usage)?;
        self.findings.expect(rests, || "the cluster does not come to rest".to_owned());
        Ok(run)
    }

    /// Has the invariants judge what was recorded.
    fn judge_traces(&mut self, run: &Run) -> Result<(), Failure> {
        let judged = run.judge().map_err(Failure::usage)?;
        judged.violations().for_each(|violation| self.findings.add(violation.to_string()));
        let unjudged = judged.verdicts.iter().filter(|verdict| verdict.unjudged.is_some());
        let unjudged: String = unjudged.map(|verdict| format!("- {verdict}\n")).collect();
        let looked = judged.verdicts.iter().filter(|verdict| verdict.judgement.checked > 0).count() as u64;
        let events = things(judged.trace.entries().len() as u64, "event");
        let all = things(judged.verdicts.len() as u64, "invariant");
        output::print(&format!(
            "\nThe recorded {events} judged by {looked} of {all}; the others had nothing to look at.\n"
        ))?;
        match unjudged.is_empty() {
            true => Ok(()),
            false => output::print(&format!("Not judged, or not all of it:\n{unjudged}")),
        }
    }

    fn verdict(self) -> Result<Exit, Failure> {
        let lines = self.findings.lines();
        if lines.is_empty() {
            output::print("\nAll as promised.\n")?;
            return Ok(Exit::Sound);
        }
        output::print(&format!(
            "\nNot as promised:\n{}\n",
            lines.iter().map(|line| format!("- {}\n", printable(line))).collect::<String>()
        ))?;
        Ok(Exit::Violation)
    }
}

/// What became of the tail that is attached on another node when the origin dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// There was none: a peer died, or there is no other node.
    Unattached,
    /// It had not ended in time.
    Endless,
    Ended(ClientExit),
}

/// What came of a death.
struct Death {
    /// The deployment in which it came.
    id: Uuid,
    tail: Tail,
}

fn table(states: &[NodeState]) -> String {
    let rows = states.iter().map(|state| {
        let files = state.build.as_ref().map(|tree| things(tree.len() as u64, "name"));
        [state.node.clone(), state.row().to_owned(), files.unwrap_or_else(|| "none".to_owned())]
    });
    output::list(["node", "row", "live build"], rows)
}
