//! Operations: one question and one answer on a connection of their own, apart from the rows.
//!
//! An operation may take an hour. While the peer works it sends a sign of life every [`KEEP_ALIVE`]; an origin that hears
//! nothing for [`SILENCE_MAX`] takes the connection for dead. (The original closed it after 120 s whatever happened:
//! harper-pro #674.)

use std::{io, rc::Rc, time::Duration};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::{
    io::split,
    time::{Instant, interval_at, timeout, timeout_at},
};

use super::frame::{self, FRAME_BYTES_MAX, Frame, FrameError, FrameReader, FrameWriter, PROTOCOL};
use crate::env::{Duplex, Env, Journal, Listener, Network, NodeName, Port};

/// How often the side that works says that it is there.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Silence after which a connection is dead.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// The room that a frame needs beside the operation in it.
const FRAME_OVERHEAD_BYTES: usize = 1024;

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
    /// The operation does not fit a frame.
    #[error("the operation is too long: {0} bytes")]
    TooLong(usize),
}

impl CallError {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect_failed",
            Self::Broken(_) => "connection_broken",
            Self::Silent => "connection_silent",
            Self::Deadline(_) => "no_answer",
            Self::TooLong(_) => "operation_too_long",
        }
    }
}

/// Carries out operations: takes one as JSON and returns its answer as JSON.
pub type Handler = Rc<dyn Fn(Bytes) -> LocalBoxFuture<'static, Bytes>>;

/// Asks `peer` to carry out `operation`, and returns its answer.
///
/// # Errors
/// When no answer comes, and why; whether the peer carried it out is not known then.
pub async fn call<E: Env>(
    env: &E,
    peer: &NodeName,
    operation: &[u8],
    answer_within: Duration,
) -> Result<Bytes, CallError> {
    if operation.len() + FRAME_OVERHEAD_BYTES > FRAME_BYTES_MAX {
        return Err(CallError::TooLong(operation.len()));
    }
    let deadline = Instant::now() + answer_within;
    let stream = connect(env, peer).await?;
    let (reader, writer) = split(stream);
    let (mut reader, mut writer) = (FrameReader::new(reader), FrameWriter::new(writer));
    writer.send(frame::encode(&Frame::Operation { protocol: PROTOCOL, node: env.node().clone(), operation })).await?;
    timeout_at(deadline, answer(&mut reader)).await.unwrap_or(Err(CallError::Deadline(answer_within)))
}

async fn connect<E: Env>(env: &E, peer: &NodeName) -> Result<<E::Network as Network>::Stream, CallError> {
    let connected = timeout(CONNECT_MAX, env.network().connect(peer, Port::Operations)).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    connected.map_err(|cause| CallError::Connect { peer: peer.clone(), cause })
}

async fn answer<R: tokio::io::AsyncRead + Unpin>(reader: &mut FrameReader<R>) -> Result<Bytes, CallError> {
    loop {
        let bytes = timeout(SILENCE_MAX, reader.next()).await.map_err(|_| CallError::Silent)??;
        match frame::decode(&bytes)? {
            Frame::Ping => {}
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
            Ok(stream) => {
                let (env, handler) = (env.clone(), Rc::clone(&handler));
                let serving = env.clone();
                env.spawn_background("operation", async move {
                    take(&serving, stream, &handler).await;
                    Ok::<(), std::convert::Infallible>(())
                });
            }
            Err(cause) => super::pause_after(&env, "accepting operations", &cause).await,
        }
    }
}

/// Carries out the operation that comes over `stream`. It is carried out to its end, whoever is left to hear of it.
async fn take<E: Env>(env: &E, stream: impl Duplex, handler: &Handler) {
    let (reader, writer) = split(stream);
    let (mut reader, mut writer) = (FrameReader::new(reader), FrameWriter::new(writer));
    let operation = match timeout(SILENCE_MAX, read_operation(&mut reader)).await {
        Ok(Ok(operation)) => operation,
        Ok(Err(error)) => {
            // The other end may be gone too; then nobody is told.
            let _ = writer.send(frame::encode(&Frame::Closing(error.to_string()))).await;
            return;
        }
        Err(_) => return,
    };
    let answer = work(&mut writer, handler(operation)).await;
    let told = writer.send(frame::encode(&Frame::Answer(&answer))).await;
    let told = match told {
        Ok(()) => writer.close().await,
        Err(error) => Err(error),
    };
    if let Err(cause) = told {
        env.journal(Journal::Dropped { what: "the answer to an operation".to_owned(), cause: cause.to_string() });
    }
    // Wait for the origin to hang up: an answer behind a reset would be lost.
    let _ = timeout(SILENCE_MAX, reader.next()).await;
}

/// Waits for the answer, and gives signs of life meanwhile. A caller that takes none does not hold up the work.
async fn work<W: tokio::io::AsyncWrite + Unpin>(
    writer: &mut FrameWriter<W>,
    working: LocalBoxFuture<'static, Bytes>,
) -> Bytes {
    let beats = async {
        let mut beat = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        loop {
            beat.tick().await;
            if writer.send(frame::encode(&Frame::Ping)).await.is_err() {
                // The caller is gone; the work goes on.
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        biased;
        answer = working => answer,
        () = beats => unreachable!("signs of life do not end"),
    }
}

async fn read_operation<R: tokio::io::AsyncRead + Unpin>(reader: &mut FrameReader<R>) -> Result<Bytes, FrameError> {
    let bytes = reader.next().await?;
    match frame::decode(&bytes)? {
        Frame::Operation { protocol: PROTOCOL, operation, .. } => Ok(bytes.slice_ref(operation)),
        Frame::Operation { protocol, .. } => {
            Err(FrameError::OutOfPlace(format!("protocol {protocol}; this node speaks {PROTOCOL}")))
        }
        _ => Err(FrameError::OutOfPlace("the first frame is no operation".to_owned())),
    }
}
