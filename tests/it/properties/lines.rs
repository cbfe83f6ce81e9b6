//! UTF-8 reassembly: what is told of an installer's output depends on its bytes alone.

use std::time::Duration;

use bytes::Bytes;
use drydock::{
    check::NodeIndex,
    deploy::lines::{LINE_BYTES_MAX, LineSplitter},
    env::{ExitStatus, OutputStream},
    sim::process::Script,
};
use proptest::{
    prelude::*,
    sample::{Index, select},
};

use super::{Immortal, choices, kept_in, source};
use crate::story::{cluster_of, tell};

const BREAKS: [&[u8]; 4] = [b"\n", b"\r\n", b"\r", b"\n\n"];

/// Beginnings of characters, a surrogate, and no character at all.
const BROKEN: [&[u8]; 5] = [b"\xe2\x9c", b"\xf0\x9f", b"\xc3", b"\xed\xa0\x80", b"\xff"];

/// Bytes that a splitter can get wrong, and any others.
fn output() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[a-zé✔日😀\u{feff}\u{301}]{1,6}".prop_map(String::into_bytes),
        select(&BREAKS[..]).prop_map(<[u8]>::to_vec),
        select(&BROKEN[..]).prop_map(<[u8]>::to_vec),
        proptest::collection::vec(any::<u8>(), 1..4),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Output with one line of about the longest length that stays whole.
fn output_with_a_wall() -> impl Strategy<Value = Vec<u8>> {
    (output(), LINE_BYTES_MAX - 8..LINE_BYTES_MAX + 8, prop_oneof![Just("x"), Just("é"), Just("😀")], output())
        .prop_map(|(before, length, letter, after)| {
            let wall = letter.repeat(length / letter.len());
            [&before[..], wall.as_bytes(), &after].concat()
        })
}

fn cut_at<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    ends.sort_unstable();
    ends.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

fn split(chunks: &[&[u8]]) -> Vec<String> {
    let mut splitter = LineSplitter::default();
    let mut lines: Vec<String> = chunks.iter().flat_map(|chunk| splitter.push(chunk)).collect();
    lines.extend(splitter.finish());
    lines
}

/// The rule of spec 9 over the whole stream at once.
fn reference(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        let line = line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
        lines.extend(pieces(line));
    }
    lines
}

/// A line in pieces that fit, cut between characters.
fn pieces(line: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for letter in line.chars() {
        if pieces[pieces.len() - 1].len() + letter.len_utf8() > LINE_BYTES_MAX {
            pieces.push(String::new());
        }
        pieces.last_mut().unwrap().push(letter);
    }
    pieces
}

proptest! {
    #![proptest_config(kept_in("fixtures/regressions/lines.txt"))]

    #[test]
    fn lines_are_those_of_the_whole_stream_wherever_it_is_cut(
        bytes in output(),
        cuts in proptest::collection::vec(any::<Index>(), 0..12),
    ) {
        prop_assert_eq!(split(&cut_at(&bytes, &cuts)), reference(&bytes));
    }

    #[test]
    fn a_stream_of_single_bytes_gives_the_lines_of_the_whole(bytes in output()) {
        prop_assert_eq!(split(&bytes.chunks(1).collect::<Vec<_>>()), reference(&bytes));
    }

    #[test]
    fn a_line_of_about_the_longest_length_is_split_alike_wherever_it_is_cut(
        bytes in output_with_a_wall(),
        cuts in proptest::collection::vec(any::<Index>(), 0..6),
    ) {
        prop_assert_eq!(split(&cut_at(&bytes, &cuts)), reference(&bytes));
    }

    #[test]
    fn every_node_tells_the_lines_that_its_installer_printed(
        writes in proptest::collection::vec((any::<bool>(), output()), 0..5),
        choices in choices(300),
    ) {
        let story = async move |cluster: drydock::sim::cluster::Cluster| {
            cluster.script(move |_, _| Ok(printing(&writes)));
            let _ = cluster.deploy(NodeIndex(0), cluster.component()).await;
            cluster.settle().await;
        };
        let ((), report) = tell(&cluster_of(2), Immortal(source(choices)), story);
        prop_assert_eq!(report.violation(), None);
    }
}

fn printing(writes: &[(bool, Vec<u8>)]) -> Script {
    let stream = |is_error| if is_error { OutputStream::Stderr } else { OutputStream::Stdout };
    let write = |(is_error, bytes): &(bool, Vec<u8>)| {
        (Duration::from_millis(2), stream(*is_error), Bytes::copy_from_slice(bytes))
    };
    Script {
        writes: writes.iter().map(write).collect(),
        last_pause: Duration::ZERO,
        exit: Some(ExitStatus::Code(0)),
        files: Vec::new(),
    }
}
