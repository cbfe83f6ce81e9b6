//! Server-sent events: how an event is written, and how a client reads a stream of them. Pure.
//!
//! A field's value ends at a line's end, so data of several lines becomes several `data` fields (museum S05).

use std::mem;

/// An event on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its name.
    pub event: String,
    /// Its data.
    pub data: String,
    /// Its place in the stream, where it has one.
    pub id: Option<u64>,
}

/// What a stream says while nothing happens: a comment, which readers pass over.
pub const ALIVE: &str = ": alive\n\n";

impl Message {
    /// As it stands on the wire.
    pub fn write(&self) -> String {
        let mut text = format!("event: {}\n", self.event);
        if let Some(id) = self.id {
            text.push_str(&format!("id: {id}\n"));
        }
        // A lone carriage return ends a line too, for those who read.
        for line in self.data.replace("\r\n", "\n").split(['\n', '\r']) {
            text.push_str("data: ");
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
        text
    }
}

/// The most bytes of an event that a reader takes.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A stream that is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {MESSAGE_BYTES_MAX} bytes came: is this a node of drydock?")]
pub struct TooLong;

/// Reads a stream whose bytes come cut anywhere.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed behind it belongs to it.
    after_return: bool,
    message: Message,
    has_data: bool,
}

impl Reader {
    /// Takes the next bytes, and hands on each event that they end.
    ///
    /// # Errors
    /// When an event is longer than any of ours.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Message)) -> Result<(), TooLong> {
        for &byte in bytes {
            match byte {
                b'\n' if mem::take(&mut self.after_return) => {}
                b'\n' | b'\r' => {
                    self.after_return = byte == b'\r';
                    if let Some(message) = self.end_line() {
                        each(message);
                    }
                }
                byte => {
                    self.after_return = false;
                    self.line.push(byte);
                }
            }
            if self.line.len() + self.message.data.len() > MESSAGE_BYTES_MAX {
                return Err(TooLong);
            }
        }
        Ok(())
    }

    /// A line has ended: an empty one ends an event.
    fn end_line(&mut self) -> Option<Message> {
        let line = String::from_utf8_lossy(&mem::take(&mut self.line)).into_owned();
        if line.is_empty() {
            let message = mem::take(&mut self.message);
            return mem::take(&mut self.has_data).then_some(message);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.event),
            "id" => self.message.id = value.parse().ok(),
            "data" => {
                if mem::replace(&mut self.has_data, true) {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], cut: usize) -> Vec<Message> {
        let (mut reader, mut read) = (Reader::default(), Vec::new());
        bytes.chunks(cut).for_each(|chunk| reader.push(chunk, |message| read.push(message)).unwrap());
        read
    }

    #[test]
    fn data_of_several_lines_is_several_fields() {
        let message = Message { event: "install".to_owned(), data: "a\nb".to_owned(), id: Some(7) };
        assert_eq!(message.write(), "event: install\nid: 7\ndata: a\ndata: b\n\n");
    }

    #[test]
    fn comments_and_an_unfinished_event_are_no_events() {
        assert_eq!(read(b": alive\n\nevent: done\ndata: {}\n", 3), []);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_wherever_it_is_cut(
            data in "([a-z: ]|\n|é){0,40}", event in "[a-z]{1,9}", id in any::<Option<u64>>(), cut in 1usize..20,
        ) {
            let message = Message { event, data, id };
            prop_assert_eq!(read(message.write().as_bytes(), cut), [message.clone()]);
            let returns = message.write().replace('\n', "\r\n");
            prop_assert_eq!(read(returns.as_bytes(), cut), [message]);
        }
    }
}
