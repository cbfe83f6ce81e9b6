//! Every invariant, each a small file; all are on in every run.
//!
//! An invariant sees [`Facts`] and says how often it had something to look at, and the first break. It trusts nothing
//! that the deploy logic says of itself where the seam shows the truth: what a node runs is what was renamed into its
//! live path, what a process printed is what the process wrote.

mod authz;
mod blobref;
mod budget;
mod bytes;
mod cause;
mod conv;
mod cover;
mod cpu;
mod cursor;
mod deletion;
mod exit;
mod facts;
mod fresh;
mod hash;
mod install;
mod lines;
mod mem;
mod mono;
mod noorphan;
mod nounhandled;
mod oneterm;
mod outsiders;
mod own;
mod peers;
mod prev;
mod progress;
mod quiet;
mod read;
mod readers;
mod retain;
mod row;
mod serve;
mod tail;
mod term;
mod truth;
mod verdict;
mod wake;

pub use facts::{Facts, Row};
pub use lines::reference_lines;

use super::Invariant;

/// All invariants, in the order of museum.md.
pub const ALL: &[Invariant] = &[
    truth::TRUTH,
    peers::PEERS,
    cover::COVER,
    term::TERM,
    oneterm::ONETERM,
    mono::MONO,
    conv::CONV,
    bytes::BYTES,
    hash::HASH,
    blobref::BLOBREF,
    noorphan::NOORPHAN,
    retain::RETAIN,
    prev::PREV,
    wake::WAKE,
    budget::BUDGET,
    cause::CAUSE,
    nounhandled::NOUNHANDLED,
    install::INSTALL,
    lines::LINES,
    tail::TAIL,
    quiet::QUIET,
    cursor::CURSOR,
    cpu::CPU,
    own::OWN,
    mem::MEM,
    authz::AUTHZ,
    progress::PROGRESS,
    exit::EXIT,
    serve::SERVE,
    row::ROW,
    read::READ,
    fresh::FRESH,
];
