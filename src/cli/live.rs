//! A deploy as it goes: its phases, the lines of its installers by node, and the verdict.
//!
//! What is live goes to standard error: on a terminal the phase stands at the bottom, elsewhere each is a line.

use std::{
    io::{IsTerminal, Write, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::output::{self, printable};
use crate::{
    client::Told,
    deploy::{
        client::ClientStream,
        outcome::{PeerResult, normalize, upsert},
    },
};

/// How often the spinner turns.
const TURN: Duration = Duration::from_millis(100);

/// The column of the nodes' names.
const NAME_COLUMNS: usize = 4;

/// Says things of ours without disturbing what is live.
#[derive(Clone, Default)]
pub(super) struct Announcer(Option<ProgressBar>);

impl Announcer {
    pub(super) fn say(&self, text: &str) {
        match &self.0 {
            Some(spinner) => spinner.suspend(|| output::error_line(text)),
            None => output::error_line(text),
        }
    }
}

/// Shows the events of one deploy.
pub(super) struct Live {
    /// Whose events have no node of their own.
    origin: String,
    spinner: Option<ProgressBar>,
    outcomes: Vec<PeerResult>,
    /// The last event, if it is an end.
    end: Option<Told>,
}

impl Live {
    /// Nothing has been told yet of a deploy on `origin`.
    pub(super) fn of(origin: impl Into<String>) -> Self {
        Self { origin: origin.into(), spinner: stderr().is_terminal().then(spinner), outcomes: Vec::new(), end: None }
    }

    /// For who has something to say meanwhile.
    #[must_use]
    pub(super) fn announcer(&self) -> Announcer {
        Announcer(self.spinner.clone())
    }

    /// Shows an event.
    pub(super) fn see(&mut self, told: &Told) {
        let Told { event, data } = told;
        let text = |name: &str| data[name].as_str().unwrap_or_default();
        match event.as_str() {
            "phase" => self.phase(text("phase"), text("status")),
            "install" => {
                let node = data["node"].as_str().unwrap_or(&self.origin);
                self.line(node, &format!("{}: {}", text("manager"), text("line")));
            }
            "peer" => self.peer(data),
            "warning" => self.line(&self.origin, &format!("warning: {}", text("message"))),
            "payload_dropped" => {
                self.line(&self.origin, &format!("payload of {} dropped: {}", text("deployment_id"), text("reason")));
            }
            "truncated" => self.line(&self.origin, &format!("… {} events are not in the log", data["dropped_events"])),
            "done" | "error" => self.end = Some(told.clone()),
            // A newer node may tell more than this client knows.
            _ => {}
        }
    }

    /// No more is to come.
    pub(super) fn finish(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }

    /// What the last event said: the result, or the failure.
    pub(super) fn end(&self) -> Option<&Value> {
        self.end.as_ref().map(|told| &told.data)
    }

    /// Shows a line of ours, in the name of `node`.
    pub(super) fn line(&self, node: &str, text: &str) {
        let line = format!("{:NAME_COLUMNS$} │ {}", printable(node), printable(text));
        match &self.spinner {
            Some(spinner) => spinner.println(line),
            // If standard error is closed, nobody wants to know.
            None => drop(writeln!(stderr(), "{line}")),
        }
    }

    fn phase(&self, phase: &str, status: &str) {
        let failed = status == "error";
        match (&self.spinner, status) {
            (Some(spinner), "start") => spinner.set_message(format!("{}: {phase}", self.origin)),
            (_, "start") => self.line(&self.origin, phase),
            _ if failed => self.line(&self.origin, &format!("{phase} failed")),
            _ => {}
        }
    }

    fn peer(&mut self, outcome: &Value) {
        let outcome = normalize(outcome);
        let what = if outcome.is_success() { "deployed".to_owned() } else { format!("failed: {}", outcome.cause()) };
        self.line(outcome.node().as_str().unwrap_or("?"), &what);
        upsert(&mut self.outcomes, outcome);
    }

    /// What came of each node, and of the whole.
    pub(super) fn verdict(&self) -> String {
        let mut stream = ClientStream::default();
        self.end.iter().for_each(|told| stream.see_named(&told.event));
        let data = self.end().unwrap_or(&Value::Null);
        let success = stream.exit().code() == 0;
        let origin = [self.origin.clone(), "origin".to_owned(), self.origin_outcome(success).to_owned(), String::new()];
        let peers = self.outcomes.iter().map(|outcome| {
            let (word, cause) =
                if outcome.is_success() { ("success", String::new()) } else { ("failed", outcome.cause()) };
            let node = outcome.node().as_str().unwrap_or("?");
            [printable(node), "peer".to_owned(), word.to_owned(), printable(&cause)]
        });
        let table = output::list(["node", "role", "outcome", "cause"], std::iter::once(origin).chain(peers));
        format!("{table}\n\n{}\n", printable(&summary(data, success)))
    }

    /// Did the origin itself install? A deploy that failed may have failed elsewhere.
    fn origin_outcome(&self, success: bool) -> &'static str {
        let phase = self.end().and_then(|end| end["phase"].as_str());
        if success || phase == Some("replicate") { "success" } else { "failed" }
    }
}

/// The whole in a line.
fn summary(data: &Value, success: bool) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    if success {
        let result = &data["result"];
        return format!("Deployed: deployment {}.", text(&result["deployment_id"]));
    }
    let phase = data["phase"].as_str().map(|phase| format!(" in phase {phase}")).unwrap_or_default();
    let id = data["deployment_id"].as_str().map(|id| format!(" (deployment {id})")).unwrap_or_default();
    format!("Failed{phase}: {}{id}", text(&data["message"]))
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("the template is well-formed");
    let spinner = ProgressBar::new_spinner().with_style(style);
    spinner.enable_steady_tick(TURN);
    spinner
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(event: &str, data: Value) -> Told {
        Told { event: event.to_owned(), data }
    }

    #[test]
    fn the_verdict_of_a_deploy_that_failed_on_a_peer() {
        let mut live = Live::of("n1");
        live.see(&told("peer", json!({ "node": "n3", "status": "success" })));
        live.see(&told("peer", json!({ "node": "n2", "error": { "message": "`npm` failed\u{1b}[2J" } })));
        let message = "1 of 2 peers did not deploy: n2: `npm` failed";
        live.see(&told("error", json!({ "message": message, "phase": "replicate", "deployment_id": "d-1" })));
        insta::assert_snapshot!(live.verdict());
    }

    #[test]
    fn the_verdict_of_a_success() {
        let mut live = Live::of("n1");
        live.see(&told("peer", json!({ "node": "n2", "status": "success" })));
        live.see(&told("done", json!({ "result": { "deployment_id": "d-1" } })));
        insta::assert_snapshot!(live.verdict());
    }
}
