//! FRESH: what happened is seen at once.

use std::{collections::BTreeMap, ops::Range};

use super::{
    facts::{At, Facts, Put},
    verdict::{Finding, Inquiry},
};
use crate::{
    check::{Clock, Event, Fault, Invariant, Judgement, NodeIndex, TailSight},
    env::{BlobState, Journal, Key},
};

/// See [`Invariant::sentence`].
pub(super) const FRESH: Invariant = Invariant {
    name: "FRESH",
    sentence: "a tail on the origin that does not pause sees each event as it is emitted; between ingest and seal a put \
               follows each event as soon as no other is in flight, and while the payload comes in none begins",
    check,
};

/// What is done at once takes no longer than this, milliseconds, delays by faults apart.
const AT_ONCE_MS: u64 = 5;

/// Kinds of fault that make a read of the table take longer.
const READ_DELAYS: [&str; 2] = ["get", "get-answer"];

/// The pause of a reader behind a read that was refused.
const PAUSE_AFTER_REFUSAL_MS: u64 = 100;

/// An event of a deployment, as its origin emitted it.
struct Emitted<'a> {
    at: At,
    event: &'a str,
    data: &'a serde_json::Value,
}

/// A deployment on its origin.
struct Course<'a> {
    key: &'a Key,
    origin: NodeIndex,
    puts: Vec<&'a Put>,
    /// The event with `seq` n is the n-th.
    emitted: Vec<Emitted<'a>>,
    /// When its origin died.
    deaths: Vec<At>,
}

impl Course<'_> {
    /// The `seq` of the last event that the row took up: what comes behind its end is not in the log.
    fn last_seq(&self) -> u64 {
        let end = self.puts.iter().find(|put| put.row.is_terminal());
        end.map_or(self.emitted.len() as u64, |end| end.row.last_seq()).min(self.emitted.len() as u64)
    }

    /// Between these two places progress of the row is put: not while the payload comes in, and not once the peers are
    /// asked.
    fn flushes(&self, facts: &Facts<'_>) -> Range<At> {
        let ingested = self.puts.iter().find(|put| put.row.payload_hash.is_some()).and_then(|put| put.committed);
        let seals = |event: &&Emitted<'_>| {
            event.event == "phase" && event.data["phase"] == "replicate" && event.data["status"] == "start"
        };
        let sealed = self.emitted.iter().find(seals).map(|event| event.at);
        ingested.unwrap_or(facts.end())..sealed.unwrap_or(facts.end())
    }

    /// When its origin died first behind a place, or the run was over.
    fn life_end(&self, facts: &Facts<'_>, from: At) -> At {
        self.deaths.iter().copied().find(|death| *death > from).unwrap_or(facts.end() - 1)
    }
}

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, FRESH.name);
    // On a real machine everything may be late, and the trace does not say by how much.
    if facts.trace.clock() != Clock::Virtual {
        return inquiry.done();
    }
    let courses = gather(facts);
    for course in courses.values() {
        inquiry.look(|| is_put_while_the_payload_comes_in(facts, course));
        let flushes = course.flushes(facts);
        for seq in (1..=course.last_seq()).filter(|seq| flushes.contains(&course.emitted[*seq as usize - 1].at)) {
            inquiry.look(|| is_not_flushed(facts, course, seq, flushes.end));
        }
    }
    for tail in tails(facts) {
        if let Some(course) = courses.get(tail.key).filter(|course| course.origin == tail.node) {
            for seq in 1..=course.last_seq() {
                inquiry.look(|| is_seen_late(facts, course, &tail, seq));
            }
        }
    }
    inquiry.done()
}

fn gather<'a>(facts: &'a Facts<'_>) -> BTreeMap<&'a Key, Course<'a>> {
    let mut courses: BTreeMap<&Key, Course<'_>> = BTreeMap::new();
    for put in &facts.puts {
        let fresh = || {
            let deaths = facts.deaths(put.node, 0, facts.end()).to_vec();
            Course { key: &put.key, origin: put.node, puts: Vec::new(), emitted: Vec::new(), deaths }
        };
        courses.entry(&put.key).or_insert_with(fresh).puts.push(put);
    }
    let mut by_id: BTreeMap<_, _> = courses.values_mut().map(|course| (course.key.to_string(), course)).collect();
    for (at, entry) in facts.between(0, facts.end()) {
        let Event::Journal(Journal::Progress { deployment_id, event, data }) = &entry.event else { continue };
        let course = by_id.get_mut(&deployment_id.to_string());
        if let Some(course) = course.filter(|course| entry.node == Some(course.origin)) {
            course.emitted.push(Emitted { at, event, data });
        }
    }
    courses
}

/// A payload that came in whole came in undisturbed: its row is put before, and with it.
fn is_put_while_the_payload_comes_in<'a>(facts: &Facts<'_>, course: &Course<'_>) -> Option<Finding<'a>> {
    let named = course.puts.iter().find_map(|put| put.row.payload_blob)?;
    let mut states = facts.on(course.origin, 0, facts.end()).filter_map(|(at, entry)| match &entry.event {
        Event::Blob { id, state } if *id == named => Some((at, state)),
        _ => None,
    });
    let (began, _) = states.next()?;
    let (whole, _) = states.find(|(_, state)| matches!(state, BlobState::Complete { .. }))?;
    // The first put is that of `create`, and no progress.
    let mut progress = course.puts.windows(2).map(|puts| (puts[0], puts[1]));
    let (before, put) = progress.find(|(_, put)| (began..whole).contains(&put.started))?;
    // Its turn may have come before, and its snapshot late.
    let was_held_up = facts.delayed_ms(course.origin, &["put-start"], before.started, put.started) > 0;
    (!was_held_up).then(|| Finding {
        kind: "progress is put while the payload comes in",
        at: put.started,
        node: Some(course.origin),
        why: format!("the row is put while its payload, blob {named}, comes in, which progress puts have to wait for"),
        witnesses: vec![began, whole],
    })
}

/// A put whose snapshot holds the event must follow, once none is in flight whose snapshot does not; unless the seal, or
/// the node's death, comes before it is the put's turn.
fn is_not_flushed<'a>(facts: &Facts<'_>, course: &Course<'_>, seq: u64, sealed: At) -> Option<Finding<'a>> {
    let event = &course.emitted[seq as usize - 1];
    let flight = course.puts.iter().rfind(|put| put.started < event.at);
    let landed = flight.map_or(Some(event.at), |put| ended(facts, course.origin, put))?;
    let (free, asked) = (landed.max(event.at), landed.min(event.at));
    let put = course.puts.iter().find(|put| put.started > event.at && put.row.last_seq() >= seq);
    let until = put.map_or(facts.end(), |put| put.started).min(sealed).min(course.life_end(facts, event.at));
    let late = facts.at_ms(until).saturating_sub(facts.at_ms(free));
    let is_late = late > AT_ONCE_MS
        && late > AT_ONCE_MS + facts.delayed_ms(course.origin, &["put-start", "put-answer"], asked, until);
    is_late.then(|| Finding {
        kind: "progress is not put",
        at: until,
        node: Some(course.origin),
        why: format!("event {seq} (`{}`) waited {late} ms for its put to begin, of {AT_ONCE_MS} ms at most, and no other was in flight", event.event),
        witnesses: vec![event.at],
    })
}

/// Where a put ended: committed or refused. `None` when its node died first.
fn ended(facts: &Facts<'_>, node: NodeIndex, put: &Put) -> Option<At> {
    put.committed.or_else(|| {
        let mut here = facts.on(node, put.started, facts.end());
        here.find(|(_, entry)| matches!(entry.event, Event::PutRefused { put: refused, .. } if refused == put.number))
            .map(|(at, _)| at)
    })
}

/// For how much longer than to `due` faults keep a reader who was reading the table of a node by then: it is busy with one
/// read, whose refusal is answered late too, and is in a pause behind that.
fn read_under_way_ms(facts: &Facts<'_>, node: NodeIndex, from: At, due: At) -> u64 {
    let mut taken_ms: BTreeMap<u64, BTreeMap<&str, u64>> = BTreeMap::new();
    for (at, entry) in facts.faults_on(node, from, due) {
        let (what, ms) = match &entry.event {
            Event::Fault(Fault::Delayed { what, ms }) if READ_DELAYS.contains(&&**what) => (&**what, *ms),
            Event::Fault(fault) if fault.failed() == Some("get-refused") => ("get-refused", PAUSE_AFTER_REFUSAL_MS),
            _ => continue,
        };
        let longest = taken_ms.entry(facts.at_ms(at)).or_default().entry(what).or_default();
        *longest = ms.max(*longest);
    }
    let until_ms = taken_ms.into_iter().map(|(at_ms, taken)| at_ms + taken.into_values().sum::<u64>());
    until_ms.max().unwrap_or(0).saturating_sub(facts.at_ms(due))
}

/// What faults cost those who read the table of a node: a read that is refused is tried again after a pause.
fn read_delays_ms(facts: &Facts<'_>, node: NodeIndex, from: At, to: At) -> u64 {
    let refusals = facts.between(from, to).filter(|(_, entry)| {
        entry.node == Some(node) && matches!(&entry.event, Event::Fault(fault) if fault.failed() == Some("get-refused"))
    });
    facts.delayed_ms(node, &READ_DELAYS, from, to) + refusals.count() as u64 * PAUSE_AFTER_REFUSAL_MS
}

/// A tail that does not pause.
struct Tail<'a> {
    node: NodeIndex,
    key: &'a Key,
    sights: Vec<(At, &'a TailSight)>,
}

fn tails<'a>(facts: &'a Facts<'_>) -> Vec<Tail<'a>> {
    let mut tails: BTreeMap<u32, Tail<'a>> = BTreeMap::new();
    for (at, entry) in facts.between(0, facts.end()) {
        let (Event::Tail { reader, key, saw }, Some(node)) = (&entry.event, entry.node) else { continue };
        match saw {
            TailSight::Attached { pause_ms: 0 } => {
                tails.insert(*reader, Tail { node, key, sights: vec![(at, saw)] });
            }
            _ => {
                if let Some(tail) = tails.get_mut(reader) {
                    tail.sights.push((at, saw));
                }
            }
        }
    }
    tails.into_values().collect()
}

/// The next event is seen at once by a reader that has seen the one before.
fn is_seen_late<'a>(facts: &Facts<'_>, course: &Course<'_>, tail: &Tail<'_>, seq: u64) -> Option<Finding<'a>> {
    let event = &course.emitted[seq as usize - 1];
    let seen = |saw: &TailSight| match saw {
        TailSight::Entry { seq, .. } => Some(*seq),
        TailSight::Attached { .. } => Some(0),
        _ => None,
    };
    let before = tail.sights.iter().rfind(|(_, saw)| seen(saw).is_some_and(|last| last < seq))?.0;
    let next = tail.sights.iter().find(|(at, _)| *at > before).map(|(at, _)| *at);
    let due = event.at.max(before);
    let until = next.unwrap_or(facts.end()).min(course.life_end(facts, before));
    let late = facts.at_ms(until).saturating_sub(facts.at_ms(due));
    let excused = || read_delays_ms(facts, tail.node, due, until) + read_under_way_ms(facts, tail.node, before, due);
    let is_late = late > AT_ONCE_MS && late > AT_ONCE_MS + excused();
    is_late.then(|| Finding {
        kind: "a tail on the origin sees late",
        at: until,
        node: Some(tail.node),
        why: format!(
            "a reader on {} waits for event {seq} (`{}`) for {late} ms, of {AT_ONCE_MS} ms at most",
            tail.node, event.event
        ),
        witnesses: vec![event.at, before],
    })
}
