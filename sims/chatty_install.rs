//! A deploy whose installer prints everything that a line splitter can get wrong.
//!
//! Simulates output with characters of two to four bytes, carriage returns, empty lines, invalid bytes, a line that is
//! never finished, one of more than 64 KiB or very many of more than 4, and more lines than the event log keeps; the pipe
//! cuts it anywhere. Fails when a line told is not a line printed, when a row outgrows what replicates, when rows that wait for
//! the store outgrow their bound, or when the log loses count of what it dropped.

use crate::{
    check::NodeIndex,
    env::ExitStatus,
    sim::{cluster::Cluster, scenario::Scenario, scripts},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "chatty-install",
    summary: "a deploy whose installer prints multi-byte, broken, endless and very many lines",
    other_sizes: &[],
    tell: |cluster| Box::pin(tell(cluster)),
};

const PIECES: [&[u8]; 10] = [
    "✔ hello 日本語 installiert\n".as_bytes(),
    "> postinstall 😀👨‍👩‍👧 ".as_bytes(),
    b"windows line\r\nbare\rreturn\r\r\n",
    b"\n\n",
    b"broken \xff\xc3\x28 and cut \xe2\x82 bytes\n",
    "\u{feff}é̂ ends here\r\n".as_bytes(),
    b"\xf0\x9f",
    b"\x98\x80\n",
    b"no end",
    b"\r",
];

/// Lines of a flood that come in one write, where the pipe does not cut it.
const LINES_AT_ONCE: usize = 45;

async fn tell(cluster: Cluster) {
    let first = cluster.choose(PIECES.len() as u32) as usize;
    let count = 3 + cluster.choose(PIECES.len() as u32) as usize;
    let many = cluster.choose_from(&[0, 0, 230, 450]);
    // How many lines, and of how many words: one that is endless, or so many long ones that rows are as large as they get.
    let (walls, words) = cluster.choose_from(&[(0, 0), (220, 700), (1, 12_000), (220, 700), (220, 700)]);
    cluster.script(move |_, _| {
        let lines: Vec<String> = (0..many).map(|line| format!("added {line}\n")).collect();
        let flood: Vec<String> = lines.chunks(LINES_AT_ONCE).map(<[String]>::concat).collect();
        let wall = format!("{}\n", "wände ".repeat(words));
        let mut pieces: Vec<&[u8]> = (0..count).map(|index| PIECES[(first + index) % PIECES.len()]).collect();
        pieces.extend(flood.iter().map(String::as_bytes));
        pieces.extend(std::iter::repeat_n(wall.as_bytes(), walls));
        Ok(scripts::printing(&pieces, ExitStatus::Code(0)))
    });
    let _ = cluster.deploy(NodeIndex(0), cluster.component()).await;
    cluster.settle().await;
}
