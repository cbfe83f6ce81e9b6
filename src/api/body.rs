//! A request's body as it comes in: chunk by chunk, within an allowance, and given up when it pauses for too long.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::{task::yield_now, time::timeout};

use super::limits::UPLOAD_SILENCE_MAX;

/// What a request brings, whatever brings it.
pub trait Incoming: Body<Data = Bytes, Error: Display> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes, Error: Display> + Send + Unpin + 'static> Incoming for B {}

/// Why a body did not come in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// More came than is allowed.
    #[error("it is too large")]
    TooLarge,
    /// Nothing came for too long.
    #[error("nothing came for {} s", UPLOAD_SILENCE_MAX.as_secs())]
    Silent,
    /// The connection broke, or what came is no HTTP.
    #[error("{0}")]
    Broken(String),
}

/// How many bytes may still come; what has come beyond it is an error.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Arc<AtomicU64>);

impl Allowance {
    pub(super) fn of(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    /// From here on so many may come.
    pub(super) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn take(&self, bytes: u64) -> Result<(), BodyError> {
        let left = self.0.load(Ordering::Relaxed).checked_sub(bytes).ok_or(BodyError::TooLarge)?;
        self.set(left);
        Ok(())
    }
}

/// The body's bytes. Hands on one chunk at a time: who reads greedily must not hold all that has come.
pub(super) fn chunks(
    body: impl Incoming,
    allowance: Allowance,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    stream::try_unfold((body, allowance), |(mut body, allowance)| async move {
        yield_now().await;
        let chunk = next(&mut body).await?;
        chunk
            .map(|chunk| {
                allowance.take(chunk.len() as u64)?;
                Ok((chunk, (body, allowance)))
            })
            .transpose()
    })
}

/// The next chunk; what is no data is passed over.
async fn next(body: &mut impl Incoming) -> Result<Option<Bytes>, BodyError> {
    loop {
        let frame = timeout(UPLOAD_SILENCE_MAX, body.frame()).await.map_err(|_| BodyError::Silent)?;
        let Some(frame) = frame.transpose().map_err(|error| BodyError::Broken(error.to_string()))? else {
            return Ok(None);
        };
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

/// A body that is held as a whole, of at most `bytes_max` bytes.
pub(super) async fn whole(body: impl Incoming, bytes_max: u64) -> Result<Vec<u8>, BodyError> {
    let mut chunks = std::pin::pin!(chunks(body, Allowance::of(bytes_max)));
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.next().await {
        whole.extend_from_slice(&chunk?);
    }
    Ok(whole)
}
