//! What is there when a run is over.

use std::{collections::BTreeMap, rc::Rc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    check::TreeDigest,
    env::{BlobId, BlobState, Record},
};

/// What a node holds at the end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeFinal {
    /// Its rows.
    pub rows: Vec<Rc<Record>>,
    /// Its blobs.
    pub blobs: BTreeMap<BlobId, BlobState>,
    /// The live build of each project.
    pub live: BTreeMap<String, TreeDigest>,
    /// Paths that are neither a live or served build nor part of one.
    pub leftovers: Vec<String>,
    /// Processes that still run.
    pub processes: Vec<u32>,
    /// The deployment whose build answers requests to each project.
    pub served: BTreeMap<String, Uuid>,
}
