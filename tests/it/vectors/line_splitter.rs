//! The line splitter against every recorded stream: no difference is wanted.

use drydock::deploy::lines::LineSplitter;
use serde_json::Value;

use super::read;

/// The bytes that a text in base 64 stands for.
fn bytes(base64: &str) -> Vec<u8> {
    let digits = base64.bytes().filter(|digit| *digit != b'=').map(|digit| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        _ => 63,
    });
    let bits: Vec<bool> = digits.flat_map(|digit| (0..6).rev().map(move |bit| digit >> bit & 1 == 1)).collect();
    bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn check(vector: &Value) {
    let mut splitter = LineSplitter::default();
    let chunks = texts(&vector["chunks_base64"]);
    let mut lines: Vec<String> = chunks.iter().flat_map(|chunk| splitter.push(&bytes(chunk))).collect();
    let at_flush = splitter.finish();
    if vector["lines_at_flush"].is_array() {
        assert_eq!(at_flush, texts(&vector["lines_at_flush"]), "at the flush of {vector}");
    }
    lines.extend(at_flush);
    assert_eq!(lines, texts(&vector["lines"]), "{vector}");
}

/// The same stream cut in two at every byte.
fn check_every_cut(vector: &Value) {
    let whole = texts(&vector["chunks_base64"]).iter().flat_map(|chunk| bytes(chunk)).collect::<Vec<u8>>();
    for cut in 0..=whole.len() {
        let mut splitter = LineSplitter::default();
        let mut lines = splitter.push(&whole[..cut]);
        lines.extend(splitter.push(&whole[cut..]));
        lines.extend(splitter.finish());
        assert_eq!(lines, texts(&vector["lines"]), "cut at {cut}: {vector}");
    }
}

fn every(text: &str, check: impl Fn(&Value)) {
    read(text).as_array().unwrap().iter().for_each(check);
}

#[test]
fn every_recorded_stream_gives_the_lines_of_the_original() {
    every(include_str!("../../../fixtures/vectors/line-splitter.json"), check);
    every(include_str!("../../../fixtures/vectors/line-splitter-random.json"), check);
}

#[test]
fn every_recorded_stream_gives_those_lines_wherever_it_is_cut() {
    every(include_str!("../../../fixtures/vectors/line-splitter.json"), check_every_cut);
    every(include_str!("../../../fixtures/vectors/line-splitter-random.json"), check_every_cut);
}
