//! Where the events of each node stand in the trace: invariants ask for few nodes, and for parts of the run.

use super::{At, Facts};
use crate::check::{Entry, Event, Fault, NodeIndex, Trace};

/// Places in the trace, in order, by node.
#[derive(Default)]
pub(super) struct Places {
    all: Vec<Vec<At>>,
    faults: Vec<Vec<At>>,
    deaths: Vec<Vec<At>>,
    pauses: Vec<Vec<At>>,
}

impl Places {
    pub(super) fn of(trace: &Trace) -> Self {
        let mut places = Self::default();
        for (at, entry) in trace.entries().iter().enumerate() {
            let Some(node) = entry.node else { continue };
            add(&mut places.all, node, at);
            match entry.event {
                Event::Fault(ref fault) => {
                    add(&mut places.faults, node, at);
                    if let Fault::Paused { .. } = fault {
                        add(&mut places.pauses, node, at);
                    }
                }
                Event::Crashed { .. } => add(&mut places.deaths, node, at),
                _ => {}
            }
        }
        places
    }
}

fn add(places: &mut Vec<Vec<At>>, node: NodeIndex, at: At) {
    let index = usize::from(node.0);
    if places.len() <= index {
        places.resize_with(index + 1, Vec::new);
    }
    places[index].push(at);
}

/// Those of a node from one place up to another.
fn within(places: &[Vec<At>], node: NodeIndex, from: At, to: At) -> &[At] {
    let all = places.get(usize::from(node.0)).map_or(&[][..], Vec::as_slice);
    let first = all.partition_point(|at| *at < from);
    let behind = all.partition_point(|at| *at < to);
    &all[first..behind.max(first)]
}

impl Facts<'_> {
    /// A node's events of a part of the trace, with their places.
    pub fn on(&self, node: NodeIndex, from: At, to: At) -> impl DoubleEndedIterator<Item = (At, &Entry)> + Clone {
        within(&self.places.all, node, from, to).iter().map(|at| (*at, self.entry(*at)))
    }

    /// What befell it there.
    pub fn faults_on(&self, node: NodeIndex, from: At, to: At) -> impl DoubleEndedIterator<Item = (At, &Entry)> {
        within(&self.places.faults, node, from, to).iter().map(|at| (*at, self.entry(*at)))
    }

    /// When it began to be paused.
    pub(super) fn pauses(&self, node: NodeIndex, to: At) -> &[At] {
        within(&self.places.pauses, node, 0, to)
    }

    /// When a node first died between two places.
    pub fn first_crash(&self, node: NodeIndex, from: At, to: At) -> Option<At> {
        within(&self.places.deaths, node, from, to).first().copied()
    }

    /// Every death of a node between two places.
    pub fn deaths(&self, node: NodeIndex, from: At, to: At) -> &[At] {
        within(&self.places.deaths, node, from, to)
    }
}
