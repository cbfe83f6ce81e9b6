//! Follows another node's log: commits its rows as they come, and takes in the blobs that they refer to.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    io,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncRead, split},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::Xxh3;

use super::{
    cursor::Cursor,
    frame::{self, Frame, FrameError, FrameReader, FrameWriter, PROTOCOL},
    operations::SILENCE_MAX,
    version::supersedes,
};
use crate::env::{
    BlobError, BlobId, BlobState, Blobs, Env, Journal, Network, NodeName, Port, Position, Record, Table, Task,
};

/// Waits between two tries to connect: doubling from the first to the longest.
const RECONNECT_FIRST: Duration = Duration::from_millis(500);
const RECONNECT_MAX: Duration = Duration::from_secs(30);

/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// Rows that are committed side by side: so many, and so many bytes of them and one row.
const COMMITS_MAX: usize = 32;
const COMMITS_BYTES_MAX: usize = 1024 * 1024;

/// Follows `source` until it has left the cluster; reconnects whenever the link breaks. Returns when all that was under
/// way is settled: rows are committed, and half blobs are gone.
pub(super) async fn follow<E: Env>(env: E, source: NodeName, left: CancellationToken) {
    let saved = until_read(&env, &source).await;
    let mut progress = Progress { cursor: Cursor::resuming(saved), saved };
    let mut wait = RECONNECT_FIRST;
    while !left.is_cancelled() {
        let (before, began) = (progress.cursor.resume_after(), Instant::now());
        let cause = Link::new(&env, &source, &left, &mut progress).follow().await;
        env.journal(Journal::Dropped { what: format!("link to {source}"), cause: cause.to_string() });
        // A link that stood longer than any wait was well, even if nothing came over it.
        if progress.cursor.resume_after() > before || began.elapsed() > RECONNECT_MAX {
            wait = RECONNECT_FIRST;
        }
        tokio::select! {
            biased;
            () = left.cancelled() => {}
            () = sleep(wait) => {}
        }
        wait = (wait * 2).min(RECONNECT_MAX);
    }
}

async fn until_read<E: Env>(env: &E, source: &NodeName) -> Position {
    loop {
        match env.table().cursor(source).await {
            Ok(position) => return position,
            Err(cause) => super::pause_after(env, "reading a cursor", &cause).await,
        }
    }
}

/// How far a subscription has come, over all its links.
struct Progress {
    cursor: Cursor,
    /// The part of it that is durable.
    saved: Position,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("silent for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("it has left the cluster")]
    Left,
    #[error("blob {0} came damaged")]
    Damaged(BlobId),
    /// A fresh link brings the blob again.
    #[error("a blob could not be stored: {0}")]
    Blob(#[from] BlobError),
}

/// A blob that is coming in.
struct Incoming {
    checksum: Xxh3,
    bytes: u64,
}

/// One connection to the source.
struct Link<'a, E> {
    env: &'a E,
    source: &'a NodeName,
    left: &'a CancellationToken,
    progress: &'a mut Progress,
    blobs: BTreeMap<BlobId, Incoming>,
    /// Blobs that the source will never send: no row waits for them any more.
    given_up: BTreeSet<BlobId>,
    commits: FuturesUnordered<Task<Committed>>,
    commits_bytes: usize,
    saving: Option<Task<Option<Position>>>,
}

impl<'a, E: Env> Link<'a, E> {
    fn new(env: &'a E, source: &'a NodeName, left: &'a CancellationToken, progress: &'a mut Progress) -> Self {
        Self {
            env,
            source,
            left,
            progress,
            blobs: BTreeMap::new(),
            given_up: BTreeSet::new(),
            commits: FuturesUnordered::new(),
            commits_bytes: 0,
            saving: None,
        }
    }

    /// Takes frames until the link breaks; returns why.
    async fn follow(mut self) -> LinkError {
        let cause = match self.run().await {
            Ok(never) => match never {},
            Err(cause) => cause,
        };
        self.let_go().await;
        cause
    }

    async fn run(&mut self) -> Result<Infallible, LinkError> {
        let left = self.left;
        let mut reader = tokio::select! {
            biased;
            () = left.cancelled() => return Err(LinkError::Left),
            reader = self.subscribe() => reader?,
        };
        loop {
            self.step(&mut reader).await?;
        }
    }

    async fn subscribe(&mut self) -> Result<FrameReader<impl AsyncRead + Unpin + use<E>>, LinkError> {
        let connected = timeout(CONNECT_MAX, self.env.network().connect(self.source, Port::Rows)).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(LinkError::Connect)?;
        let (reader, writer) = split(stream);
        let after = self.progress.cursor.resume_after();
        let hello = frame::encode(&Frame::Subscribe { protocol: PROTOCOL, after });
        timeout(SILENCE_MAX, FrameWriter::new(writer).send(hello)).await.map_err(|_| LinkError::Silent)??;
        Ok(FrameReader::new(reader))
    }

    /// Takes the next frame, or notes a commit that has come through. Only the wait for a frame counts as silence: what
    /// this node takes its time for is not the sender's.
    async fn step<R: AsyncRead + Unpin>(&mut self, reader: &mut FrameReader<R>) -> Result<(), LinkError> {
        self.save_if_due();
        let room = self.commits.len() < COMMITS_MAX && self.commits_bytes < COMMITS_BYTES_MAX;
        tokio::select! {
            biased;
            () = self.left.cancelled() => return Err(LinkError::Left),
            Some(committed) = self.commits.next() => self.row_done(&committed),
            saved = finished(&mut self.saving) => {
                self.saving = None;
                self.progress.saved = saved.unwrap_or(self.progress.saved);
            }
            frame = timeout(SILENCE_MAX, reader.next()), if room => {
                let bytes = frame.map_err(|_| LinkError::Silent)??;
                self.take(&bytes).await?;
            }
        }
        Ok(())
    }

    /// Keeps how far the subscription has come, one save at a time: what comes meanwhile the next one holds.
    fn save_if_due(&mut self) {
        let position = self.progress.cursor.resume_after();
        if self.saving.is_some() || position <= self.progress.saved {
            return;
        }
        let (env, source) = (self.env.clone(), self.source.clone());
        self.saving = Some(self.env.spawn("save cursor", async move {
            match env.table().save_cursor(&source, position).await {
                Ok(()) => Some(position),
                Err(cause) => {
                    super::pause_after(&env, "saving a cursor", &cause).await;
                    None
                }
            }
        }));
    }

    async fn take(&mut self, bytes: &Bytes) -> Result<(), LinkError> {
        match frame::decode(bytes)? {
            Frame::Row { position, key, version, value, blob } => {
                let record = frame::record(bytes, key, version, value, blob);
                self.take_row(position, record).await?;
            }
            Frame::BlobBegin(id) => self.begin_blob(id).await?,
            Frame::BlobChunk { id, offset, bytes: chunk } => {
                self.take_chunk(id, offset, bytes.slice_ref(chunk)).await?
            }
            Frame::BlobEnd { id, bytes, checksum } => self.end_blob(id, bytes, checksum).await?,
            Frame::BlobFailed { id, cause } => self.give_blob_up(id, cause).await?,
            Frame::Ping => {}
            Frame::Closing(why) => return Err(FrameError::Closed { why: Some(why) }.into()),
            other => return Err(FrameError::OutOfPlace(format!("{other:?} on a subscription")).into()),
        }
        Ok(())
    }

    /// Begins a row's commit. Commits run side by side, and a row never waits for its blob: what is behind it on the same
    /// link could never come (museum B11).
    async fn take_row(&mut self, position: Position, record: Record) -> Result<(), LinkError> {
        let waits_for = match record.blob {
            Some(id) if !self.given_up.contains(&id) && !self.has_blob(id).await? => Some(id),
            _ => None,
        };
        self.progress.cursor.begin(position, waits_for);
        let (env, bytes) = (self.env.clone(), record.value.len());
        self.env.holds("commits", self.commits_bytes, bytes);
        self.commits_bytes += bytes;
        self.commits.push(self.env.spawn("commit row", async move {
            Committed { position, bytes, unwanted: commit(&env, Rc::new(record)).await }
        }));
        Ok(())
    }

    /// A row is committed or skipped. A payload that no version of it names any more is not taken in, or goes.
    fn row_done(&mut self, committed: &Committed) {
        self.commits_bytes -= committed.bytes;
        self.progress.cursor.row_done(committed.position);
        let Some(id) = committed.unwanted else { return };
        self.blobs.remove(&id);
        self.given_up.insert(id);
        self.progress.cursor.blob_done(id);
        let env = self.env.clone();
        self.env.spawn_background("let a blob go", async move {
            until_gone(&env, id).await;
            Ok::<(), Infallible>(())
        });
    }

    /// A store that cannot say is no store without the blob: a whole one must not begin anew.
    async fn has_blob(&self, id: BlobId) -> Result<bool, LinkError> {
        Ok(matches!(self.env.blobs().state(id).await?, BlobState::Complete { .. }))
    }

    /// A blob that is here already, or not wanted any more, is not written.
    async fn begin_blob(&mut self, id: BlobId) -> Result<(), LinkError> {
        if !self.given_up.contains(&id) && !self.has_blob(id).await? {
            self.env.blobs().create(id).await?;
            self.blobs.insert(id, Incoming { checksum: Xxh3::new(), bytes: 0 });
        }
        Ok(())
    }

    /// Writes a chunk. Chunks of a blob that is not being written are passed over: it is here already.
    async fn take_chunk(&mut self, id: BlobId, offset: u64, chunk: Bytes) -> Result<(), LinkError> {
        let Some(incoming) = self.blobs.get_mut(&id) else { return Ok(()) };
        if incoming.bytes != offset {
            return Err(LinkError::Damaged(id));
        }
        incoming.bytes += chunk.len() as u64;
        incoming.checksum.update(&chunk);
        Ok(self.env.blobs().append(id, chunk).await?)
    }

    async fn end_blob(&mut self, id: BlobId, bytes: u64, checksum: u128) -> Result<(), LinkError> {
        if let Some(incoming) = self.blobs.get(&id) {
            if incoming.bytes != bytes || incoming.checksum.digest128() != checksum {
                return Err(LinkError::Damaged(id));
            }
            self.env.blobs().complete(id).await?;
            self.blobs.remove(&id);
        }
        if self.has_blob(id).await? {
            self.progress.cursor.blob_done(id);
        }
        Ok(())
    }

    /// The source will never send it: counted and passed, loudly. One that is here whole stays: the source has let it go,
    /// and so does this node when the row comes that says so.
    async fn give_blob_up(&mut self, id: BlobId, cause: String) -> Result<(), LinkError> {
        if self.given_up.contains(&id) || self.has_blob(id).await? {
            self.progress.cursor.blob_done(id);
            return Ok(());
        }
        self.env.journal(Journal::Dropped { what: format!("blob {id}, for good"), cause: cause.clone() });
        self.blobs.remove(&id);
        self.env.blobs().fail(id, cause).await?;
        self.given_up.insert(id);
        self.progress.cursor.blob_done(id);
        Ok(())
    }

    /// The link is broken: commits come through, and what was not done comes again. Half blobs begin anew at once: who
    /// reads one waits for its bytes on the next link, instead of for ones that cannot come (museum B18).
    async fn let_go(mut self) {
        while let Some(committed) = self.commits.next().await {
            self.row_done(&committed);
        }
        for id in std::mem::take(&mut self.blobs).into_keys() {
            match self.left.is_cancelled() {
                true => until_gone(self.env, id).await,
                false => self.begin_anew(id).await,
            }
        }
        self.progress.cursor.forget_open();
    }

    async fn begin_anew(&self, id: BlobId) {
        if let Err(error) = self.env.blobs().create(id).await {
            self.env.journal(Journal::Dropped { what: format!("blob {id}"), cause: error.to_string() });
        }
    }
}

/// Lets a blob go; a store that does not take it is asked again.
async fn until_gone<E: Env>(env: &E, id: BlobId) {
    while let Err(cause) = env.blobs().delete(id).await {
        super::pause_after(env, "letting a blob go", &cause).await;
    }
}

/// The output of a task that may not be there; never when it is not.
async fn finished<T>(task: &mut Option<Task<T>>) -> T {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

/// A row that has come through.
struct Committed {
    position: Position,
    /// Of the row.
    bytes: usize,
    /// A blob that this node's version of the row does not name.
    unwanted: Option<BlobId>,
}

/// Commits a replicated row if it is newer than what stands there; returns the blob that the older of the two versions
/// named and the newer one does not. A store that refuses is asked until it does not: a row that was sent is never lost.
async fn commit<E: Env>(env: &E, record: Rc<Record>) -> Option<BlobId> {
    loop {
        let (offered, before) = (Rc::clone(&record), Rc::new(Cell::new(None)));
        let seen = Rc::clone(&before);
        let accept = move |current: Option<&Record>| {
            seen.set(current.map(|current| current.blob));
            supersedes(current, &offered)
        };
        match env.table().put_if((*record).clone(), accept).await {
            Ok(taken) => return unwanted(before.get(), record.blob, taken),
            Err(cause) => super::pause_after(env, "committing a replicated row", &cause).await,
        }
    }
}

/// The blob that only the version that does not stand names.
fn unwanted(before: Option<Option<BlobId>>, offered: Option<BlobId>, taken: bool) -> Option<BlobId> {
    let (stands, other) = if taken { (offered, before?) } else { (before?, offered) };
    // An older version that has no blob yet says nothing of one that comes.
    other.filter(|other| stands != Some(*other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_unwanted_when_only_the_version_that_does_not_stand_names_it() {
        let blob = Some(BlobId(uuid::Uuid::from_u128(7)));
        assert_eq!(unwanted(Some(blob), None, true), blob, "the newer version let it go");
        assert_eq!(unwanted(Some(None), blob, false), blob, "the newer version, which had let it go, came first");
        assert_eq!(unwanted(Some(blob), blob, true), None);
        assert_eq!(unwanted(Some(None), blob, true), None, "it is new");
        assert_eq!(unwanted(Some(blob), None, false), None, "the older version had none yet");
        assert_eq!(unwanted(None, blob, true), None);
    }
}
