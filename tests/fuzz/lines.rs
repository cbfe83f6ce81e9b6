//! Lines: those of the reference splitting, wherever the output is cut; and little is held back.

use drydock::{
    check::invariants::reference_lines,
    deploy::lines::{LINE_BYTES_MAX, LineSplitter},
};

use crate::pieces::whatever_the_cutting;

/// A byte that stands for a wall of letters, of about the longest line.
const WALL: u8 = 0;

/// How many of them: more make it slow, and show nothing.
const WALLS_MAX: usize = 2;

/// A line that is not ended, as long as it may be held, is two by the reference when a broken character ends it.
const HELD_BACK_MAX: usize = 2;

pub(crate) fn check(bytes: &[u8]) {
    let output = with_walls(bytes);
    let lines = whatever_the_cutting(&output, split);
    assert_eq!(lines, reference_lines(&output));
    assert!(lines.iter().all(|line| line.len() <= LINE_BYTES_MAX));
    holds_little_back(&output);
}

/// Walls are a few letters shorter or longer than a line may be, as the byte behind them says.
fn with_walls(bytes: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    let mut walls = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == WALL && walls < WALLS_MAX {
            walls += 1;
            let more = usize::from(bytes.get(at + 1).copied().unwrap_or_default() % 8);
            output.extend(std::iter::repeat_n(b'x', LINE_BYTES_MAX - 4 + more));
        } else {
            output.push(*byte);
        }
    }
    output
}

fn split(pieces: &[&[u8]]) -> Vec<String> {
    let mut splitter = LineSplitter::default();
    let mut lines: Vec<String> = pieces.iter().flat_map(|piece| splitter.push(piece)).collect();
    lines.extend(splitter.finish());
    lines
}

/// What is told before the stream ends, whose end nobody knows.
fn holds_little_back(output: &[u8]) {
    let told = LineSplitter::default().push(output).len();
    let so_far = reference_lines(output).len();
    assert!(told + HELD_BACK_MAX >= so_far, "{told} lines are told of {so_far}");
}
