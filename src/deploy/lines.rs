//! Lines of an installer's output, from chunks cut anywhere (spec 9).

use encoding_rs::{CoderResult, Decoder, UTF_8};

/// A line longer than this is emitted in pieces of at most so many bytes.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Splits one stream into lines. What comes out depends on the bytes alone, never on how they were cut.
///
/// Decodes incrementally as WHATWG does: a character cut in two is put together, an invalid or truncated sequence becomes
/// U+FFFD, a byte order mark is kept. Lines end at `\n`; one `\r` before it is dropped; empty lines are kept.
pub struct LineSplitter {
    decoder: Decoder,
    unfinished: String,
}

impl Default for LineSplitter {
    fn default() -> Self {
        Self { decoder: UTF_8.new_decoder_without_bom_handling(), unfinished: String::new() }
    }
}

impl LineSplitter {
    /// Takes the next chunk, and returns the lines that are finished with it.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<String> {
        self.decode(chunk, End::NotYet);
        let mut lines = Vec::new();
        while let Some(line) = self.take_line() {
            lines.push(line);
        }
        lines
    }

    /// Ends the stream, and returns what was unfinished: as it stands, a `\r` at its end included.
    pub fn finish(mut self) -> Vec<String> {
        self.decode(&[], End::Now);
        let mut lines = Vec::new();
        while let Some(piece) = self.take_line() {
            lines.push(piece);
        }
        // Nothing follows any more that could take a `\r` from its end.
        if self.unfinished.len() > LINE_BYTES_MAX {
            lines.push(self.take_piece());
        }
        lines.extend(Some(self.unfinished).filter(|rest| !rest.is_empty()));
        lines
    }

    fn decode(&mut self, mut bytes: &[u8], end: End) {
        loop {
            let needed = self.decoder.max_utf8_buffer_length(bytes.len());
            self.unfinished.reserve(needed.expect("a chunk is far smaller than the address space"));
            let (result, read, _) = self.decoder.decode_to_string(bytes, &mut self.unfinished, end == End::Now);
            bytes = &bytes[read..];
            if result == CoderResult::InputEmpty {
                return;
            }
        }
    }

    /// The next line, or a piece of one that is too long; `None` when there is neither yet.
    fn take_line(&mut self) -> Option<String> {
        let newline = self.unfinished.find('\n');
        // A line break within reach may still have its `\r` dropped: only what is surely too long is cut.
        let length = newline.unwrap_or(self.unfinished.len());
        let text = &self.unfinished[..length];
        let ended = newline.map(|_| text.strip_suffix('\r').unwrap_or(text));
        let too_long = match ended {
            Some(line) => line.len() > LINE_BYTES_MAX,
            None => length > LINE_BYTES_MAX + 1,
        };
        if too_long {
            return Some(self.take_piece());
        }
        let line = ended?.to_owned();
        self.unfinished.drain(..=length);
        Some(line)
    }

    /// As much as may be emitted at once, cut between characters.
    fn take_piece(&mut self) -> String {
        let end = self.unfinished.floor_char_boundary(LINE_BYTES_MAX);
        self.unfinished.drain(..end).collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    Now,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let mut splitter = LineSplitter::default();
        let mut lines: Vec<_> = chunks.iter().flat_map(|chunk| splitter.push(chunk)).collect();
        lines.extend(splitter.finish());
        lines
    }

    #[test]
    fn a_character_cut_in_two_is_put_together() {
        assert_eq!(split(&[b"caf\xc3", b"\xa9\n"]), ["café"]);
    }

    #[test]
    fn a_line_that_is_too_long_comes_in_pieces_that_do_not_depend_on_the_cuts() {
        let line = "wände ".repeat(30_000);
        let whole = split(&[line.as_bytes(), b"\r\n"]);
        let bytes: Vec<&[u8]> = line.as_bytes().chunks(777).chain([&b"\r"[..], b"\n"]).collect();
        assert_eq!(whole, split(&bytes));
        assert_eq!(whole.concat(), line);
        assert!(whole.len() > 2 && whole.iter().all(|piece| piece.len() <= LINE_BYTES_MAX));
    }

    #[test]
    fn a_line_of_just_the_limit_stays_whole_with_its_carriage_return_dropped() {
        let line = "x".repeat(LINE_BYTES_MAX);
        assert_eq!(split(&[line.as_bytes(), b"\r", b"\nnext\n"]), [line.as_str(), "next"]);
    }
    #[test]
    fn a_last_line_one_byte_too_long_comes_in_pieces() {
        let line = "x".repeat(LINE_BYTES_MAX);
        assert_eq!(split(&[line.as_bytes(), b"y"]), [line.as_str(), "y"]);
        assert_eq!(split(&[line.as_bytes(), b"\r"]), [line.as_str(), "\r"]);
    }
}
