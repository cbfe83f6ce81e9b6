//! Reads the trace in a node's directory: life by life, with what is missing of it.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::Path,
};

use super::line::{FILE, FILE_BEFORE, Life, Line, Stamp, What};

/// What one node's trace says.
#[derive(Default)]
pub(super) struct NodeTrace {
    pub(super) lives: Vec<LifeTrace>,
    /// What is missing of it, in plain words.
    pub(super) holes: Vec<String>,
}

/// One life.
pub(super) struct LifeTrace {
    pub(super) life: Life,
    pub(super) began: Stamp,
    /// In the order of their writing.
    pub(super) lines: Vec<(Stamp, What<'static>)>,
    /// It ended in order.
    pub(super) ended: Option<Stamp>,
}

impl LifeTrace {
    /// When the node was last heard of.
    pub(super) fn last(&self) -> Stamp {
        let lines = self.lines.iter().map(|(at, _)| *at);
        lines.chain(self.ended).fold(self.began, Stamp::max)
    }
}

/// Reads the trace in `directory`; no lives when the node has never run.
pub(super) fn read(directory: &Path) -> io::Result<NodeTrace> {
    let mut reading = Reading::default();
    for name in [FILE_BEFORE, FILE] {
        match fs::File::open(directory.join(name)) {
            Ok(file) => reading.file(directory, name, BufReader::new(file))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(reading.read)
}

#[derive(Default)]
struct Reading {
    read: NodeTrace,
    /// A line that cannot be read: no loss if a life ended there.
    torn: Option<String>,
}

impl Reading {
    fn file(&mut self, directory: &Path, name: &str, lines: impl BufRead) -> io::Result<()> {
        for (index, bytes) in lines.split(b'\n').enumerate() {
            let bytes = bytes?;
            if bytes.is_empty() {
                continue;
            }
            match serde_json::from_slice::<Line<'static>>(&bytes) {
                Ok(line) => self.line(directory, line),
                Err(error) => {
                    let place = directory.join(name);
                    let what = format!("line {} of {} cannot be read: {error}", index + 1, place.display());
                    self.hole(Some(what));
                }
            }
        }
        Ok(())
    }

    /// Notes the torn line before, if there is one: something goes on behind it.
    fn hole(&mut self, next: Option<String>) {
        self.read.holes.extend(std::mem::replace(&mut self.torn, next));
    }

    fn line(&mut self, directory: &Path, Line { at_ns, what }: Line<'static>) {
        match what {
            What::Begins(life) => {
                // Whoever was killed while it wrote has lost nothing that another node knew of.
                self.torn = None;
                self.read.lives.push(LifeTrace { life: *life, began: at_ns, lines: Vec::new(), ended: None });
            }
            What::Gap { cause } => {
                self.torn = None;
                self.read.holes.push(format!("the trace in {} has a gap: {cause}", directory.display()));
            }
            what => {
                self.hole(None);
                self.in_life(directory, at_ns, what);
            }
        }
    }

    fn in_life(&mut self, directory: &Path, at: Stamp, what: What<'static>) {
        match (self.read.lives.last_mut(), what) {
            (Some(life), What::Ends) => life.ended = Some(at),
            (Some(_), What::GoesOn) => {}
            (Some(life), what) => life.lines.push((at, what)),
            (None, _) if self.read.holes.is_empty() => {
                let lost = format!("the trace in {} became too long, and its beginning is gone", directory.display());
                self.read.holes.push(lost);
            }
            (None, _) => {}
        }
    }
}
