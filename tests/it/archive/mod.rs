//! Archives: how tests pack them, and what stands on a simulated disk when they are unpacked.

mod rules;

use std::{collections::BTreeMap, io, io::Write, path::Path};

use bytes::Bytes;
use drydock::{
    check::{FileDigest, NodeIndex, TreeDigest, TreeEntry, TreeHasher},
    deploy::archive::{Limits, Unpacked, unpack},
    env::Env,
    sim::{choice::Calm, component::Entry},
};
use flate2::{Compression, write::GzEncoder};
use futures_util::stream;
use proptest::sample::Index;
use tar::{Builder, EntryType, Header};
use tokio_util::io::StreamReader;

use crate::{
    properties::{Immortal, source},
    story::{cluster_of, tell},
};

/// What a component holds, by path.
pub(crate) type Tree = BTreeMap<String, Entry>;

pub(crate) fn pack(tree: &Tree) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, entry) in tree {
        append(&mut builder, &format!("package/{path}"), entry).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn append(builder: &mut Builder<Vec<u8>>, path: &str, entry: &Entry) -> io::Result<()> {
    let mut header = Header::new_gnu();
    let (kind, mode, bytes) = match entry {
        Entry::Dir => (EntryType::Directory, 0o755, &[][..]),
        Entry::Symlink(_) => (EntryType::Symlink, 0o777, &[][..]),
        Entry::File { executable: true, bytes } => (EntryType::Regular, 0o755, &bytes[..]),
        Entry::File { executable: false, bytes } => (EntryType::Regular, 0o644, &bytes[..]),
        Entry::Blocks { .. } => unreachable!("no tree of these tests holds any"),
    };
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    match entry {
        Entry::Symlink(target) => builder.append_link(&mut header, path, target),
        _ => builder.append_data(&mut header, path, bytes),
    }
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// The digest of the tree, worked out from what was packed.
pub(crate) fn digest(tree: &Tree) -> TreeDigest {
    let mut whole = tree.clone();
    for path in tree.keys() {
        for (end, _) in path.match_indices('/') {
            whole.entry(path[..end].to_owned()).or_insert(Entry::Dir);
        }
    }
    let mut hasher = TreeHasher::default();
    for (path, entry) in &whole {
        match entry {
            Entry::Dir => hasher.add(path, &TreeEntry::Dir),
            Entry::Symlink(target) => hasher.add(path, &TreeEntry::Symlink(target.clone())),
            Entry::File { executable, bytes } => {
                let content = FileDigest::of([bytes]);
                hasher.add(path, &TreeEntry::File { executable: *executable, content });
            }
            Entry::Blocks { .. } => unreachable!("no tree of these tests holds any"),
        }
    }
    hasher.finish()
}

/// Unpacks a payload that comes in pieces onto a simulated disk; the digest of what stands there, or the error.
pub(crate) fn unpacked(payload: &[u8], cuts: &[Index], choices: Vec<u32>) -> Result<TreeDigest, String> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).chain([0, payload.len()]).collect();
    ends.sort_unstable();
    // An empty piece would be the end.
    let pieces = ends.windows(2).filter(|ends| ends[0] < ends[1]);
    let pieces: Vec<io::Result<Bytes>> =
        pieces.map(|ends| Ok(Bytes::copy_from_slice(&payload[ends[0]..ends[1]]))).collect();
    let story = async move |cluster: drydock::sim::cluster::Cluster| {
        let env = cluster.env(NodeIndex(0));
        let reader = StreamReader::new(stream::iter(pieces));
        let unpacked = unpack(reader, env.disk(), Path::new("staging/it"), Limits::default()).await;
        let root = unpacked.map_err(|error| error.to_string())?.root;
        Ok(env.disk().digest(root.to_str().unwrap()).expect("what was unpacked is a directory"))
    };
    match choices.is_empty() {
        true => tell(&cluster_of(1), Calm, story).0,
        false => tell(&cluster_of(1), Immortal(source(choices)), story).0,
    }
}

/// Unpacks a payload within other limits; what came of it, or the error.
pub(crate) fn unpacked_within(payload: &[u8], limits: Limits) -> Result<Unpacked, String> {
    let payload = Bytes::copy_from_slice(payload);
    let story = async move |cluster: drydock::sim::cluster::Cluster| {
        let reader = StreamReader::new(stream::iter([Ok::<_, io::Error>(payload)]));
        let unpacked = unpack(reader, cluster.env(NodeIndex(0)).disk(), Path::new("staging/it"), limits).await;
        unpacked.map_err(|error| error.to_string())
    };
    tell(&cluster_of(1), Calm, story).0
}
