//! Payload bytes, kept apart from the rows that refer to them.

use std::{fmt, future::Future};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A blob's id, the same on every node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlobId(pub Uuid);

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a blob has come on this node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BlobState {
    /// Nothing is known of it here.
    Missing,
    /// So many bytes are here, and more are to come.
    Writing {
        /// Bytes that can be read.
        bytes: u64,
    },
    /// It is whole, and durable.
    Complete {
        /// Its length.
        bytes: u64,
    },
    /// It will not be completed by this writer.
    Failed {
        /// Why, for an operator.
        cause: String,
    },
}

/// Why a blob operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The blob is not there, or not in a state that allows the call.
    #[error("blob {id} is {state}")]
    State {
        /// Which blob.
        id: BlobId,
        /// What it is instead: "missing", "complete", …
        state: &'static str,
    },
    /// The device failed.
    #[error("blob store: {0}")]
    Device(String),
}

/// One node's blobs.
///
/// What a resolved call has done to a blob that is complete or failed, or let go, is durable. Of a blob that was being
/// written when its node died, the next life finds any first part, still [`BlobState::Writing`], or nothing.
pub trait Blobs {
    /// See [`Blobs::watch`].
    type Watch: BlobWatch;

    /// Begins a blob, empty and [`BlobState::Writing`]; one that is there already begins anew.
    fn create(&self, id: BlobId) -> impl Future<Output = Result<(), BlobError>>;
    /// Adds bytes to a blob that is being written; resolves when the device has taken them.
    fn append(&self, id: BlobId, bytes: Bytes) -> impl Future<Output = Result<(), BlobError>>;
    /// Makes a blob that is being written [`BlobState::Complete`]; resolves when it is durable.
    fn complete(&self, id: BlobId) -> impl Future<Output = Result<(), BlobError>>;
    /// Records that a blob will not be completed; what was written of it is let go.
    fn fail(&self, id: BlobId, cause: String) -> impl Future<Output = Result<(), BlobError>>;
    /// Lets a blob go; one that is missing is no error.
    fn delete(&self, id: BlobId) -> impl Future<Output = Result<(), BlobError>>;

    /// Every blob that is not missing, in the order of ids.
    fn list(&self) -> impl Future<Output = Result<Vec<BlobId>, BlobError>>;

    /// How far the blob has come.
    fn state(&self, id: BlobId) -> impl Future<Output = Result<BlobState, BlobError>>;
    /// Up to `bytes_max` bytes from `offset` on; fewer mean nothing, none means that no more are here now.
    fn read(&self, id: BlobId, offset: u64, bytes_max: usize) -> impl Future<Output = Result<Bytes, BlobError>>;
    /// Watches the blob from now on.
    fn watch(&self, id: BlobId) -> Self::Watch;
}

/// Sees every change of a blob (bytes, state) that happens after [`Blobs::watch`] returned.
pub trait BlobWatch: 'static {
    /// Resolves after the next change; at once if one happened since the last call.
    fn changed(&mut self) -> impl Future<Output = ()>;
}
