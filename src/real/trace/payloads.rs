//! The payloads of a run, read from the nodes' stores: which tree each must become.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    check::{
        TreeDigest,
        archive::{digest_of, read_archive},
    },
    deploy::hashing::hex,
    env::{BlobId, Record},
};

/// What rows say of payloads, and what the stores hold of them.
pub(super) struct Payloads {
    stores: Vec<PathBuf>,
    rows: BTreeMap<Uuid, Told>,
    read: BTreeMap<BlobId, Vec<Payload>>,
    /// What was let go.
    dropped: BTreeMap<BlobId, Vec<Payload>>,
    /// Deployments whose payload cannot be read any more.
    pub(super) gone: Vec<String>,
}

/// What a row says of its payload.
#[derive(Deserialize)]
struct Told {
    deployment_id: Uuid,
    payload_hash: Option<String>,
    payload_size: Option<u64>,
    payload_blob: Option<BlobId>,
}

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::real) struct Payload {
    hash: String,
    bytes: u64,
    /// `None` of what is no component.
    tree: Option<TreeDigest>,
}

impl Payload {
    /// Reads what a store holds.
    pub(in crate::real) fn read(file: fs::File) -> Self {
        let mut hashed = Hashed { file, hash: Sha256::new(), bytes: 0 };
        let tree = read_archive(&mut hashed, digest_of);
        // What is no archive to its end has a hash all the same; one that cannot be read has another.
        let _ = io::copy(&mut hashed, &mut io::sink());
        let tree = tree.ok().map(|tree| TreeDigest::of(&tree));
        Self { hash: hex(&hashed.hash.finalize()), bytes: hashed.bytes, tree }
    }
}

impl Payloads {
    pub(super) fn new(directories: &[PathBuf]) -> Self {
        let stores = directories.iter().map(|directory| directory.join("store/blobs")).collect();
        Self { stores, rows: BTreeMap::new(), read: BTreeMap::new(), dropped: BTreeMap::new(), gone: Vec::new() }
    }

    /// A version of a row. That it names a payload counts, though a later one does not any more.
    pub(super) fn row(&mut self, record: &Record) {
        let Ok(told) = serde_json::from_slice::<Told>(&record.value) else { return };
        if told.payload_hash.is_some() && told.payload_blob.is_some() {
            self.rows.insert(told.deployment_id, told);
        }
    }

    /// What a store held when it let a payload go.
    pub(super) fn let_go(&mut self, blob: BlobId, payload: &Payload) {
        self.dropped.entry(blob).or_default().push(payload.clone());
    }

    /// What an earlier deployment brought.
    pub(super) fn told(&self, id: Uuid) -> Option<(String, u64)> {
        let row = self.rows.get(&id)?;
        Some((row.payload_hash.clone()?, row.payload_size?))
    }

    /// What a package came to be, whatever its row says.
    pub(super) fn packed(&mut self, id: Uuid) -> Option<(String, u64)> {
        let blob = self.rows.get(&id)?.payload_blob?;
        let payload = self.read(blob).into_iter().next();
        if payload.is_none() {
            self.gone.push(id.to_string());
        }
        payload.map(|payload| (payload.hash, payload.bytes))
    }

    /// The tree that the payload with this hash must become.
    pub(super) fn tree(&mut self, hash: &str) -> Option<TreeDigest> {
        let of_hash = self.rows.values().filter(|row| row.payload_hash.as_deref() == Some(hash));
        let blobs: Vec<_> = of_hash.filter_map(|row| Some((row.deployment_id, row.payload_blob?))).collect();
        let whole = blobs.iter().flat_map(|(_, blob)| self.read(*blob)).find(|payload| payload.hash == hash);
        if whole.is_none() {
            self.gone.extend(blobs.first().map(|(id, _)| id.to_string()));
        }
        whole?.tree
    }

    /// What the stores hold under this id, or held.
    fn read(&mut self, blob: BlobId) -> Vec<Payload> {
        let (stores, dropped) = (&self.stores, &self.dropped);
        let read = self.read.entry(blob).or_insert_with(|| {
            let files = stores.iter().filter_map(|store| fs::File::open(store.join(blob.to_string())).ok());
            let mut found: Vec<Payload> = Vec::new();
            for payload in files.map(Payload::read).chain(dropped.get(&blob).into_iter().flatten().cloned()) {
                if !found.iter().any(|known| known.hash == payload.hash) {
                    found.push(payload);
                }
            }
            found
        });
        read.clone()
    }
}

/// A file whose bytes are hashed as they go by.
struct Hashed {
    file: fs::File,
    hash: Sha256,
    bytes: u64,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}
