//! Dashboards: clients that list the deployments of a node and read single ones, again and again. What each asked and was
//! told is in the trace.

use std::{rc::Rc, time::Duration};

use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::cluster::Cluster;
use crate::check::{Event, NodeIndex};

/// How a dashboard behaves.
#[derive(Clone, Copy, Debug)]
pub struct Dashboard {
    /// The number of its reader in this run.
    pub reader: u32,
    /// How often it asks.
    pub looks: u32,
    /// The pause between two questions.
    pub pause: Duration,
}

/// A deployment that a dashboard knows of.
struct Known {
    id: String,
    started_at: u64,
}

impl Cluster {
    /// A dashboard asks `node`, as the choices say: for a list with filters, or for a deployment that it has been told of.
    pub async fn look_around(&self, node: NodeIndex, dashboard: Dashboard) {
        let mut known = Vec::new();
        for _ in 0..dashboard.looks {
            let request = self.draw_question(&known);
            if let Some(Ok(answer)) = self.ask_as_reader(node, dashboard.reader, request).await {
                learn(&mut known, &answer);
            }
            sleep(dashboard.pause).await;
        }
    }

    fn draw_question(&self, known: &[Known]) -> Value {
        match (known, self.choose(2)) {
            ([newest, ..], 1) => {
                let one = known.get(self.choose(2) as usize).unwrap_or(newest);
                json!({ "operation": "get_deployment", "deployment_id": one.id })
            }
            _ => self.draw_list(known),
        }
    }

    fn draw_list(&self, known: &[Known]) -> Value {
        let mut request = Map::from_iter([("operation".to_owned(), json!("list_deployments"))]);
        let mut add = |field: &str, value: Value| {
            if !value.is_null() {
                request.insert(field.to_owned(), value);
            }
        };
        let project = self.component().request["project"].clone();
        add("project", self.choose_from(&[Value::Null, Value::Null, project, json!("another")]));
        add("status", self.choose_from(&["", "", "success", "failed", "replicating"].map(text_or_null)));
        add("since", self.draw_moment(known));
        add("until", self.draw_moment(known));
        add("limit", self.choose_from(&[Value::Null, Value::Null, json!(1), json!(2), json!(0)]));
        add("offset", self.choose_from(&[Value::Null, Value::Null, json!(1), json!(3)]));
        Value::Object(request)
    }

    /// The moment at which a known deployment began, or none.
    fn draw_moment(&self, known: &[Known]) -> Value {
        match self.choose(3) {
            2 if !known.is_empty() => json!(known[self.choose(known.len() as u32) as usize].started_at),
            _ => Value::Null,
        }
    }

    /// Asks a node on behalf of a reader; `None` when the node is down, or dies before it answers.
    pub(super) async fn ask_as_reader(
        &self,
        node: NodeIndex,
        reader: u32,
        request: Value,
    ) -> Option<Result<Value, Value>> {
        let cluster = self.clone();
        let ask = move |at: Rc<crate::deploy::node::Node<super::env::SimEnv>>| {
            let request = Rc::new(request);
            Box::pin(async move {
                cluster.record(node, Event::ReaderAsks { reader, request: Rc::clone(&request) });
                let answer = match request["operation"].as_str() {
                    Some("get_deployment") => at.get_deployment(&request).await,
                    Some("delete_deployment_payload") => at.delete_deployment_payload(&request).await,
                    _ => at.list_deployments(&request).await,
                };
                cluster.record(node, Event::ReaderTold { reader, answer: Rc::new(answer.clone()) });
                answer
            }) as _
        };
        self.on(node, ask).await
    }
}

fn text_or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

/// Takes up what a list tells, the newest first.
fn learn(known: &mut Vec<Known>, answer: &Value) {
    for row in answer["deployments"].as_array().into_iter().flatten() {
        let (Some(id), Some(started_at)) = (row["deployment_id"].as_str(), row["started_at"].as_u64()) else {
            continue;
        };
        if known.iter().all(|known| known.id != id) {
            known.push(Known { id: id.to_owned(), started_at });
        }
    }
    known.sort_by_key(|known| std::cmp::Reverse(known.started_at));
}
