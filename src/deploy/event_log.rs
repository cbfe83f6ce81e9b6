//! A deployment's event log: bounded, in order, and honest about what it dropped (spec 3).

use std::{collections::VecDeque, rc::Rc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeSeq};
use serde_json::{Value, json};

use super::event::Event;

/// The most entries that a log holds, its marker included.
pub const ENTRIES_MAX: usize = 200;

/// The first entries, which are never dropped.
pub const HEAD_KEPT: usize = 20;

/// The longest text in an entry's data, bytes as JSON; a longer one is kept shortened. With it a log stays below a quarter
/// of a frame of the replication channel whatever installers print: a row that did not fit would never reach a peer.
pub const TEXT_BYTES_MAX: usize = 4 * 1024;

/// The name of the marker that stands for what was dropped.
const MARKER: &str = "truncated";

/// One entry. `seq` counts a deployment's events from 1 without a gap; a clock is no sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its place among the deployment's events. The marker carries that of the last event it stands for.
    pub seq: u64,
    /// Epoch ms.
    pub t: u64,
    /// The event's name.
    pub event: Rc<str>,
    /// The event's data.
    pub data: Value,
}

/// The log. In a row it is a plain list of entries, the marker among them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventLog {
    head: Vec<LogEntry>,
    marker: Option<LogEntry>,
    newest: VecDeque<LogEntry>,
    appended: u64,
}

impl EventLog {
    /// Adds an event at wall-clock time `t`.
    pub fn append(&mut self, t: u64, event: &Event) {
        self.appended += 1;
        let mut data = event.data().clone();
        shorten(&mut data);
        let entry = LogEntry { seq: self.appended, t, event: event.name().into(), data };
        if self.head.len() < HEAD_KEPT {
            return self.head.push(entry);
        }
        self.newest.push_back(entry);
        if self.len() > ENTRIES_MAX {
            self.truncate();
        }
    }

    /// All entries in order, the marker among them.
    pub fn entries(&self) -> impl Iterator<Item = &LogEntry> {
        self.head.iter().chain(&self.marker).chain(&self.newest)
    }

    /// How many entries it holds, its marker included.
    pub fn len(&self) -> usize {
        self.head.len() + usize::from(self.marker.is_some()) + self.newest.len()
    }

    /// Is it empty?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the oldest of the newest until the log and its marker fit. The count is cumulative: the marker is rewritten,
    /// never itself dropped and forgotten (museum R26).
    fn truncate(&mut self) {
        let mut dropped = self.marker.as_ref().map_or(0, dropped_events);
        let mut last = None;
        while self.head.len() + 1 + self.newest.len() > ENTRIES_MAX {
            last = self.newest.pop_front();
            dropped += 1;
        }
        let last = last.expect("the log was longer than it may be");
        let data = json!({ "dropped_events": dropped });
        self.marker = Some(LogEntry { seq: last.seq, t: last.t, event: MARKER.into(), data });
    }
}

/// Shortens every text that is too long, and says of how many bytes it was.
pub(super) fn shorten(data: &mut Value) {
    match data {
        Value::String(text) => shorten_text(text),
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        _ => {}
    }
}

/// Shortens a text that is longer as JSON than [`TEXT_BYTES_MAX`].
pub(super) fn shorten_text(text: &mut String) {
    let mut room = TEXT_BYTES_MAX;
    let end = text.char_indices().find_map(|(index, character)| match room.checked_sub(json_bytes(character)) {
        Some(left) => {
            room = left;
            None
        }
        None => Some(index),
    });
    if let Some(end) = end {
        let bytes = text.len();
        text.truncate(end);
        text.push_str(&format!("… ({bytes} bytes)"));
    }
}

/// The most that a character takes as JSON.
fn json_bytes(character: char) -> usize {
    match character {
        '\u{0}'..='\u{1f}' => 6,
        '"' | '\\' => 2,
        other => other.len_utf8(),
    }
}

fn dropped_events(marker: &LogEntry) -> u64 {
    marker.data["dropped_events"].as_u64().unwrap_or(0)
}

impl Serialize for EventLog {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        self.entries().try_for_each(|entry| list.serialize_element(entry))?;
        list.end()
    }
}

impl<'de> Deserialize<'de> for EventLog {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut log = Self::default();
        for entry in Vec::<LogEntry>::deserialize(deserializer)? {
            log.appended = log.appended.max(entry.seq);
            if *entry.event == *MARKER {
                log.marker = Some(entry);
            } else if log.marker.is_none() && log.head.len() < HEAD_KEPT {
                log.head.push(entry);
            } else {
                log.newest.push_back(entry);
            }
        }
        Ok(log)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log_of(events: u64) -> EventLog {
        let mut log = EventLog::default();
        (1..=events).for_each(|number| log.append(number, &Event::warning(&number.to_string())));
        log
    }

    #[test]
    fn a_log_of_a_thousand_keeps_the_first_20_a_marker_and_the_newest_179() {
        let log = log_of(1_000);
        let entries: Vec<_> = log.entries().collect();
        assert_eq!(entries.len(), 200);
        assert_eq!((entries[19].seq, &*entries[20].event, entries[21].seq, entries[199].seq), (20, MARKER, 822, 1_000));
        assert_eq!(entries[20].data, json!({ "dropped_events": 801 }));
        assert!(EventLog::default().is_empty() && !log.is_empty());
    }

    #[test]
    fn a_log_of_the_longest_lines_fits_a_frame_by_far() {
        for character in ["x", "\u{1}", "\"", "\u{1f600}"] {
            let mut log = EventLog::default();
            (0..1_000).for_each(|_| log.append(1, &Event::warning(&character.repeat(64 * 1024 / character.len()))));
            let bytes = serde_json::to_vec(&log).unwrap().len();
            assert!(bytes < crate::replication::frame::FRAME_BYTES_MAX / 4, "{bytes}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_says_how_long_it_was() {
        let mut data = json!({ "line": "x".repeat(5_000), "stream": "stdout" });
        shorten(&mut data);
        assert_eq!(data, json!({ "line": format!("{}… (5000 bytes)", "x".repeat(4_096)), "stream": "stdout" }));
    }

    #[test]
    fn a_text_in_a_list_or_an_object_is_shortened_too() {
        let long = "x".repeat(5_000);
        let mut data = json!([{ "lines": [long, 7] }]);
        shorten(&mut data);
        assert_eq!(data, json!([{ "lines": [format!("{}… (5000 bytes)", "x".repeat(4_096)), 7] }]));
    }

    proptest! {
        #[test]
        fn what_is_kept_and_what_is_dropped_add_up_to_what_was_appended(events in 0u64..700) {
            let log = log_of(events);
            let dropped = log.marker.as_ref().map_or(0, dropped_events);
            let kept = log.len() as u64 - u64::from(log.marker.is_some());
            prop_assert_eq!(kept + dropped, events);
            prop_assert!(log.len() <= ENTRIES_MAX);
        }

        #[test]
        fn a_log_read_from_a_row_is_the_log_written_to_it(events in 0u64..700) {
            let log = log_of(events);
            let read: EventLog = serde_json::from_str(&serde_json::to_string(&log).unwrap()).unwrap();
            prop_assert_eq!(read, log);
        }
    }
}
