//! Serves this node's log to those who subscribe: each entry in order, and the blobs that entries refer to.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, split},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use xxhash_rust::xxh3::Xxh3;

use super::frame::{self, CHUNK_BYTES_MAX, Frame, FrameError, FrameReader, FrameWriter, PROTOCOL};
use crate::env::{
    BlobId, BlobState, Blobs, Changes, Duplex, Env, Journal, Listener, Network, NodeName, Position, Record, Table, Task,
};

/// How long a link may be idle before it gives a sign of life: two of them within the silence that makes it dead.
const PING_AFTER: Duration = Duration::from_secs(25);

/// How long a subscriber may take for its first words.
const HELLO_MAX: Duration = Duration::from_secs(60);

/// Frames that wait for their link; each is at most a chunk, or a row.
const OUTGOING_FRAMES_MAX: usize = 8;

/// Blobs that are sent side by side on one link.
const BLOBS_AT_ONCE: usize = 4;

/// The session of each subscriber. A new one takes the place of the old, which ends at once: a session that is
/// superseded must not act any more (museum C22).
type Sessions = Rc<RefCell<BTreeMap<NodeName, Task<()>>>>;

/// Takes subscribers for as long as this node lives.
pub(super) async fn serve<E: Env>(env: E, mut listener: <E::Network as Network>::Listener) {
    let sessions = Sessions::default();
    loop {
        match listener.accept().await {
            Ok(stream) => welcome(&env, stream, &sessions),
            Err(cause) => super::pause_after(&env, "accepting subscribers", &cause).await,
        }
    }
}

/// Hears who subscribes, and begins its session. A task of its own, so that one who says nothing keeps nobody waiting.
fn welcome<E: Env>(env: &E, stream: impl Duplex, sessions: &Sessions) {
    let (serving, sessions) = (env.clone(), Rc::clone(sessions));
    env.spawn_background("subscriber", async move {
        let (reader, writer) = split(stream);
        let (mut reader, mut writer) = (FrameReader::new(reader), FrameWriter::new(writer));
        match timeout(HELLO_MAX, hello(&mut reader)).await {
            Ok(Ok((node, after))) => {
                let session = session(serving.clone(), node.clone(), after, reader, writer);
                let task = serving.spawn(format!("session of {node}"), session);
                sessions.borrow_mut().insert(node, task);
            }
            Ok(Err(error)) => {
                // It may be gone; then nobody is told.
                let _ = writer.send(frame::encode(&Frame::Closing(error.to_string()))).await;
            }
            Err(_) => {}
        }
        Ok::<(), Infallible>(())
    });
}

async fn hello<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>) -> Result<(NodeName, Position), FrameError> {
    let bytes = reader.next().await?;
    match frame::decode(&bytes)? {
        Frame::Subscribe { protocol: PROTOCOL, node, after } => Ok((node, after)),
        Frame::Subscribe { protocol, .. } => {
            Err(FrameError::OutOfPlace(format!("protocol {protocol}; this node speaks {PROTOCOL}")))
        }
        _ => Err(FrameError::OutOfPlace("the first frame is no subscription".to_owned())),
    }
}

/// One subscriber's session, until its link breaks.
async fn session<E: Env, R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    env: E,
    node: NodeName,
    after: Position,
    mut reader: FrameReader<R>,
    mut writer: FrameWriter<W>,
) {
    let (outgoing, queue) = mpsc::channel(OUTGOING_FRAMES_MAX);
    let mut log = Log {
        env: &env,
        outgoing,
        sent: BTreeSet::new(),
        sending: Vec::new(),
        places: Rc::new(Semaphore::new(BLOBS_AT_ONCE)),
    };
    let ended = tokio::select! {
        biased;
        ended = write(&mut writer, queue) => ended,
        ended = log.follow(after) => ended,
        ended = hang_up(&mut reader) => ended,
    };
    if let Err(cause) = ended {
        env.journal(Journal::Dropped { what: format!("session of {node}"), cause: cause.to_string() });
    }
}

/// Writes what is queued, and a sign of life when nothing is.
async fn write<W: AsyncWrite + Unpin>(
    writer: &mut FrameWriter<W>,
    mut queue: mpsc::Receiver<Bytes>,
) -> Result<(), FrameError> {
    loop {
        let frame = match timeout(PING_AFTER, queue.recv()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(_) => frame::encode(&Frame::Ping),
        };
        writer.send(frame).await?;
    }
}

/// A subscriber says nothing more: what comes is the end.
async fn hang_up<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>) -> Result<(), FrameError> {
    let bytes = reader.next().await?;
    Err(FrameError::OutOfPlace(format!("a subscriber said {:?}", frame::decode(&bytes)?)))
}

/// The log on its way into one link's queue.
struct Log<'a, E> {
    env: &'a E,
    outgoing: mpsc::Sender<Bytes>,
    /// Blobs that were begun on this link.
    sent: BTreeSet<BlobId>,
    /// Their tasks, which end with the session.
    sending: Vec<Task<()>>,
    places: Rc<Semaphore>,
}

impl<E: Env> Log<'_, E> {
    async fn follow(&mut self, after: Position) -> Result<(), FrameError> {
        let mut changes = self.env.table().changes(after);
        loop {
            match changes.next().await {
                Ok((position, record)) => self.send(position, &record).await,
                Err(cause) => super::pause_after(self.env, "reading the log", &cause).await,
            }
        }
    }

    /// Queues an entry; its blob is sent beside it, and keeps no later entry waiting.
    async fn send(&mut self, position: Position, record: &Record) {
        let Record { key, version, value, blob } = record;
        if let Some(id) = blob.filter(|id| self.sent.insert(*id)) {
            let sending = send_blob(self.env.clone(), id, self.outgoing.clone(), Rc::clone(&self.places));
            self.sending.push(self.env.spawn("send blob", sending));
        }
        let row = Frame::Row { position, key: key.clone(), version: version.clone(), value, blob: *blob };
        // The writer has ended, and so does the session.
        let _ = self.outgoing.send(frame::encode(&row)).await;
    }
}

/// Sends a blob from its first byte to its last, or says why it cannot be sent.
async fn send_blob<E: Env>(env: E, id: BlobId, outgoing: mpsc::Sender<Bytes>, places: Rc<Semaphore>) {
    let _place = places.acquire().await.expect("the semaphore is never closed");
    let last = match read_blob(&env, id, &outgoing).await {
        Ok((bytes, checksum)) => Frame::BlobEnd { id, bytes, checksum },
        Err(cause) => Frame::BlobFailed { id, cause },
    };
    // The writer has ended, and so does the session.
    let _ = outgoing.send(frame::encode(&last)).await;
}

/// Queues a blob's chunks; returns its length and checksum, or why it ends early.
async fn read_blob<E: Env>(env: &E, id: BlobId, outgoing: &mpsc::Sender<Bytes>) -> Result<(u64, u128), String> {
    let length = match env.blobs().state(id).await.map_err(|error| error.to_string())? {
        BlobState::Complete { bytes } => bytes,
        other => return Err(format!("the source does not have it whole: {other:?}")),
    };
    let _ = outgoing.send(frame::encode(&Frame::BlobBegin(id))).await;
    let (mut offset, mut checksum) = (0, Xxh3::new());
    while offset < length {
        let bytes = env.blobs().read(id, offset, CHUNK_BYTES_MAX).await.map_err(|error| error.to_string())?;
        if bytes.is_empty() {
            return Err(format!("the source lost it at byte {offset} of {length}"));
        }
        checksum.update(&bytes);
        let _ = outgoing.send(frame::encode(&Frame::BlobChunk { id, offset, bytes: &bytes })).await;
        offset += bytes.len() as u64;
    }
    Ok((length, checksum.digest128()))
}
