//! PROGRESS: who reconnects gets on.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    facts::{At, Facts},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Event, Fault, Invariant, Judgement, NodeIndex},
    env::{BlobId, BlobState, Journal, Port, Position},
};

/// See [`Invariant::sentence`].
pub(super) const PROGRESS: Invariant = Invariant {
    name: "PROGRESS",
    sentence: "a link to which nothing happened does not break; once faults stop, no node connects to another again and \
               again without its cursor, its rows or its blobs coming further than ever",
    check,
};

/// Connections in vain that are an endless cycle: with the back-off of spec 11 they take more than a minute and a half.
const TRIES_MAX: usize = 8;

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, PROGRESS.name);
    let mut subscribers: BTreeMap<NodeIndex, Subscriber> = BTreeMap::new();
    let (mut healed, mut weather) = (false, Weather::default());
    for (at, entry) in facts.between(0, facts.end()) {
        healed |= matches!(entry.event, Event::Healed);
        weather.take(&entry.event);
        let Some(node) = entry.node else { continue };
        let subscriber = subscribers.entry(node).or_default();
        match &entry.event {
            Event::Connecting { to, port: Port::Rows } => {
                let tries = subscriber.tries.entry(*to).or_default();
                if healed {
                    tries.push(at);
                }
                inquiry.look(|| goes_in_circles(facts, at, node, *to, tries));
                let before = subscriber.linked.insert(*to, at).filter(|_| weather.is_fair());
                inquiry.look(|| breaks_by_itself(facts, at, node, *to, before));
            }
            Event::ConnectFailed { to, port: Port::Rows, .. } => drop(subscriber.linked.remove(to)),
            event => subscriber.take(event),
        }
    }
    inquiry.done()
}

/// Delays that add up to less make no link seem dead.
const DELAYS_HARMLESS_MS: u64 = 10_000;

/// Failures that have nothing to do with links.
const PROCESS_FAULTS: [&str; 4] = ["spawn-fails", "process-fails", "output-fails", "group-end-fails"];

/// What has befallen the cluster so far.
#[derive(Default)]
struct Weather {
    foul: bool,
    delays_ms: u64,
}

impl Weather {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Fault(Fault::Failed { what }) if PROCESS_FAULTS.contains(&&**what) => {}
            Event::Fault(Fault::Failed { .. } | Fault::Lost { .. } | Fault::Reset { .. })
            | Event::Crashed { .. }
            | Event::MembersChanged(_)
            | Event::MembersKnown(_) => self.foul = true,
            Event::Fault(fault) => self.delays_ms += fault.takes_ms().unwrap_or(0),
            _ => {}
        }
    }

    fn is_fair(&self) -> bool {
        !self.foul && self.delays_ms < DELAYS_HARMLESS_MS
    }
}

/// Who connects anew had a link that broke; in fair weather none does.
fn breaks_by_itself<'a>(
    facts: &Facts<'_>,
    at: At,
    node: NodeIndex,
    to: NodeIndex,
    before: Option<At>,
) -> Option<Finding<'a>> {
    before.map(|before| Finding {
        kind: "a link breaks to which nothing happened",
        at,
        node: Some(node),
        why: format!(
            "{node} connected to {to} at {} ms and does so again; nothing had died, failed or been long under way",
            facts.at_ms(before)
        ),
        witnesses: vec![before],
    })
}

/// How far a node has ever come, and how often it has connected since.
#[derive(Default)]
struct Subscriber {
    /// When it last began to connect, to whom that has not failed.
    linked: BTreeMap<NodeIndex, At>,
    tries: BTreeMap<NodeIndex, Vec<At>>,
    cursors: BTreeMap<NodeIndex, Position>,
    settled: BTreeSet<BlobId>,
    bytes: BTreeMap<BlobId, u64>,
}

impl Subscriber {
    fn take(&mut self, event: &Event) {
        let further = match event {
            Event::CursorSaved { of, position } => {
                let before = self.cursors.insert(*of, *position);
                before.is_none_or(|before| before < *position)
            }
            Event::Replicated { taken, .. } => *taken,
            Event::Blob { id, state: BlobState::Writing { bytes } } => {
                let most = self.bytes.entry(*id).or_default();
                let further = *bytes > *most;
                *most = (*most).max(*bytes);
                further
            }
            Event::Blob { id, state: BlobState::Complete { .. } | BlobState::Failed { .. } } => {
                self.settled.insert(*id)
            }
            _ => false,
        };
        if further {
            self.tries.clear();
        }
    }
}

fn goes_in_circles<'a>(facts: &Facts<'_>, at: At, node: NodeIndex, to: NodeIndex, tries: &[At]) -> Option<Finding<'a>> {
    let first = *tries.first().filter(|_| tries.len() > TRIES_MAX)?;
    let what = format!("link to {to}");
    let mut told = facts.on(node, first, at).rev();
    let cause = told.find_map(|(_, entry)| match &entry.event {
        Event::Journal(Journal::Dropped { what: told, cause }) if *told == what => Some(cause.as_str()),
        _ => None,
    });
    Some(Finding {
        kind: "a link breaks again and again",
        at,
        node: Some(node),
        why: format!(
            "{node} connects to {to} for the {}th time since {} ms, and has not come any further; the last time it broke: {}",
            tries.len(),
            facts.at_ms(first),
            cause.unwrap_or("it did not say why")
        ),
        witnesses: vec![first],
    })
}
