//! Follows another node's log: commits its rows as they come, and takes in the blobs that they refer to.

use std::{collections::BTreeMap, io, rc::Rc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncRead, split},
    time::{sleep, timeout},
};
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

/// Rows that are committed side by side.
const COMMITS_MAX: usize = 32;

/// Follows `source` for as long as this node lives; reconnects whenever the link breaks.
pub(super) async fn follow<E: Env>(env: E, source: NodeName) {
    let mut cursor = Cursor::default();
    let mut wait = RECONNECT_FIRST;
    loop {
        let before = cursor.resume_after();
        let mut link =
            Link { env: &env, cursor: &mut cursor, blobs: BTreeMap::new(), commits: FuturesUnordered::new() };
        let cause = link.run(&source).await;
        link.let_go().await;
        env.journal(Journal::Dropped { what: format!("link to {source}"), cause: cause.to_string() });
        if cursor.resume_after() > before {
            wait = RECONNECT_FIRST;
        }
        sleep(wait).await;
        wait = (wait * 2).min(RECONNECT_MAX);
    }
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
    #[error("blob {0} came damaged")]
    Damaged(BlobId),
}

/// A blob that is coming in.
struct Incoming {
    checksum: Xxh3,
    bytes: u64,
}

/// One connection to the source.
struct Link<'a, E> {
    env: &'a E,
    cursor: &'a mut Cursor,
    blobs: BTreeMap<BlobId, Incoming>,
    commits: FuturesUnordered<Task<Position>>,
}

impl<E: Env> Link<'_, E> {
    /// Takes frames until the link breaks; returns why.
    async fn run(&mut self, source: &NodeName) -> LinkError {
        match self.subscribe(source).await {
            Ok(mut reader) => loop {
                if let Err(cause) = self.step(&mut reader).await {
                    return cause;
                }
            },
            Err(cause) => cause,
        }
    }

    async fn subscribe(
        &mut self,
        source: &NodeName,
    ) -> Result<FrameReader<impl AsyncRead + Unpin + use<E>>, LinkError> {
        let connected = timeout(CONNECT_MAX, self.env.network().connect(source, Port::Rows)).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(LinkError::Connect)?;
        let (reader, writer) = split(stream);
        let hello =
            Frame::Subscribe { protocol: PROTOCOL, node: self.env.node().clone(), after: self.cursor.resume_after() };
        FrameWriter::new(writer).send(frame::encode(&hello)).await?;
        Ok(FrameReader::new(reader))
    }

    /// Takes the next frame, or notes a commit that has come through. Only the wait for a frame counts as silence: what
    /// this node takes its time for is not the sender's.
    async fn step<R: AsyncRead + Unpin>(&mut self, reader: &mut FrameReader<R>) -> Result<(), LinkError> {
        let room = self.commits.len() < COMMITS_MAX;
        tokio::select! {
            biased;
            Some(position) = self.commits.next() => self.cursor.row_done(position),
            frame = timeout(SILENCE_MAX, reader.next()), if room => {
                let bytes = frame.map_err(|_| LinkError::Silent)??;
                self.take(&bytes).await?;
            }
        }
        Ok(())
    }

    async fn take(&mut self, bytes: &Bytes) -> Result<(), LinkError> {
        match frame::decode(bytes)? {
            Frame::Row { position, key, version, value, blob } => {
                let record = frame::record(bytes, key, version, value, blob);
                self.take_row(position, record).await;
            }
            Frame::BlobBegin(id) => self.begin_blob(id).await,
            Frame::BlobChunk { id, offset, bytes: chunk } => {
                self.take_chunk(id, offset, bytes.slice_ref(chunk)).await?
            }
            Frame::BlobEnd { id, bytes, checksum } => self.end_blob(id, bytes, checksum).await?,
            Frame::BlobFailed { id, cause } => self.give_blob_up(id, cause).await,
            Frame::Ping => {}
            Frame::Closing(why) => return Err(FrameError::Closed { why: Some(why) }.into()),
            other => return Err(FrameError::OutOfPlace(format!("{other:?} on a subscription")).into()),
        }
        Ok(())
    }

    /// Begins a row's commit. Commits run side by side, and a row never waits for its blob: what is behind it on the same
    /// link could never come (museum B11).
    async fn take_row(&mut self, position: Position, record: Record) {
        let waits_for = match record.blob {
            Some(id) if !self.has_blob(id).await => Some(id),
            _ => None,
        };
        self.cursor.begin(position, waits_for);
        let env = self.env.clone();
        self.commits.push(self.env.spawn("commit row", async move {
            commit(&env, Rc::new(record)).await;
            position
        }));
    }

    async fn has_blob(&self, id: BlobId) -> bool {
        matches!(self.env.blobs().state(id).await, Ok(BlobState::Complete { .. }))
    }

    /// A blob that is here already is not written again.
    async fn begin_blob(&mut self, id: BlobId) {
        if self.has_blob(id).await {
            return;
        }
        match self.env.blobs().create(id).await {
            Ok(()) => drop(self.blobs.insert(id, Incoming { checksum: Xxh3::new(), bytes: 0 })),
            Err(error) => self.drop_blob(id, &error).await,
        }
    }

    /// Writes a chunk. Chunks of a blob that is not being written are passed over: it is here already, or its store has
    /// failed, and the rest must not hold up the link (museum B14).
    async fn take_chunk(&mut self, id: BlobId, offset: u64, chunk: Bytes) -> Result<(), LinkError> {
        let Some(incoming) = self.blobs.get_mut(&id) else { return Ok(()) };
        if incoming.bytes != offset {
            return Err(LinkError::Damaged(id));
        }
        incoming.bytes += chunk.len() as u64;
        incoming.checksum.update(&chunk);
        if let Err(error) = self.env.blobs().append(id, chunk).await {
            self.drop_blob(id, &error).await;
        }
        Ok(())
    }

    async fn end_blob(&mut self, id: BlobId, bytes: u64, checksum: u128) -> Result<(), LinkError> {
        if let Some(incoming) = self.blobs.get(&id) {
            if incoming.bytes != bytes || incoming.checksum.digest128() != checksum {
                return Err(LinkError::Damaged(id));
            }
            self.blobs.remove(&id);
            if let Err(error) = self.env.blobs().complete(id).await {
                self.drop_blob(id, &error).await;
            }
        }
        if self.has_blob(id).await {
            self.cursor.blob_done(id);
        }
        Ok(())
    }

    /// The source will never send it: counted and passed, loudly.
    async fn give_blob_up(&mut self, id: BlobId, cause: String) {
        self.env.journal(Journal::Dropped { what: format!("blob {id}, for good"), cause: cause.clone() });
        self.blobs.remove(&id);
        self.fail_blob(id, cause).await;
        self.cursor.blob_done(id);
    }

    /// This node's store did not take it. It keeps its place before the cursor, so a fresh link brings it again.
    async fn drop_blob(&mut self, id: BlobId, error: &BlobError) {
        self.env.journal(Journal::Dropped { what: format!("blob {id}"), cause: error.to_string() });
        self.blobs.remove(&id);
        self.fail_blob(id, error.to_string()).await;
    }

    async fn fail_blob(&self, id: BlobId, cause: String) {
        if let Err(error) = self.env.blobs().fail(id, cause).await {
            let what = format!("the failure of blob {id}");
            self.env.journal(Journal::Dropped { what, cause: error.to_string() });
        }
    }

    /// The link is broken: commits come through, and what was not done comes again. Half blobs begin anew at once: who
    /// reads one waits for its bytes on the next link, instead of for ones that cannot come (museum B18).
    async fn let_go(mut self) {
        while let Some(position) = self.commits.next().await {
            self.cursor.row_done(position);
        }
        for id in std::mem::take(&mut self.blobs).into_keys() {
            if let Err(error) = self.env.blobs().create(id).await {
                self.drop_blob(id, &error).await;
            }
        }
        self.cursor.forget_open();
    }
}

/// Commits a replicated row if it is newer than what stands there. A store that refuses is asked until it does not: a row
/// that was sent is never lost.
async fn commit<E: Env>(env: &E, record: Rc<Record>) {
    loop {
        let offered = Rc::clone(&record);
        match env.table().put_if((*record).clone(), move |current| supersedes(current, &offered)).await {
            Ok(_) => return,
            Err(cause) => super::pause_after(env, "committing a replicated row", &cause).await,
        }
    }
}
