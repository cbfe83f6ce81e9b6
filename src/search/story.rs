//! A violation in plain words: what broke, what it took, who did what and when, and how to see it again.
//!
//! The choices are told by `words`, the telling events of the trace are chosen by `cast`. Never more than
//! [`LINES_MAX`] lines, whatever happened.

mod cast;
mod words;

use uuid::{Uuid, fmt::Hyphenated};

use crate::{
    check::{Trace, Violation},
    sim::choice::Choices,
};

/// The longest story.
pub const LINES_MAX: usize = 30;

/// Lines of reasons, of choices, and of one event's text in characters, at most.
const WHY_LINES_MAX: usize = 4;
const CHOICES_MAX: usize = 8;
const WIDTH_MAX: usize = 150;

/// A story in one line has more room than a line of it.
const HEADLINE_MAX: usize = 240;

/// What a story tells.
pub struct Plot<'a> {
    /// Which run it was, in a sentence.
    pub setting: String,
    /// What broke.
    pub violation: &'a Violation,
    /// What happened.
    pub trace: &'a Trace,
    /// The choices that are not 0.
    pub choices: &'a Choices,
    /// The command that shows the run again.
    pub replay: String,
}

/// Tells the story, in at most [`LINES_MAX`] lines.
pub fn tell(plot: &Plot<'_>) -> Vec<String> {
    let mut lines = wrap(&plot.violation.to_string(), WHY_LINES_MAX);
    lines.push(plot.setting.clone());
    lines.push(String::new());
    lines.extend(words::choices(plot.choices, CHOICES_MAX));
    lines.push(String::new());
    lines.push("What happened (virtual times; > marks what shows the break):".to_owned());
    let room = LINES_MAX.saturating_sub(lines.len() + 2);
    lines.extend(cast::choose(plot.trace, plot.violation, room).iter().map(|line| shorten(line, WIDTH_MAX)));
    lines.push(String::new());
    lines.push(format!("See it again: {}", plot.replay));
    lines
}

/// The story in one line, for tables: there the beginning of an id tells enough.
pub fn headline(violation: &Violation, choices: &Choices) -> String {
    let what = with_short_ids(&violation.to_string());
    format!("{} ({})", shorten(&what, HEADLINE_MAX), words::count(choices))
}

/// The same text with the first block of each UUID in its place.
fn with_short_ids(text: &str) -> String {
    let pieces = text.split_inclusive(|c: char| !c.is_ascii_hexdigit() && c != '-');
    let short = pieces.map(|piece| match piece.get(..Hyphenated::LENGTH) {
        Some(id) if Uuid::try_parse(id).is_ok() => [&id[..8], &piece[Hyphenated::LENGTH..]].concat(),
        _ => piece.to_owned(),
    });
    short.collect()
}

/// Breaks a text between words, and cuts what is beyond `lines_max`.
fn wrap(text: &str, lines_max: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("starts with one line");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > WIDTH_MAX {
            lines.push(format!("  {word}"));
        } else {
            last.push_str(if last.is_empty() { "" } else { " " });
            last.push_str(word);
        }
    }
    if lines.len() > lines_max {
        lines.truncate(lines_max);
        lines[lines_max - 1].push_str(" …");
    }
    lines.iter().map(|line| shorten(line, WIDTH_MAX)).collect()
}

/// One line of bounded width.
fn shorten(text: &str, width_max: usize) -> String {
    let flat = text.replace(['\n', '\r'], " ");
    if flat.chars().count() <= width_max + 2 {
        return flat;
    }
    flat.chars().take(width_max).chain([' ', '…']).collect()
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::{
        check::{Entry, Event, NodeIndex},
        env::{Draft, NodeName, Record, Version},
        sim::choice::{Kind, Label},
    };

    const N1: Option<NodeIndex> = Some(NodeIndex(0));
    const N2: Option<NodeIndex> = Some(NodeIndex(1));

    fn row(status: &str, peers: &[&str]) -> Bytes {
        let peers: Vec<_> = peers.iter().map(|node| json!({"node": node, "status": "success"})).collect();
        json!({"status": status, "phase": "replicate", "payload_blob": 1, "peer_results": peers}).to_string().into()
    }

    fn started(put: u32, value: Bytes) -> Event {
        Event::PutStarted { put, key: "row-1".into(), draft: Rc::new(Draft { value, blob: None }) }
    }

    fn committed(put: u32, key: &str, value: Bytes) -> Event {
        let version = Version { stamp: u64::from(put) << 16, node: NodeName::from("n1") };
        Event::PutCommitted { put, record: Rc::new(Record { key: key.into(), version, value, blob: None }) }
    }

    /// The race of #760 between many reads of the table and puts of another row.
    fn race() -> Trace {
        let mut trace = Trace::default();
        let mut push = |at_ms, node, event| trace.push(Entry { at_ms, node, event });
        for at_ms in 0..40 {
            push(at_ms, N2, Event::Got { key: "row-1".into(), found: Ok(None) });
            push(at_ms, N1, committed(90, "row-2", row("pending", &[])));
        }
        push(40, N1, started(3, row("replicating", &[])));
        push(41, N1, started(4, row("success", &["n2"])));
        push(45, N1, committed(4, "row-1", row("success", &["n2"])));
        push(80, N1, committed(3, "row-1", row("replicating", &[])));
        for at_ms in 81..120 {
            push(at_ms, N2, Event::MembersRead(Vec::new()));
        }
        trace
    }

    fn violation(witnesses: Vec<usize>, why: &str) -> Violation {
        Violation {
            invariant: "PEERS",
            fingerprint: "outcome lost".to_owned(),
            at_ms: 80,
            node: N1,
            why: why.to_owned(),
            witnesses,
        }
    }

    fn story(violation: &Violation, trace: &Trace, choices: &Choices) -> Vec<String> {
        tell(&Plot {
            setting: "Run 17 of seed 1: scenario `calm`, 3 nodes, component `hello`.".to_owned(),
            violation,
            trace,
            choices,
            replay: "drydock replay it.toml --trace".to_owned(),
        })
    }

    fn choices(tasks: u32, delays: u32) -> Choices {
        let task = |occurrence| (Label { kind: Kind::Task, node: None, occurrence }, 1);
        let delay = |occurrence| (Label { kind: Kind::PutCommit, node: N1, occurrence }, 9);
        (0..tasks).map(task).chain((0..delays).map(delay)).collect()
    }

    #[test]
    fn a_headline_tells_the_beginning_of_an_id_only() {
        let id = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
        let told = format!("blob {id} is gone, `{id}`, {id}");
        assert_eq!(with_short_ids(&told), "blob 12345678 is gone, `12345678`, 12345678");
        for kept in ["", "1735689600044.0@n1", "tree ccd27224, deed-beef", "hellö – 12345678-1234"] {
            assert_eq!(with_short_ids(kept), kept);
        }
    }

    #[test]
    fn a_lost_outcome_is_told_with_the_puts_of_its_row() {
        let broken = violation(vec![82, 83], "the row of n1 lost the outcome of n2: success");
        insta::assert_snapshot!(story(&broken, &race(), &choices(1, 1)).join("\n"));
    }

    #[test]
    fn no_story_is_longer_than_thirty_lines_or_wider_than_a_screen() {
        let long = "because of this and of that ".repeat(100);
        for witnesses in [Vec::new(), vec![82], (0..120).collect(), vec![9_999]] {
            let lines = story(&violation(witnesses, &long), &race(), &choices(50, 50));
            assert!(lines.len() <= LINES_MAX, "{}", lines.len());
            assert!(lines.iter().all(|line| line.chars().count() <= WIDTH_MAX + 2));
        }
    }

    #[test]
    fn a_run_in_which_nothing_happened_still_has_a_story() {
        assert!(story(&violation(Vec::new(), "no row"), &Trace::default(), &Choices::new()).len() > 4);
    }
}
