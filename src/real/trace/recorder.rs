//! Writes a node's trace.
//!
//! A line is handed to the system before what it tells of can be seen by another node, and so the death of the process loses
//! none that another node could have acted on. The system takes a line into its memory; nothing is synced, for a trace need
//! not survive the machine.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    line::{ClientAct, FILE, FILE_BEFORE, Life, Line, Stamp, What},
    payloads::Payload,
};
use crate::{
    check::{Event, Fault, NodeIndex},
    env::{BlobId, NodeName, Pulse},
    real::journal::move_away,
};

/// How long a trace may become before its lines are moved to the other file.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A node's trace; clones are handles to the same one.
#[derive(Clone)]
pub(in crate::real) struct Recorder(Rc<Shared>);

struct Shared {
    directory: PathBuf,
    /// All members, in name order: their places are the nodes' indices.
    members: Vec<NodeName>,
    log: RefCell<Log>,
    puts: Cell<u32>,
    processes: Cell<u32>,
    clients: Cell<u32>,
    /// The most that each queue has held in this life.
    held: RefCell<BTreeMap<&'static str, usize>>,
    /// What the first task that panicked in this life said.
    panicked: RefCell<Option<String>>,
    panics: Pulse,
}

/// The file that lines go to.
struct Log {
    file: fs::File,
    bytes: u64,
    /// Why the last lines could not be written.
    gap: Option<String>,
}

/// Something that is about to become durable.
#[must_use = "what comes of an intent is recorded with `did` or `did_not`"]
pub(in crate::real) struct Intent(Stamp);

impl Recorder {
    /// Opens the trace in a node's directory for a life that is about to begin.
    pub(in crate::real) fn open(directory: &Path, members: Vec<NodeName>) -> io::Result<Self> {
        let mut log = Log::open(directory)?;
        if log.bytes > 0 {
            // What a life that was killed wrote last may have no end.
            let _ = log.append(b"\n");
        }
        Ok(Self(Rc::new(Shared {
            directory: directory.to_owned(),
            members,
            log: RefCell::new(log),
            puts: Cell::default(),
            processes: Cell::default(),
            clients: Cell::default(),
            held: RefCell::default(),
            panicked: RefCell::default(),
            panics: Pulse::default(),
        })))
    }

    pub(super) fn begins(&self, life: Life) {
        self.write(Stamp::now(), What::Begins(Box::new(life)));
    }

    /// The place of a member.
    pub(in crate::real) fn index_of(&self, node: &NodeName) -> Option<NodeIndex> {
        let place = self.0.members.iter().position(|member| member == node)?;
        u8::try_from(place).ok().map(NodeIndex)
    }

    /// All members' places.
    pub(in crate::real) fn members(&self) -> Vec<NodeIndex> {
        self.0.members.iter().filter_map(|member| self.index_of(member)).collect()
    }

    /// Something has happened just now.
    pub(in crate::real) fn record(&self, event: &Event) {
        self.record_at(Stamp::now(), event);
    }

    /// Something has happened at a moment that is over.
    pub(in crate::real) fn record_at(&self, at: Stamp, event: &Event) {
        self.write(at, What::Event(Cow::Borrowed(event)));
    }

    /// A device of this machine has failed.
    pub(in crate::real) fn broke(&self, what: &'static str, cause: &dyn std::fmt::Display) {
        self.record(&Event::Fault(Fault::Broke { what: what.into(), cause: cause.to_string() }));
    }

    /// A task has panicked.
    pub(in crate::real) fn panicked(&self, task: String, message: String) {
        let said = format!("{task}: {message}");
        self.record(&Event::TaskPanicked { task, message });
        self.0.panicked.borrow_mut().get_or_insert(said);
        self.0.panics.beat();
    }

    /// Resolves when a task has panicked, with its name and what it said.
    pub(in crate::real) async fn panic(&self) -> String {
        let mut panics = self.0.panics.subscribe();
        loop {
            if let Some(first) = self.0.panicked.borrow().clone() {
                return first;
            }
            panics.changed().await;
        }
    }

    /// Something of this node's is not in its trace.
    pub(super) fn gap(&self, cause: &dyn std::fmt::Display) {
        self.write(Stamp::now(), What::Gap { cause: cause.to_string() });
    }

    /// A whole payload has been let go.
    pub(in crate::real) fn let_go(&self, blob: BlobId, payload: Payload) {
        self.write(Stamp::now(), What::LetGo { blob, payload });
    }

    /// `event` is about to become durable; it counts from this moment on, if it does.
    pub(in crate::real) fn intend(&self, event: &Event) -> Intent {
        let at = Stamp::now();
        self.write(at, What::Intends(Cow::Borrowed(event)));
        Intent(at)
    }

    /// It has become durable.
    pub(in crate::real) fn did(&self, intent: &Intent) {
        self.write(Stamp::now(), What::Did(intent.0));
    }

    /// It has not.
    pub(in crate::real) fn did_not(&self, intent: &Intent) {
        self.write(Stamp::now(), What::DidNot(intent.0));
    }

    pub(super) fn client(&self, at: Stamp, client: u32, did: ClientAct) {
        self.write(at, What::Client { client, did });
    }

    pub(super) fn next_client(&self) -> u32 {
        next(&self.0.clients)
    }

    pub(in crate::real) fn next_put(&self) -> u32 {
        next(&self.0.puts)
    }

    pub(in crate::real) fn next_process(&self) -> u32 {
        next(&self.0.processes)
    }

    /// A queue has taken an item, see [`crate::env::Env::holds`].
    pub(in crate::real) fn holds(&self, queue: &'static str, bytes: usize, item_bytes: usize) {
        let most = self.0.held.borrow().get(queue).copied().unwrap_or_default();
        if bytes > most {
            self.0.held.borrow_mut().insert(queue, bytes);
            self.record(&Event::Holds { queue: queue.into(), bytes: bytes as u64, item_bytes: item_bytes as u64 });
        }
    }

    fn write(&self, at_ns: Stamp, what: What<'_>) {
        self.0.log.borrow_mut().write(&self.0.directory, &Line { at_ns, what });
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.log.get_mut().write(&self.directory, &Line { at_ns: Stamp::now(), what: What::Ends });
    }
}

fn next(count: &Cell<u32>) -> u32 {
    count.replace(count.get() + 1)
}

impl Log {
    fn open(directory: &Path) -> io::Result<Self> {
        let file = fs::OpenOptions::new().create(true).append(true).open(directory.join(FILE))?;
        Ok(Self { bytes: file.metadata()?.len(), file, gap: None })
    }

    /// Writes a line. One that cannot be written leaves a gap, which is noted before the next one that can.
    fn write(&mut self, directory: &Path, line: &Line<'_>) {
        let written = self.turn(directory).and_then(|()| {
            if let Some(cause) = self.gap.clone() {
                let gap = encode(&Line { at_ns: line.at_ns, what: What::Gap { cause } })?;
                // The line before may be torn.
                self.append(&[b"\n", &gap[..]].concat())?;
                self.gap = None;
            }
            self.append(&encode(line)?)
        });
        if let Err(error) = written {
            self.gap = Some(error.to_string());
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Goes on in a fresh file when this one is too long.
    fn turn(&mut self, directory: &Path) -> io::Result<()> {
        if self.bytes < FILE_BYTES_MAX {
            return Ok(());
        }
        move_away(&directory.join(FILE), &directory.join(FILE_BEFORE))?;
        *self = Self { gap: self.gap.take(), ..Self::open(directory)? };
        self.append(&encode(&Line { at_ns: Stamp::now(), what: What::GoesOn })?)
    }
}

fn encode(line: &Line<'_>) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{super::reading, *};

    fn happens(log: &mut Log, directory: &Path) {
        log.write(directory, &Line { at_ns: Stamp::now(), what: What::Event(Cow::Owned(Event::Restarted)) });
    }

    fn begun(directory: &Path) -> Log {
        let mut log = Log::open(directory).unwrap();
        let node = NodeName::from("n1");
        let life = Life {
            members: vec![node.clone()],
            node,
            settings: BTreeMap::new(),
            rows: Vec::new(),
            blobs: BTreeMap::new(),
        };
        log.write(directory, &Line { at_ns: Stamp::now(), what: What::Begins(Box::new(life)) });
        log
    }

    #[test]
    fn a_line_that_cannot_be_written_is_a_gap_and_no_failure() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = begun(directory.path());
        let file = std::mem::replace(&mut log.file, fs::File::options().write(true).open("/dev/full").unwrap());
        happens(&mut log, directory.path());
        log.file = file;
        happens(&mut log, directory.path());
        let read = reading::read(directory.path()).unwrap();
        assert_eq!(read.lives[0].lines.len(), 1);
        assert!(matches!(&read.holes[..], [hole] if hole.contains("No space left")), "{:?}", read.holes);
    }

    #[test]
    fn a_trace_that_is_too_long_goes_on_in_another_file_and_then_loses_its_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = begun(directory.path());
        for holes in [0, 1] {
            happens(&mut log, directory.path());
            log.bytes = FILE_BYTES_MAX;
            happens(&mut log, directory.path());
            let read = reading::read(directory.path()).unwrap();
            assert_eq!(read.holes.len(), holes, "{:?}", read.holes);
            assert_eq!(read.lives.iter().map(|life| life.lines.len()).sum::<usize>(), 2 * (1 - holes));
        }
    }

    #[test]
    fn a_trace_whose_fresh_file_could_not_be_opened_goes_on_when_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = begun(directory.path());
        log.bytes = FILE_BYTES_MAX;
        fs::rename(directory.path().join(FILE), directory.path().join(FILE_BEFORE)).unwrap();
        happens(&mut log, directory.path());
        let read = reading::read(directory.path()).unwrap();
        assert_eq!((read.lives[0].lines.len(), &read.holes[..]), (1, &[][..]));
    }
}
