//! What simulated processes do: scripts for scenarios to choose from.

use std::{io, time::Duration};

use bytes::Bytes;

use super::process::Script;
use crate::{
    check::NodeIndex,
    env::{Command, ExitStatus, OutputStream},
};

/// A process that prints a little and succeeds.
pub fn quiet_success(_: NodeIndex, _: &Command) -> io::Result<Script> {
    Ok(printing(&[b"added 1 package in 1s\n"], ExitStatus::Code(0)))
}

/// A process that succeeds at once: the operation leaves its origin close behind the row.
pub fn instant_success(_: NodeIndex, _: &Command) -> io::Result<Script> {
    Ok(Script { exit: Some(ExitStatus::Code(0)), ..Script::default() })
}

/// A process that writes each of `chunks` to its standard output, and every third to standard error, then exits.
pub fn printing(chunks: &[&[u8]], exit: ExitStatus) -> Script {
    let writes = chunks.iter().enumerate().map(|(index, chunk)| {
        let stream = if index % 3 == 2 { OutputStream::Stderr } else { OutputStream::Stdout };
        (Duration::from_millis(3), stream, Bytes::copy_from_slice(chunk))
    });
    Script { writes: writes.collect(), last_pause: Duration::from_millis(5), exit: Some(exit), files: Vec::new() }
}
