//! `get_deployment_payload`: a deployment's bytes at their reader's pace.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    deploy::{
        blob_stream::{BlobReadError, BlobStream},
        budget::Budget,
        hashing::Hashing,
        row::Deployment,
    },
    env::{BlobId, Env},
};

/// The longest that a reader may take in all; a stalled blob is given up far sooner.
const READ_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Why there is no payload to read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// It has not been recorded yet.
    #[error("the payload of deployment {0} is unavailable (503): its upload has not ended; try again")]
    Unavailable(Uuid),
    /// It never came in whole.
    #[error("the payload of deployment {0} is incomplete (500): its upload failed; deploy again")]
    Incomplete(Uuid),
    /// It was let go.
    #[error("the payload of deployment {0} is gone (404): it was dropped by retention or deleted; deploy again")]
    Gone(Uuid),
}

impl PayloadError {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "payload_unavailable",
            Self::Incomplete(_) => "payload_incomplete",
            Self::Gone(_) => "payload_gone",
        }
    }
}

/// The blob that a row refers to.
pub(in crate::deploy) fn blob_of(row: &Deployment) -> Result<BlobId, PayloadError> {
    let id = row.deployment_id;
    match row.payload_blob {
        Some(blob) => Ok(blob),
        // The hash is known of a payload that was whole.
        None if row.payload_hash.is_some() => Err(PayloadError::Gone(id)),
        None if row.status.is_terminal() => Err(PayloadError::Incomplete(id)),
        None => Err(PayloadError::Unavailable(id)),
    }
}

/// A payload that can be read on this node, if all of it comes.
pub struct Payload<E> {
    env: E,
    blob: BlobId,
    /// Lower-case hex SHA-256 of the whole.
    pub hash: Option<String>,
    /// Its length.
    pub bytes: Option<u64>,
}

impl<E: Env> Payload<E> {
    pub(super) fn of(env: &E, row: &Deployment) -> Result<Self, PayloadError> {
        let blob = blob_of(row)?;
        Ok(Self { env: env.clone(), blob, hash: row.payload_hash.clone(), bytes: row.payload_size })
    }

    /// The bytes from the first one on. Waits for those that are in flight, and reads nothing that is not asked for.
    pub fn stream(&self) -> PayloadStream<'_, E> {
        let blob = BlobStream::new(self.env.blobs(), self.blob, Budget::starting_now(READ_MAX));
        PayloadStream { payload: self, blob, hashing: Hashing::default() }
    }
}

/// A payload's bytes, held against its row as they go by.
pub struct PayloadStream<'a, E: Env> {
    payload: &'a Payload<E>,
    blob: BlobStream<'a, E::Blobs>,
    hashing: Hashing,
}

impl<E: Env> PayloadStream<'_, E> {
    /// The next bytes; `None` at the end of the whole payload.
    ///
    /// # Errors
    /// When it does not come whole, and in the place of its end when it was not what its row says: no reader takes damaged
    /// bytes for the payload.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BlobReadError> {
        let piece = self.blob.next().await?;
        match &piece {
            Some(piece) => self.hashing.update(piece),
            None if self.hashing.is(self.payload.hash.as_deref(), self.payload.bytes) => {}
            None => {
                let (hash, bytes) = (self.hashing.hash(), self.hashing.bytes());
                let why = format!("this node's copy is damaged: it has sha256 {hash} over {bytes} bytes");
                return Err(BlobReadError::Incomplete { id: self.payload.blob, why });
            }
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_without_a_payload_says_why_it_has_none() {
        let row = |more: Option<(&str, serde_json::Value)>| -> Deployment {
            let mut row = json!({
                "deployment_id": Uuid::nil(), "project": "hello", "status": "failed", "origin_node": "n1", "started_at": 1,
            });
            if let Some((field, value)) = more {
                row[field] = value;
            }
            serde_json::from_value(row).unwrap()
        };
        let code = |more| blob_of(&row(more)).map_err(|error| error.code());
        let blob = Uuid::from_u128(7);
        assert_eq!(code(Some(("payload_blob", json!(blob)))), Ok(BlobId(blob)));
        assert_eq!(code(Some(("payload_hash", json!("abc")))), Err("payload_gone"));
        assert_eq!(code(None), Err("payload_incomplete"));
        assert_eq!(code(Some(("status", json!("installing")))), Err("payload_unavailable"));
    }
}
