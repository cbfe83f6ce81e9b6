//! Unpacking: any bytes, cut anywhere, become the same tree or the same refusal; within the limits, inside of the component,
//! and as the reference reading has it.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Component, Path},
};

use drydock::{
    check::{TreeEntry, archive::read_archive},
    deploy::archive::{ArchiveError, Limits, unpack},
};
use flate2::{Compression, write::GzEncoder};
use tar::Header;

use crate::{
    memory_disk::{MemoryDisk, Node, Nodes},
    pieces::{at_once, reader_of, whatever_the_cutting},
};

const INTO: &str = "staging/it";

/// Small enough to be met by small inputs.
const LIMITS: Limits = Limits { entries_max: 24, bytes_max: 8 * 1024 };

const BLOCK_BYTES: usize = 512;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

pub(crate) fn check(bytes: &[u8]) {
    let plain = unpacks_alike(bytes);
    if bytes.starts_with(GZIP_MAGIC) {
        return;
    }
    assert_eq!(unpacks_alike(&gzip(bytes)).ok(), plain.ok(), "gzipped or not");
    // Whatever that comes to, it has been judged.
    let _ = unpacks_alike(&with_checksums(bytes));
}

/// What was unpacked, by its path in the component.
type Tree = BTreeMap<String, TreeEntry<Vec<u8>>>;

/// Unpacks in every cutting; what comes of it is judged.
fn unpacks_alike(payload: &[u8]) -> Result<Tree, String> {
    let (unpacked, nodes) = whatever_the_cutting(payload, |pieces| {
        let disk = MemoryDisk::default();
        let unpacked = at_once(unpack(reader_of(pieces), &disk, Path::new(INTO), LIMITS));
        // A payload of bytes that are all there has no other fault than its own.
        assert!(!matches!(unpacked, Err(ArchiveError::Payload(_) | ArchiveError::Disk { .. })), "{unpacked:?}");
        let nodes = disk.into_nodes();
        is_within_limits(&nodes);
        // What is left of one that is refused is for the caller to clear, however much it is.
        Ok::<_, String>((unpacked.map_err(|error| refusal(payload, &error))?, nodes))
    })?;
    assert!(unpacked.entries <= LIMITS.entries_max && unpacked.bytes <= LIMITS.bytes_max);
    let root = unpacked.root.strip_prefix(INTO).expect("a component stands where it was unpacked into");
    assert!(root.components().count() <= 1, "{}", root.display());
    let tree = tree_of(&nodes, &unpacked.root);
    tree.keys().for_each(|path| assert!(!leads_out(&tree, path), "`{path}` leads out of {tree:?}"));
    let reference = read_archive(payload, |file| {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map(|_| bytes)
    });
    assert_eq!(Ok(&tree), reference.as_ref(), "the reference reads otherwise");
    Ok(tree)
}

/// Why a payload is refused. Of a damaged gzip only that it is: how much nonsense is read as an archive before the damage
/// shows depends on the pieces.
fn refusal(payload: &[u8], error: &ArchiveError) -> String {
    if payload.starts_with(GZIP_MAGIC) { "refused".to_owned() } else { error.to_string() }
}

/// Whatever came of it, nothing stands outside, and no more than is allowed.
fn is_within_limits(nodes: &Nodes) {
    let mut bytes_held = 0;
    let mut entries = 0;
    for (path, node) in nodes {
        let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        assert!(is_plain && (path.starts_with(INTO) || Path::new(INTO).starts_with(path)), "{}", path.display());
        entries += u64::from(path.starts_with(INTO) && path != Path::new(INTO));
        if let Node::File { bytes, .. } = node {
            bytes_held += bytes.len() as u64;
        }
    }
    assert!(entries <= LIMITS.entries_max && bytes_held <= LIMITS.bytes_max, "{entries} entries, {bytes_held} bytes");
}

fn tree_of(nodes: &Nodes, root: &Path) -> Tree {
    let below = nodes.iter().filter_map(|(path, node)| Some((path.strip_prefix(root).ok()?, node)));
    let below = below.filter(|(path, _)| !path.as_os_str().is_empty());
    below.map(|(path, node)| (text(path), entry_of(node))).collect()
}

fn entry_of(node: &Node) -> TreeEntry<Vec<u8>> {
    match node {
        Node::Dir => TreeEntry::Dir,
        Node::File { executable, bytes } => TreeEntry::File { executable: *executable, content: bytes.clone() },
        Node::Symlink(target) => TreeEntry::Symlink(text(target)),
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("names that are not UTF-8 are refused").to_owned()
}

/// Does whoever follows the link at `path` come out of the tree at some step? What is not there is taken for a directory.
fn leads_out(tree: &Tree, path: &str) -> bool {
    const STEPS_MAX: usize = 10_000;
    let mut here: Vec<String> = Vec::new();
    let mut ahead: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
    for _ in 0..STEPS_MAX {
        match ahead.pop().as_deref() {
            None => return false,
            Some("" | ".") => {}
            Some("..") if here.pop().is_none() => return true,
            Some("..") => {}
            Some(name) => {
                here.push(name.to_owned());
                if let Some(TreeEntry::Symlink(target)) = tree.get(&here.join("/")) {
                    if target.starts_with('/') {
                        return true;
                    }
                    here.pop();
                    ahead.extend(target.rsplit('/').map(str::to_owned));
                }
            }
        }
    }
    // It turns in circles, inside.
    false
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// The archive with the right checksum in each header: without it no damaged header would ever be read.
fn with_checksums(archive: &[u8]) -> Vec<u8> {
    let mut archive = archive.to_vec();
    let mut at = 0;
    while let Some(block) = archive.get_mut(at..at + BLOCK_BYTES) {
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
        let bytes = header.entry_size().unwrap_or_default().min(archive.len() as u64) as usize;
        at += BLOCK_BYTES + bytes.next_multiple_of(BLOCK_BYTES);
    }
    archive
}
