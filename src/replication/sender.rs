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
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::Xxh3;

use super::frame::{self, CHUNK_BYTES_MAX, FRAME_BYTES_MAX, Frame, FrameError, FrameReader, FrameWriter, PROTOCOL};
use super::scope::{DATABASE, SETTING, Scope};
use crate::env::{
    Accepted, BlobError, BlobId, BlobState, Blobs, ByteQueue, Changes, Duplex, Env, Journal, Listener, Network,
    NodeName, Position, Record, Table, Task,
};

/// How long a link may be idle before it gives a sign of life: two of them within the silence that makes it dead.
const PING_AFTER: Duration = Duration::from_secs(25);

/// How long a subscriber may take for its first words.
const HELLO_MAX: Duration = Duration::from_secs(60);

/// The most bytes of frames that wait for one link, and one frame.
const OUTGOING_BYTES_MAX: usize = 1024 * 1024;

/// How often a link that carries no rows looks whether it may.
const SETTING_LOOK: Duration = Duration::from_secs(5);

/// Waits before a blob is read again whose device failed: doubling from the first to the longest.
const DEVICE_PAUSE_FIRST: Duration = Duration::from_millis(100);
const DEVICE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Blobs that are sent side by side on one link.
const BLOBS_AT_ONCE: usize = 4;

/// The session of each subscriber. That of a newer connection takes the place of the old, which ends at once: a session
/// that is superseded must not act any more (museum C22). The first words on a connection may come when its subscriber has
/// long given it up and made another: then it never gets a session. Clones are handles to the same ones.
#[derive(Clone, Default)]
pub(super) struct Sessions {
    of: Rc<RefCell<BTreeMap<NodeName, Session>>>,
    /// The newest connection of each that was answered, if only with a refusal.
    answered: Rc<RefCell<BTreeMap<NodeName, u64>>>,
}

struct Session {
    left: CancellationToken,
    task: Task<()>,
}

impl Sessions {
    /// Ends the sessions of all that are not among `members`: they are sent nothing more, but why.
    pub(super) fn keep_only(&self, members: &[NodeName]) {
        let gone = self.of.borrow_mut().extract_if(.., |node, _| !members.contains(node)).collect::<Vec<_>>();
        for (_, session) in gone {
            session.left.cancel();
            session.task.detach();
        }
    }

    /// May this connection of the subscriber be answered? Not when a newer one was.
    fn may_answer(&self, node: &NodeName, connection: u64) -> bool {
        let mut answered = self.answered.borrow_mut();
        let newest = answered.entry(node.clone()).or_insert(connection);
        *newest = connection.max(*newest);
        *newest == connection
    }

    /// Ends the session of one that has made another connection since, which was refused: it has given that session up.
    fn end(&self, node: &NodeName) {
        self.of.borrow_mut().remove(node);
    }

    fn begin(&self, node: NodeName, session: Session) {
        self.of.borrow_mut().insert(node, session);
    }
}

/// Takes subscribers for as long as this node lives.
pub(super) async fn serve<E: Env>(env: E, mut listener: <E::Network as Network>::Listener, sessions: Sessions) {
    let mut connections = 0;
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                connections += 1;
                welcome(&env, accepted, connections, &sessions);
            }
            Err(cause) => super::pause_after(&env, "accepting subscribers", &cause).await,
        }
    }
}

/// Hears who subscribes, and begins its session. A task of its own, so that one who says nothing keeps nobody waiting.
fn welcome<E: Env>(env: &E, accepted: Accepted<impl Duplex>, connection: u64, sessions: &Sessions) {
    let (serving, sessions) = (env.clone(), sessions.clone());
    let Accepted { peer: node, stream } = accepted;
    env.spawn_background("subscriber", async move {
        let (reader, writer) = split(stream);
        let (mut reader, mut writer) = (FrameReader::new(reader), FrameWriter::new(writer));
        match timeout(HELLO_MAX, hello(&serving, &node, &mut reader)).await {
            // It has gone: nobody is told.
            Ok(Err(FrameError::Closed { .. })) | Err(_) => {}
            Ok(_) if !sessions.may_answer(&node, connection) => {}
            Ok(Ok(after)) => {
                let left = CancellationToken::new();
                let session = session(serving.clone(), node.clone(), after, left.clone(), reader, writer);
                let task = serving.spawn(format!("session of {node}"), session);
                sessions.begin(node, Session { left, task });
            }
            Ok(Err(error)) => {
                sessions.end(&node);
                let what = format!("a subscription of {node}");
                serving.journal(Journal::Dropped { what, cause: error.to_string() });
                // It may be gone; then nobody is told.
                let closing = frame::encode(&Frame::Closing(error.to_string()));
                let _ = timeout(HELLO_MAX, writer.send(closing)).await;
            }
        }
        Ok::<(), Infallible>(())
    });
}

async fn hello<E: Env, R: AsyncRead + Unpin>(
    env: &E,
    node: &NodeName,
    reader: &mut FrameReader<R>,
) -> Result<Position, FrameError> {
    // Before a byte of its is read: a stranger has nothing to say here.
    if !env.members().contains(node) {
        return Err(no_member(node));
    }
    let bytes = reader.next().await?;
    match frame::decode(&bytes)? {
        // It may have left meanwhile.
        Frame::Subscribe { protocol: PROTOCOL, .. } if !env.members().contains(node) => Err(no_member(node)),
        Frame::Subscribe { protocol: PROTOCOL, after } => Ok(after),
        Frame::Subscribe { protocol, .. } => {
            Err(FrameError::OutOfPlace(format!("protocol {protocol}; this node speaks {PROTOCOL}")))
        }
        _ => Err(FrameError::OutOfPlace("the first frame is no subscription".to_owned())),
    }
}

fn no_member(node: &NodeName) -> FrameError {
    FrameError::OutOfPlace(format!("{node} is not a member of this cluster"))
}

/// One subscriber's session, until its link breaks or it has left the cluster.
async fn session<E: Env, R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    env: E,
    node: NodeName,
    after: Position,
    left: CancellationToken,
    mut reader: FrameReader<R>,
    mut writer: FrameWriter<W>,
) {
    let outgoing = env.queue("outgoing", OUTGOING_BYTES_MAX);
    let mut log = Log {
        env: &env,
        outgoing: outgoing.clone(),
        sent: BTreeSet::new(),
        sending: Vec::new(),
        places: Rc::new(Semaphore::new(BLOBS_AT_ONCE)),
    };
    let ended = tokio::select! {
        biased;
        () = left.cancelled() => Err(no_member(&node)),
        ended = write(&mut writer, &outgoing) => ended,
        ended = log.follow(after) => ended,
        ended = hang_up(&mut reader) => ended,
    };
    if let Err(cause) = ended {
        // The other end may be gone too; then nobody is told.
        let closing = frame::encode(&Frame::Closing(cause.to_string()));
        let _ = timeout(PING_AFTER, writer.send(closing)).await;
        env.journal(Journal::Dropped { what: format!("session of {node}"), cause: cause.to_string() });
    }
}

/// Writes what is queued, and a sign of life when nothing is.
async fn write<W: AsyncWrite + Unpin>(
    writer: &mut FrameWriter<W>,
    outgoing: &ByteQueue<Bytes>,
) -> Result<(), FrameError> {
    loop {
        match timeout(PING_AFTER, outgoing.next()).await {
            Ok(frame) => writer.send(frame).await?,
            Err(_) => writer.send(frame::encode(&Frame::Ping)).await?,
        }
    }
}

/// Waits for room, then queues a frame.
async fn queue(outgoing: &ByteQueue<Bytes>, frame: &Frame<'_>) {
    let frame = frame::encode(frame);
    let bytes = frame.len();
    outgoing.send(frame, bytes).await;
}

/// A subscriber says nothing more: what comes is the end.
async fn hang_up<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>) -> Result<(), FrameError> {
    let bytes = reader.next().await?;
    Err(FrameError::OutOfPlace(format!("a subscriber said {:?}", frame::decode(&bytes)?)))
}

/// The log on its way into one link's queue.
struct Log<'a, E> {
    env: &'a E,
    outgoing: ByteQueue<Bytes>,
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
                Ok((position, record)) => {
                    self.until_replicated().await;
                    self.send(position, &record).await;
                }
                Err(cause) => super::pause_after(self.env, "reading the log", &cause).await,
            }
        }
    }

    /// Rows stay here while the operator leaves their database out of replication. A setting that says nothing is told by
    /// each deploy; no row goes out for it.
    async fn until_replicated(&self) {
        let included = || Scope::parse(self.env.setting(SETTING).as_ref()).is_ok_and(|scope| scope.includes(DATABASE));
        while !included() {
            sleep(SETTING_LOOK).await;
        }
    }

    /// Queues an entry; its blob is sent beside it, and keeps no later entry waiting.
    async fn send(&mut self, position: Position, record: &Record) {
        let Record { key, version, value, blob } = record;
        if let Some(id) = blob.filter(|id| self.sent.insert(*id)) {
            let sending = send_blob(self.env.clone(), id, self.outgoing.clone(), Rc::clone(&self.places));
            self.sending.retain(|task| !task.is_finished());
            self.sending.push(self.env.spawn("send blob", sending));
        }
        let row = Frame::Row { position, key: key.clone(), version: version.clone(), value, blob: *blob };
        let frame = frame::encode(&row);
        if frame.len() > FRAME_BYTES_MAX {
            // It would close the link each time that it came; what is behind it must not wait for ever.
            let cause = format!("{} bytes do not fit a frame", frame.len());
            return self.env.journal(Journal::Dropped { what: format!("row {key}, for good"), cause });
        }
        let bytes = frame.len();
        self.outgoing.send(frame, bytes).await;
    }
}

/// Why a blob is not sent.
enum Unsent {
    /// The source does not have it, now or later.
    Gone(String),
    /// The source's device failed; it may not the next time.
    Device(BlobError),
}

impl From<BlobError> for Unsent {
    fn from(error: BlobError) -> Self {
        Self::Device(error)
    }
}

/// Sends a blob from its first byte to its last, or says why it never will be. A device that fails is asked again, ever
/// more seldom, and gives its place to other blobs meanwhile: the subscriber takes the blob from its first byte then.
async fn send_blob<E: Env>(env: E, id: BlobId, outgoing: ByteQueue<Bytes>, places: Rc<Semaphore>) {
    let mut pause = DEVICE_PAUSE_FIRST;
    loop {
        let place = places.acquire().await.expect("the semaphore is never closed");
        let cause = match read_blob(&env, id, &outgoing).await {
            Ok((bytes, checksum)) => return queue(&outgoing, &Frame::BlobEnd { id, bytes, checksum }).await,
            Err(Unsent::Gone(cause)) => return queue(&outgoing, &Frame::BlobFailed { id, cause }).await,
            Err(Unsent::Device(cause)) => cause.to_string(),
        };
        drop(place);
        env.journal(Journal::Dropped { what: format!("sending blob {id}"), cause });
        sleep(pause).await;
        pause = (pause * 2).min(DEVICE_PAUSE_MAX);
    }
}

/// Queues a blob's chunks; returns its length and checksum.
async fn read_blob<E: Env>(env: &E, id: BlobId, outgoing: &ByteQueue<Bytes>) -> Result<(u64, u128), Unsent> {
    let length = match env.blobs().state(id).await? {
        BlobState::Complete { bytes } => bytes,
        other => return Err(Unsent::Gone(format!("the source does not have it whole: {other:?}"))),
    };
    queue(outgoing, &Frame::BlobBegin(id)).await;
    let (mut offset, mut checksum) = (0, Xxh3::new());
    while offset < length {
        let bytes = env.blobs().read(id, offset, CHUNK_BYTES_MAX).await?;
        if bytes.is_empty() {
            return Err(Unsent::Gone(format!("the source lost it at byte {offset} of {length}")));
        }
        checksum.update(&bytes);
        queue(outgoing, &Frame::BlobChunk { id, offset, bytes: &bytes }).await;
        offset += bytes.len() as u64;
    }
    Ok((length, checksum.digest128()))
}
