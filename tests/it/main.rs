//! The promises of the whole, as its users rely on them. One binary, so that it is linked once.
//!
//! - `story` is the vocabulary: tells a story in a simulated cluster, and names the command that replays a failing run.
//! - `scenarios` runs every scenario of `sims` on every world.
//! - `properties` hold for all inputs and choices; what once failed stands in `fixtures/regressions`.
//! - `vectors` compares with the recorded answers of the original.
//! - `capsules` replays what once broke.
//! - `exhibits` keeps the museum up to date with the code.
//! - `blob_reads`, `install`, `load`, `restarts`, `big_operation` are parts of the logic at times and sizes of their own.
//! - `pauses` stops nodes as a whole; `settling` says by when a cluster that has healed must have come to rest.
//! - `archive` packs and unpacks: the vocabulary, and the rules of what an archive may hold.
//! - `bad_frames` has a member send what is no frame.
//! - `trace_lines` writes events as lines and reads them back.
//! - `canaries` shows that each invariant can fail.
//! - `snapshots` are what people read: a calm deploy, and every error.

mod archive;
mod bad_frames;
mod big_operation;
mod blob_reads;
mod canaries;
mod capsules;
mod exhibits;
mod install;
mod load;
mod pauses;
mod properties;
mod restarts;
mod rollback;
mod scenarios;
mod scripted;
mod settling;
mod slots;
mod snapshots;
mod story;
mod trace_lines;
mod vectors;
