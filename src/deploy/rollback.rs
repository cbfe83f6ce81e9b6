//! `deploy_component {rollback_from}`: a new deployment of an earlier payload (spec 10).
//!
//! The earlier bytes take the way of an upload: ingested into a blob of the new row, hashed and counted, and held against
//! what the earlier row says.
//!
//! The row of the deployment that is rolled back stays as it is. It did succeed, and its one terminal write has been: a
//! second one, `rolled_back` over `success`, would rewrite history, race its origin (another node, as often as not) and
//! take its end back from those who have read it. What replaced it is told by `rollback_of` in the new row.

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    blob_stream::BlobStream,
    budget::Budget,
    hashing::Hashing,
    package::PackageSpec,
    reading::{
        ReadError,
        payload::{PayloadError, blob_of},
        row_of,
    },
    recorder::{Upload, UploadError},
    request::DeployRequest,
    row::{Deployment, Status},
    slots::ProjectName,
};
use crate::env::{BlobId, Env};

/// Where a deploy's bytes come from.
pub(super) enum Source {
    /// From its client.
    Upload(Upload),
    /// From a package that the origin fetches.
    Package(PackageSpec),
    /// From an earlier deployment, on this node.
    Earlier(Box<Earlier>),
}

impl Source {
    /// The deployment whose payload is brought back.
    pub(super) fn rollback_of(&self) -> Option<Uuid> {
        match self {
            Self::Upload(_) | Self::Package(_) => None,
            Self::Earlier(earlier) => Some(earlier.id),
        }
    }

    /// The package that is fetched.
    pub(super) fn package(&self) -> Option<&PackageSpec> {
        match self {
            Self::Package(spec) => Some(spec),
            Self::Upload(_) | Self::Earlier(_) => None,
        }
    }
}

/// An earlier payload.
pub(super) struct Earlier {
    id: Uuid,
    blob: BlobId,
    hash: Option<String>,
    bytes: Option<u64>,
}

/// Why there is nothing to bring back.
#[derive(Debug, thiserror::Error)]
pub(super) enum RollbackError {
    /// The earlier row cannot be read.
    #[error("cannot roll back: {0}")]
    Read(#[from] ReadError),
    /// Its payload is not there.
    #[error("cannot roll back: {0}")]
    Payload(#[from] PayloadError),
    /// It is of another project.
    #[error("cannot roll back `{project}` to {id}: that is a deployment of `{other}`; name one of `{project}`")]
    OtherProject { id: Uuid, project: ProjectName, other: ProjectName },
    /// It never ran everywhere.
    #[error("cannot roll back to deployment {id}: it is {status}; name one that succeeded")]
    NoSuccess { id: Uuid, status: Status },
}

impl RollbackError {
    /// The failure as the client is told.
    pub(super) fn told(&self) -> Value {
        let code = match self {
            Self::Read(error) => error.code(),
            Self::Payload(error) => error.code(),
            Self::OtherProject { .. } => "other_project",
            Self::NoSuccess { .. } => "not_a_success",
        };
        json!({ "message": self.to_string(), "code": code, "phase": "validate" })
    }
}

/// Finds what `request` asks to bring back. Leaves no row.
pub(super) async fn find<E: Env>(env: &E, request: &DeployRequest, id: Uuid) -> Result<Source, RollbackError> {
    let row = row_of(env, id).await?;
    judge(&row, &request.project)?;
    let blob = blob_of(&row)?;
    Ok(Source::Earlier(Box::new(Earlier { id, blob, hash: row.payload_hash, bytes: row.payload_size })))
}

fn judge(row: &Deployment, project: &ProjectName) -> Result<(), RollbackError> {
    let id = row.deployment_id;
    if row.project != *project {
        return Err(RollbackError::OtherProject { id, project: project.clone(), other: row.project.clone() });
    }
    if row.status != Status::Success {
        return Err(RollbackError::NoSuccess { id, status: row.status });
    }
    Ok(())
}

impl Earlier {
    /// The bytes, as an upload; the last thing that comes is an error if they are not what the earlier row says.
    pub(super) fn stream<'a, E: Env>(
        &'a self,
        env: &'a E,
        budget: Budget,
    ) -> impl Stream<Item = Result<Bytes, UploadError>> + 'a {
        let reading = (BlobStream::new(env.blobs(), self.blob, budget), Hashing::default());
        stream::try_unfold(reading, move |(mut blobs, mut hashing)| async move {
            let Some(piece) = blobs.next().await.map_err(|error| UploadError::from(error.to_string()))? else {
                return self.hold_against(&hashing).map(|()| None);
            };
            hashing.update(&piece);
            Ok(Some((piece, (blobs, hashing))))
        })
    }

    fn hold_against(&self, read: &Hashing) -> Result<(), UploadError> {
        if read.is(self.hash.as_deref(), self.bytes) {
            return Ok(());
        }
        let (id, hash, bytes) = (self.id, read.hash(), read.bytes());
        Err(format!("this node's copy of the payload of {id} is damaged: sha256 {hash} over {bytes} bytes").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(status: &str) -> Deployment {
        serde_json::from_value(json!({
            "deployment_id": Uuid::nil(), "project": "hello", "status": status, "origin_node": "n1", "started_at": 1,
        }))
        .unwrap()
    }

    #[test]
    fn only_a_success_of_the_same_project_is_brought_back() {
        let (hello, other) = (ProjectName::parse("hello").unwrap(), ProjectName::parse("other").unwrap());
        assert!(judge(&row("success"), &hello).is_ok());
        assert!(matches!(judge(&row("success"), &other), Err(RollbackError::OtherProject { .. })));
        for status in ["failed", "rolled_back", "installing"] {
            assert!(matches!(judge(&row(status), &hello), Err(RollbackError::NoSuccess { .. })));
        }
    }

    #[test]
    fn a_client_is_told_why_nothing_is_brought_back() {
        let hello = ProjectName::parse("hello").unwrap();
        let other = judge(&row("success"), &ProjectName::parse("other").unwrap()).unwrap_err();
        let failed = judge(&row("failed"), &hello).unwrap_err();
        let gone = RollbackError::from(PayloadError::Gone(Uuid::nil()));
        for (error, code) in [(other, "other_project"), (failed, "not_a_success"), (gone, "payload_gone")] {
            let told = error.told();
            assert_eq!((&told["code"], &told["phase"]), (&json!(code), &json!("validate")));
            assert!(told["message"].as_str().unwrap().starts_with("cannot roll back"), "{told}");
        }
    }
}
