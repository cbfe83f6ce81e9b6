//! The payload's way in: from the upload, through its hash, into the blob store. Memory stays that of a chunk.

use std::{convert::Infallible, pin::Pin};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::Recorder;
use crate::{
    deploy::{
        hashing::Hashing,
        retry::{delete_blob, until_done},
    },
    env::{BlobError, BlobId, Blobs, Env, RowWatch, StoreError, Table},
};

/// What broke an upload off, as the client's side said it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UploadError(String);

impl From<String> for UploadError {
    fn from(cause: String) -> Self {
        Self(cause)
    }
}

/// A payload on its way in, in pieces cut anywhere. The first error ends it.
pub type Upload = Pin<Box<dyn Stream<Item = Result<Bytes, UploadError>>>>;

/// A payload that has come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingested {
    /// Where it is.
    pub blob: BlobId,
    /// Lower-case hex SHA-256.
    pub hash: String,
    /// Its length.
    pub bytes: u64,
}

/// Why a payload did not come in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The upload broke off.
    #[error("the upload broke off: {0}; deploy again")]
    Upload(#[from] UploadError),
    /// The blob store did not take it.
    #[error("the payload could not be stored: {0}")]
    Blob(#[from] BlobError),
    /// The row could not name it, so no peer would ever find it.
    #[error("the payload could not be recorded: {0}")]
    Record(#[from] StoreError),
}

impl<E: Env> Recorder<E> {
    /// Streams `upload` into a new blob that the row then refers to. Progress puts pause until it ends.
    ///
    /// # Errors
    /// The first cause. The row is back to no payload then, and the partial blob is deleted.
    pub async fn ingest_payload(
        &self,
        upload: impl Stream<Item = Result<Bytes, UploadError>> + Unpin,
    ) -> Result<Ingested, IngestError> {
        self.pause_flush();
        let blob = BlobId(self.0.env.fresh_id());
        let ingested = self.take_in(blob, upload).await;
        self.resume_flush();
        if ingested.is_err() {
            self.take_back(blob).await;
        }
        ingested
    }

    async fn take_in(
        &self,
        blob: BlobId,
        upload: impl Stream<Item = Result<Bytes, UploadError>> + Unpin,
    ) -> Result<Ingested, IngestError> {
        let ingested = self.store(blob, upload).await?;
        self.hear(|row| {
            row.payload_blob = Some(ingested.blob);
            row.payload_hash = Some(ingested.hash.clone());
            row.payload_size = Some(ingested.bytes);
        });
        self.put().await?;
        Ok(ingested)
    }

    async fn store(
        &self,
        blob: BlobId,
        mut upload: impl Stream<Item = Result<Bytes, UploadError>> + Unpin,
    ) -> Result<Ingested, IngestError> {
        let blobs = self.0.env.blobs();
        blobs.create(blob).await?;
        let mut hashing = Hashing::default();
        while let Some(chunk) = upload.next().await {
            let chunk = chunk?;
            hashing.update(&chunk);
            blobs.append(blob, chunk).await?;
        }
        blobs.complete(blob).await?;
        Ok(Ingested { blob, hash: hashing.hash(), bytes: hashing.bytes() })
    }

    /// Undoes what a failed ingest left: first the row, so that nobody finds a blob that goes away. What fails here must
    /// not hide the first cause.
    async fn take_back(&self, blob: BlobId) {
        self.hear(|row| {
            row.payload_blob = None;
            row.payload_hash = None;
            row.payload_size = None;
        });
        match self.put().await {
            Ok(()) => delete_blob(&self.0.env, blob).await,
            Err(cause) => {
                self.journal_dropped("the put that takes the payload back", &cause);
                self.delete_once_unnamed(blob);
            }
        }
    }

    /// Lets a blob go when no committed row names it any more, while nobody waits for it: a progress put may have carried
    /// its name into the store, which the terminal put takes out.
    fn delete_once_unnamed(&self, blob: BlobId) {
        let recorder = self.clone();
        self.0.env.spawn_background(format!("deletion of blob {blob} once no row names it"), async move {
            recorder.until_unnamed(blob).await;
            delete_blob(&recorder.0.env, blob).await;
            Ok::<(), Infallible>(())
        });
    }

    async fn until_unnamed(&self, blob: BlobId) {
        let (env, key) = (&self.0.env, &self.0.key);
        let mut commits = env.table().watch(key);
        loop {
            let row = until_done(env, "look for a row that names a blob", || env.table().get(key)).await;
            if row.is_none_or(|row| row.blob != Some(blob)) {
                return;
            }
            commits.changed().await;
        }
    }
}
