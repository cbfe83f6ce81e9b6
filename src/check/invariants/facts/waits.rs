//! On whom a node waits whose run is over before it was done: what a breach of liveness tells beside what is stuck.

use super::{Facts, Row};
use crate::{
    check::{Event, NodeIndex},
    env::{Journal, Key, Port},
};

impl Facts<'_> {
    /// On whom a node waits that lacks a row of `source`, or its blob.
    pub fn waits_for_rows(&self, node: NodeIndex, source: NodeIndex) -> String {
        let asks = |event: &Event| matches!(event, Event::Connecting { to, port: Port::Rows } if *to == source);
        match self.on(node, 0, self.end()).rfind(|(_, entry)| asks(&entry.event)) {
            Some((at, _)) => {
                format!("{node} waits for {source}, which it last asked for its rows at {} ms", self.at_ms(at))
            }
            None => format!("{node} waits for {source}, which it never asked for its rows"),
        }
    }

    /// On whom the row of a deployment waits that has not ended on `node`.
    pub fn waits_for_end(&self, node: NodeIndex, key: &Key, row: &Row) -> String {
        let Some(origin) = self.node_named(row.origin_node.as_str()) else {
            return format!("it waits for its origin, {}, which never came", row.origin_node);
        };
        let there = self.row_at(origin, key, self.end());
        match there {
            Some(there) if there.row.is_terminal() => {
                format!("{origin} has ended it as `{}`, and {}", there.row.status, self.waits_for_rows(node, origin))
            }
            there => {
                format!("it waits for {}", self.waits_of_origin(origin, key, there.map_or(row, |there| &there.row)))
            }
        }
    }

    fn waits_of_origin(&self, origin: NodeIndex, key: &Key, row: &Row) -> String {
        let told = |event: &Event| match event {
            Event::Journal(Journal::Progress { deployment_id, event, data })
                if *event == *"phase" && deployment_id.to_string() == key.to_string() =>
            {
                Some(format!("phase {} of it ({})", data["phase"], data["status"]))
            }
            _ => None,
        };
        let last = self.on(origin, 0, self.end()).rev().find_map(|(at, entry)| Some((at, told(&entry.event)?)));
        let mut what = match last {
            Some((at, phase)) => format!("{origin}, which told {phase} last, at {} ms", self.at_ms(at)),
            None => format!("{origin}, which told no phase of it"),
        };
        if let Some(death) = self.deaths(origin, 0, self.end()).last() {
            what += &format!(", and died last at {} ms", self.at_ms(*death));
        }
        let deploy = self.deploys.iter().find(|deploy| deploy.key().as_ref() == Some(key));
        let asked = deploy.map(|deploy| self.peers_asked(deploy, self.end())).unwrap_or_default();
        let silent = asked.into_iter().filter(|peer| row.outcome(&self.name(*peer)).is_empty());
        let silent: Vec<_> = silent.map(|peer| peer.to_string()).collect();
        if !silent.is_empty() {
            what += &format!(", and has no outcome of {}", silent.join(", "));
        }
        what
    }
}
