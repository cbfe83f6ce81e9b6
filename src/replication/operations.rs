//! Operations: one question and one answer on a connection of their own, apart from the rows.
//!
//! An operation may take an hour. While the peer works it sends a sign of life every [`KEEP_ALIVE`]; an origin that hears
//! nothing for [`SILENCE_MAX`] takes the connection for dead. (The original closed it after 120 s whatever happened:
//! harper-pro #674.)

use std::{convert::Infallible, future::pending, io, rc::Rc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, split},
    time::timeout,
};

use super::{
    frame::{self, CHUNK_BYTES_MAX, Frame, FrameError, FrameReader, FrameWriter, PROTOCOL},
    notes::{Note, Notes},
};
use crate::env::{Accepted, Duplex, Env, Journal, Listener, Network, NodeName, Port};

/// How often the side that works says that it is there.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Silence after which a connection is dead.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// The longest operation: a payload of 1 GiB (spec 6) and what is said of it.
pub const OPERATION_BYTES_MAX: usize = 1024 * 1024 * 1024 + 1024 * 1024;

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The peer could not be reached.
    #[error("{cause}: is {peer} running?")]
    Connect {
        /// Which peer.
        peer: NodeName,
        /// What the network says.
        cause: io::Error,
    },
    /// The connection broke.
    #[error("{0}")]
    Broken(#[from] FrameError),
    /// Nothing was heard for too long.
    #[error("connection silent for {} s", SILENCE_MAX.as_secs())]
    Silent,
    /// The peer was heard of, but did not answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Deadline(Duration),
    /// The operation is longer than [`OPERATION_BYTES_MAX`].
    #[error("the operation is too long: {0} bytes, of {OPERATION_BYTES_MAX} at most")]
    TooLong(usize),
}

/// The code of [`CallError::Connect`].
pub const CONNECT_FAILED: &str = "connect_failed";

impl CallError {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect { .. } => CONNECT_FAILED,
            Self::Broken(_) => "connection_broken",
            Self::Silent => "connection_silent",
            Self::Deadline(_) => "no_answer",
            Self::TooLong(_) => "operation_too_long",
        }
    }
}

/// Carries out operations: takes the name of the member that asks and its operation as JSON, which may say things
/// meanwhile, and returns its answer as JSON.
pub type Handler = Rc<dyn Fn(NodeName, Bytes, Notes) -> LocalBoxFuture<'static, Bytes>>;

/// Asks `peer` to carry out `operation`, calls `heard` with each note that comes meanwhile, and returns the answer.
///
/// # Errors
/// When no answer comes, and why; whether the peer carried it out is not known then.
pub async fn call<E: Env>(
    env: &E,
    peer: &NodeName,
    operation: &Bytes,
    answer_within: Duration,
    heard: impl FnMut(Note),
) -> Result<Bytes, CallError> {
    if operation.len() > OPERATION_BYTES_MAX {
        return Err(CallError::TooLong(operation.len()));
    }
    let asked = timeout(answer_within, ask(env, peer, operation, heard)).await;
    asked.unwrap_or(Err(CallError::Deadline(answer_within)))
}

async fn ask<E: Env>(env: &E, peer: &NodeName, operation: &Bytes, heard: impl FnMut(Note)) -> Result<Bytes, CallError> {
    let (reader, writer) = split(connect(env, peer).await?);
    let (mut reader, mut writer) = (FrameReader::new(reader), FrameWriter::new(writer));
    tokio::select! {
        biased;
        answer = answer(&mut reader, heard) => answer,
        never = send(&mut writer, operation) => match never {},
    }
}

/// Sends an operation in parts. Does not end: what comes of it the reading side hears, a refusal as well as a break.
async fn send<W: AsyncWrite + Unpin>(writer: &mut FrameWriter<W>, operation: &Bytes) -> Infallible {
    let begin = Frame::Operation { protocol: PROTOCOL, bytes: operation.len() as u64 };
    let parts = operation.chunks(CHUNK_BYTES_MAX).map(Frame::OperationPart);
    for frame in std::iter::once(begin).chain(parts) {
        if writer.send(frame::encode(&frame)).await.is_err() {
            break;
        }
    }
    pending().await
}

async fn connect<E: Env>(env: &E, peer: &NodeName) -> Result<<E::Network as Network>::Stream, CallError> {
    let connected = timeout(CONNECT_MAX, env.network().connect(peer, Port::Operations)).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    connected.map_err(|cause| CallError::Connect { peer: peer.clone(), cause })
}

async fn answer<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    mut heard: impl FnMut(Note),
) -> Result<Bytes, CallError> {
    loop {
        let bytes = timeout(SILENCE_MAX, reader.next()).await.map_err(|_| CallError::Silent)??;
        match frame::decode(&bytes)? {
            Frame::Ping => {}
            Frame::Note { left_out, bytes: note } => heard(Note { left_out, bytes: bytes.slice_ref(note) }),
            Frame::Answer(answer) => return Ok(bytes.slice_ref(answer)),
            Frame::Closing(why) => return Err(FrameError::Closed { why: Some(why) }.into()),
            other => return Err(FrameError::OutOfPlace(format!("{other:?} in answer to an operation")).into()),
        }
    }
}

/// Takes operations from other nodes for as long as this node lives.
pub(super) async fn serve<E: Env>(env: E, mut listener: <E::Network as Network>::Listener, handler: Handler) {
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                let (env, handler) = (env.clone(), Rc::clone(&handler));
                let serving = env.clone();
                env.spawn_background("operation", async move {
                    take(&serving, accepted, &handler).await;
                    Ok::<(), Infallible>(())
                });
            }
            Err(cause) => super::pause_after(&env, "accepting operations", &cause).await,
        }
    }
}

/// Carries out the operation that comes over a connection, to its end, whoever is left to hear of it.
async fn take<E: Env>(env: &E, accepted: Accepted<impl Duplex>, handler: &Handler) {
    let Accepted { peer, stream } = accepted;
    let (reader, writer) = split(stream);
    let (mut reader, mut writer) = (FrameReader::new(reader), FrameWriter::new(writer));
    let notes = Notes::new(env);
    // A large operation takes its time to come: the caller must not take that for silence.
    let read = tokio::select! {
        biased;
        read = read_operation(env, &peer, &mut reader) => read,
        never = keep_talking(&mut writer, &notes) => match never {},
    };
    let operation = match read {
        Ok(operation) => operation,
        Err(error) => {
            env.journal(Journal::Dropped { what: format!("an operation of {peer}"), cause: error.to_string() });
            // The other end may be gone too; then nobody is told.
            let closing = frame::encode(&Frame::Closing(error.to_string()));
            let _ = timeout(SILENCE_MAX, writer.send(closing)).await;
            return;
        }
    };
    let answer = work(&mut writer, &notes, handler(peer, operation, notes.clone())).await;
    let told = timeout(SILENCE_MAX, tell(&mut writer, &notes, &answer)).await;
    if let Err(cause) = told.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into())) {
        env.journal(Journal::Dropped { what: "the answer to an operation".to_owned(), cause: cause.to_string() });
    }
    // Wait for the origin to hang up: an answer behind a reset would be lost.
    let _ = timeout(SILENCE_MAX, reader.next()).await;
}

/// Waits for the answer, and sends notes and signs of life meanwhile. A caller that takes none does not hold up the work.
async fn work<W: AsyncWrite + Unpin>(
    writer: &mut FrameWriter<W>,
    notes: &Notes,
    working: LocalBoxFuture<'static, Bytes>,
) -> Bytes {
    tokio::select! {
        biased;
        answer = working => answer,
        never = keep_talking(writer, notes) => match never {},
    }
}

async fn keep_talking<W: AsyncWrite + Unpin>(writer: &mut FrameWriter<W>, notes: &Notes) -> Infallible {
    loop {
        let frame = match timeout(KEEP_ALIVE, notes.next()).await {
            Ok(note) => note.encode(),
            Err(_) => frame::encode(&Frame::Ping),
        };
        if writer.send(frame).await.is_err() {
            // The caller is gone; the work goes on.
            pending().await
        }
    }
}

/// Sends the notes that are left, then the answer.
async fn tell<W: AsyncWrite + Unpin>(
    writer: &mut FrameWriter<W>,
    notes: &Notes,
    answer: &[u8],
) -> Result<(), FrameError> {
    while let Some(note) = notes.take() {
        writer.send(note.encode()).await?;
    }
    writer.send(frame::encode(&Frame::Answer(answer))).await?;
    writer.close().await
}

/// Reads an operation; memory grows with what has come, never with what was announced.
async fn read_operation<E: Env, R: AsyncRead + Unpin>(
    env: &E,
    peer: &NodeName,
    reader: &mut FrameReader<R>,
) -> Result<Bytes, FrameError> {
    // Before a byte of its is read: a stranger has nothing to say here.
    if !env.members().contains(peer) {
        return Err(FrameError::OutOfPlace(format!("{peer} is not a member of this cluster")));
    }
    let bytes = announced(&next(reader).await?)?;
    let mut operation = BytesMut::new();
    while operation.len() < bytes {
        let frame = next(reader).await?;
        match frame::decode(&frame)? {
            Frame::OperationPart(part) if !part.is_empty() && operation.len() + part.len() <= bytes => {
                operation.extend_from_slice(part);
            }
            _ => return Err(FrameError::OutOfPlace("this is not the next part of the operation".to_owned())),
        }
    }
    Ok(operation.freeze())
}

/// How many bytes a member announces.
fn announced(frame: &Bytes) -> Result<usize, FrameError> {
    let refused = |why: String| Err(FrameError::OutOfPlace(why));
    match frame::decode(frame)? {
        Frame::Operation { protocol, .. } if protocol != PROTOCOL => {
            refused(format!("protocol {protocol}; this node speaks {PROTOCOL}"))
        }
        Frame::Operation { bytes, .. } => match usize::try_from(bytes) {
            Ok(bytes) if bytes <= OPERATION_BYTES_MAX => Ok(bytes),
            _ => refused(format!("an operation of {bytes} bytes, of {OPERATION_BYTES_MAX} at most")),
        },
        _ => refused("the first frame is no operation".to_owned()),
    }
}

async fn next<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>) -> Result<Bytes, FrameError> {
    timeout(SILENCE_MAX, reader.next()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
