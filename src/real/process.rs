//! Child processes, each the leader of a process group of its own.

use std::{io, path::PathBuf, process::Stdio, time::Duration};

use bytes::{Bytes, BytesMut};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process,
    time::{Instant, sleep_until},
};

use super::{
    leftovers::MARK,
    trace::{Recorder, Trees},
};
use crate::check::Event;
use crate::env::{Child, Command, ExitStatus, Output, OutputStream, Processes};

/// The most bytes of one chunk.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// How long a stream is waited for when the leader has ended: what has left its group can hold it open for ever.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// How much is read of a stream when the leader has ended; no pipe holds more that was written before.
const DRAIN_BYTES_MAX: u64 = 1024 * 1024;

/// A node's processes.
#[derive(Clone)]
pub struct RealProcesses {
    root: PathBuf,
    recorder: Recorder,
    trees: Trees,
}

impl RealProcesses {
    pub(super) fn new(root: PathBuf, recorder: Recorder, trees: Trees) -> Self {
        Self { root, recorder, trees }
    }
}

impl Processes for RealProcesses {
    type Child = RealChild;

    async fn spawn(&self, command: &Command) -> io::Result<RealChild> {
        self.trees.before_process(&command.directory).await;
        let started = process::Command::new(&command.program)
            .args(&command.args)
            .current_dir(self.root.join(&command.directory))
            .env(MARK, &self.root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut child = started.inspect_err(|error| self.recorder.broke(kind_of(error), error))?;
        let process = self.recorder.next_process();
        self.recorder.record(&Event::ProcessStarted { process, command: command.clone() });
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(RealChild {
            group: Some(group.expect("a child that was just started has a process id")),
            stdout: Pipe::of(child.stdout.take()),
            stderr: Pipe::of(child.stderr.take()),
            ended: None,
            child,
            told: Told { process, directory: command.directory.clone(), processes: self.clone(), over: false },
        })
    }
}

/// Which kind of failure it is that a program does not start: that there is none is the node's own state.
fn kind_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "no-such-program",
        _ => "spawn-fails",
    }
}

/// A running child.
pub struct RealChild {
    /// Until the group is gone.
    group: Option<Pid>,
    child: process::Child,
    stdout: Pipe<process::ChildStdout>,
    stderr: Pipe<process::ChildStderr>,
    /// How its leader ended, and until when its streams are drained.
    ended: Option<(ExitStatus, Instant)>,
    told: Told,
}

/// What a child writes to.
struct Pipe<R> {
    /// Until it is drained.
    reader: Option<R>,
    /// How much is still read.
    bytes_left: u64,
}

impl<R: AsyncRead + Unpin> Pipe<R> {
    fn of(reader: Option<R>) -> Self {
        Self { reader, bytes_left: u64::MAX }
    }

    /// The next bytes; the stream is let go at its end. Never when it is drained. Safe to cancel.
    async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        let Some(reader) = &mut self.reader else { return std::future::pending().await };
        let mut bytes = BytesMut::with_capacity(CHUNK_BYTES_MAX);
        if self.bytes_left == 0 || reader.read_buf(&mut bytes).await? == 0 {
            self.reader = None;
            return Ok(None);
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes.len() as u64);
        Ok(Some(bytes.freeze()))
    }
}

/// A child in its node's trace.
struct Told {
    process: u32,
    directory: PathBuf,
    processes: RealProcesses,
    over: bool,
}

impl Told {
    fn wrote(&self, stream: OutputStream, bytes: &Bytes) {
        let event = Event::ProcessOutput { process: self.process, stream, bytes: bytes.clone() };
        self.processes.recorder.record(&event);
    }

    /// It has ended by itself, and what it left is there. Safe to cancel.
    async fn exited(&mut self, status: ExitStatus) {
        if !self.over {
            self.processes.trees.after_process(&self.directory).await;
            self.ended(status);
        }
    }

    /// Nobody knows any more what it does.
    fn unreadable(&self, cause: io::Error) -> io::Error {
        let event = Event::ProcessUnreadable { process: self.process, cause: cause.to_string() };
        self.processes.recorder.record(&event);
        cause
    }

    /// Its node ends it, unless it has ended.
    fn killed(&self) {
        if !self.over {
            self.processes.recorder.record(&Event::ProcessKilled { process: self.process });
        }
    }

    fn ended(&mut self, status: ExitStatus) {
        if !std::mem::replace(&mut self.over, true) {
            self.processes.recorder.record(&Event::ProcessExited { process: self.process, status });
        }
    }
}

impl RealChild {
    /// The leader has ended: what it left behind in its group ends too, and with it the last hold on the streams.
    fn ended(&mut self, status: std::process::ExitStatus) {
        use std::os::unix::process::ExitStatusExt;
        self.end_group();
        let signal = ExitStatus::Signal(status.signal().unwrap_or_default());
        self.ended = Some((status.code().map_or(signal, ExitStatus::Code), Instant::now() + DRAIN_WITHIN));
        self.stdout.bytes_left = DRAIN_BYTES_MAX;
        self.stderr.bytes_left = DRAIN_BYTES_MAX;
    }

    fn end_group(&mut self) {
        if let Some(group) = self.group.take() {
            // A group that is gone already is what was wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// What a child did next.
enum Next {
    Bytes(OutputStream, Option<Bytes>),
    Ended(std::process::ExitStatus),
    /// Nothing for too long after its end.
    Silent,
}

impl Child for RealChild {
    async fn next(&mut self) -> io::Result<Output> {
        loop {
            let Self { child, stdout, stderr, ended, .. } = self;
            if let (Some((status, _)), None, None) = (*ended, &stdout.reader, &stderr.reader) {
                self.told.exited(status).await;
                return Ok(Output::Exit(status));
            }
            let drained = ended.map_or_else(Instant::now, |(_, drained)| drained);
            let next = tokio::select! {
                biased;
                // First: what the leader leaves behind could write for as long as it is not ended.
                status = child.wait(), if ended.is_none() => status.map(Next::Ended),
                bytes = stdout.chunk() => bytes.map(|bytes| Next::Bytes(OutputStream::Stdout, bytes)),
                bytes = stderr.chunk() => bytes.map(|bytes| Next::Bytes(OutputStream::Stderr, bytes)),
                () = sleep_until(drained), if ended.is_some() => Ok(Next::Silent),
            };
            match next.map_err(|cause| self.told.unreadable(cause))? {
                Next::Bytes(stream, Some(bytes)) => {
                    self.told.wrote(stream, &bytes);
                    return Ok(Output::Chunk(stream, bytes));
                }
                Next::Bytes(_, None) => {}
                Next::Ended(status) => self.ended(status),
                Next::Silent => (self.stdout.reader, self.stderr.reader) = (None, None),
            }
        }
    }

    async fn kill_group(&mut self) -> io::Result<()> {
        self.told.killed();
        self.end_group();
        self.child.wait().await?;
        self.told.ended(ExitStatus::Signal(Signal::KILL.as_raw()));
        Ok(())
    }
}

impl Drop for RealChild {
    fn drop(&mut self) {
        self.end_group();
        self.told.ended(ExitStatus::Signal(Signal::KILL.as_raw()));
    }
}
