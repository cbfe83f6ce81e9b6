//! OWN: who has been superseded is silent.

use std::collections::BTreeMap;

use super::{
    facts::{At, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Invariant, Judgement, NodeIndex},
    env::{Port, Position, Record},
};

/// See [`Invariant::sentence`].
pub(super) const OWN: Invariant = Invariant {
    name: "OWN",
    sentence: "only the session that owns a link acts on it: a sender never speaks on an older connection of a subscriber \
               after a newer one, no row that came on an older connection is committed once a newer one has begun, and no \
               cursor goes back",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, OWN.name);
    let mut links = Links::default();
    for (at, entry) in facts.between(0, facts.end()) {
        let Some(node) = entry.node else { continue };
        match &entry.event {
            Event::Connecting { to, port: Port::Rows } => drop(links.unheard.insert((node, *to), at)),
            Event::Hears { of, .. } => drop(links.unheard.remove(&(node, *of))),
            Event::Speaks { to, link } => inquiry.look(|| links.speaks(at, node, *to, *link)),
            Event::Replicated { record, .. } => inquiry.look(|| links.commits(facts, at, node, record)),
            Event::CursorSaved { of, position } => inquiry.look(|| links.goes_back(at, node, *of, *position)),
            _ => {}
        }
    }
    inquiry.done()
}

/// Two nodes: who acts, and with whom.
type Pair = (NodeIndex, NodeIndex);

/// The subscriptions at a place of the trace.
#[derive(Default)]
struct Links {
    /// The newest connection that a sender spoke on, and when it first did.
    spoken: BTreeMap<Pair, (u32, At)>,
    /// A subscriber has begun a connection, and heard nothing on it yet.
    unheard: BTreeMap<Pair, At>,
    cursors: BTreeMap<Pair, (Position, At)>,
}

impl Links {
    fn speaks<'a>(&mut self, at: At, node: NodeIndex, to: NodeIndex, link: u32) -> Option<Finding<'a>> {
        let (newest, since) = *self.spoken.entry((node, to)).or_insert((link, at));
        if link >= newest {
            self.spoken.insert((node, to), (link, at));
            return None;
        }
        Some(Finding {
            kind: "a superseded session speaks",
            at,
            node: Some(node),
            why: format!(
                "{node} still sends on connection {link} to {to}, which has made connection {newest} in its place, and {node} has \
                 answered there"
            ),
            witnesses: vec![since],
        })
    }

    /// Nothing has come yet on the newer connection. (A node's log holds its own commits only, so what it wrote comes from it.)
    fn commits<'a>(&self, facts: &Facts<'_>, at: At, node: NodeIndex, record: &Record) -> Option<Finding<'a>> {
        let mut unheard = self.unheard.iter().filter(|((subscriber, _), _)| *subscriber == node);
        let ((_, of), begun) = unheard.find(|((_, of), _)| facts.name(*of) == record.version.node.as_str())?;
        Some(Finding {
            kind: "an older connection acts after a newer one has begun",
            at,
            node: Some(node),
            why: format!(
                "{node} commits a row that came from {of} on an old connection: on its newest one nothing has come yet"
            ),
            witnesses: vec![*begun],
        })
    }

    fn goes_back<'a>(&mut self, at: At, node: NodeIndex, of: NodeIndex, position: Position) -> Option<Finding<'a>> {
        let (before, since) = self.cursors.insert((node, of), (position, at)).unwrap_or((position, at));
        (position < before).then(|| Finding {
            kind: "a cursor goes back",
            at,
            node: Some(node),
            why: format!(
                "{node} keeps its cursor in the log of {of} at {}, behind the {} that it had kept before",
                position.0, before.0
            ),
            witnesses: vec![since],
        })
    }
}
