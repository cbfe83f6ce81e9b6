//! Unpacking: what stands on a node's disk is what was packed, or there is an error.

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
use proptest::{prelude::*, sample::Index};
use tar::{Builder, EntryType, Header};
use tokio_util::io::StreamReader;

use super::{Immortal, choices, kept_in, source};
use crate::story::{cluster_of, tell};

type Tree = BTreeMap<String, Entry>;

/// A name of a file or directory: short ones that meet each other, and ones that no plain tar header holds.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab]", 1 => "[a-zé✔]{1,8}", 1 => "[a-z]{101,140}"]
}

fn entry() -> impl Strategy<Value = Entry> {
    let bytes = prop_oneof![Just(vec![]), proptest::collection::vec(any::<u8>(), 0..40), big()];
    prop_oneof![
        4 => (any::<bool>(), bytes).prop_map(|(executable, bytes)| Entry::File { executable, bytes: bytes.into() }),
        1 => Just(Entry::Dir),
        1 => name().prop_map(Entry::Symlink),
        1 => "[a-z]{101,140}".prop_map(|target| Entry::Symlink(format!("./{target}"))),
    ]
}

/// Around the sizes of a block and of a chunk.
fn big() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![510usize..515, 65_534usize..65_538].prop_map(|bytes| (0..bytes).map(|index| index as u8).collect())
}

/// A tree without its directories that hold something: packers may leave them out.
fn tree() -> impl Strategy<Value = Tree> {
    let path = proptest::collection::vec(name(), 1..4).prop_map(|names| names.join("/"));
    proptest::collection::vec((path, entry()), 1..10).prop_map(|all| {
        let mut tree = Tree::new();
        for (path, entry) in all {
            let fits = tree.keys().all(|known| !is_below(known, &path) && !is_below(&path, known));
            if fits {
                tree.insert(path, entry);
            }
        }
        tree
    })
}

fn is_below(path: &str, other: &str) -> bool {
    path == other || path.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'))
}

fn pack(tree: &Tree) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, entry) in tree {
        append(&mut builder, &format!("package/{path}"), entry).unwrap();
    }
    builder.into_inner().unwrap()
}

fn append(builder: &mut Builder<Vec<u8>>, path: &str, entry: &Entry) -> io::Result<()> {
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

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// The digest of the tree, worked out from what was packed.
fn digest(tree: &Tree) -> TreeDigest {
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
fn unpacked(payload: &[u8], cuts: &[Index], choices: Vec<u32>) -> Result<TreeDigest, String> {
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

/// Unpacks a payload within other limits; how many entries it has, or the error.
fn unpacked_within(payload: &[u8], limits: Limits) -> Result<u64, String> {
    counted(payload, limits).map(|unpacked| unpacked.entries)
}

fn counted(payload: &[u8], limits: Limits) -> Result<Unpacked, String> {
    let payload = Bytes::copy_from_slice(payload);
    let story = async move |cluster: drydock::sim::cluster::Cluster| {
        let reader = StreamReader::new(stream::iter([Ok::<_, io::Error>(payload)]));
        let unpacked = unpack(reader, cluster.env(NodeIndex(0)).disk(), Path::new("staging/it"), limits).await;
        unpacked.map_err(|error| error.to_string())
    };
    tell(&cluster_of(1), Calm, story).0
}

/// Links of all kinds beside a few directories, so that links meet links.
fn links() -> impl Strategy<Value = Tree> {
    let part = prop_oneof![3 => Just(".."), 1 => Just("."), 4 => "[abc]".prop_map(|name| match &*name {
        "a" => "a",
        "b" => "b",
        _ => "c",
    })];
    let target = proptest::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"));
    let path = prop_oneof!["[abc]", "d/[abc]", "d/e/[abc]"];
    proptest::collection::btree_map(path, target.prop_map(Entry::Symlink), 1..6)
}

/// Does whoever follows the link at `path` come out of the tree at some step? What is not there is taken for a directory.
fn leads_out(tree: &Tree, path: &str) -> bool {
    let mut here: Vec<&str> = Vec::new();
    let mut ahead: Vec<&str> = path.rsplit('/').collect();
    for _ in 0..100 {
        match ahead.pop() {
            None => return false,
            Some(".") => {}
            Some("..") if here.pop().is_none() => return true,
            Some("..") => {}
            Some(name) => {
                here.push(name);
                if let Some(Entry::Symlink(target)) = tree.get(&here.join("/")) {
                    here.pop();
                    ahead.extend(target.rsplit('/'));
                }
            }
        }
    }
    // It turns in circles, inside.
    false
}

proptest! {
    #![proptest_config(kept_in("fixtures/regressions/archive.txt"))]

    #[test]
    fn no_link_leads_out_of_the_component(tree in links()) {
        // A second name at the top keeps the first from being hoisted away.
        let mut builder = Builder::new(Vec::new());
        append(&mut builder, "other", &Entry::Dir).unwrap();
        for (path, entry) in &tree {
            append(&mut builder, path, entry).unwrap();
        }
        let leads_out = tree.keys().any(|path| leads_out(&tree, path));
        let unpacked = unpacked(&builder.into_inner().unwrap(), &[], vec![]);
        prop_assert!(!(leads_out && unpacked.is_ok()), "{tree:?}");
    }

    #[test]
    fn what_was_packed_is_what_is_unpacked_wherever_it_is_cut(
        tree in tree(),
        gzipped in any::<bool>(),
        cuts in proptest::collection::vec(any::<Index>(), 0..8),
        choices in choices(60),
    ) {
        let plain = pack(&tree);
        let payload = if gzipped { gzip(&plain) } else { plain };
        match unpacked(&payload, &cuts, choices) {
            // The disk was full; that is what it says.
            Err(error) if error.contains("no space left on device") => {
                prop_assert!(!error.contains("staging"), "{error}");
            }
            unpacked => prop_assert_eq!(unpacked, Ok(digest(&tree))),
        }
    }

    #[test]
    fn a_payload_cut_short_is_refused_or_whole(tree in tree(), gzipped in any::<bool>(), end in any::<Index>()) {
        let plain = pack(&tree);
        let payload = if gzipped { gzip(&plain) } else { plain };
        let cut = unpacked(&payload[..end.index(payload.len())], &[], vec![]);
        prop_assert!(cut.is_err() || (!gzipped && cut == Ok(digest(&tree))), "{cut:?}");
    }

    #[test]
    fn a_damaged_gzip_never_gives_another_tree(tree in tree(), at in any::<Index>(), flip in 1u8..) {
        let mut payload = gzip(&pack(&tree));
        let at = at.index(payload.len());
        payload[at] ^= flip;
        let damaged = unpacked(&payload, &[], vec![]);
        prop_assert!(damaged.is_err() || damaged == Ok(digest(&tree)), "{damaged:?}");
    }

    #[test]
    fn any_bytes_are_unpacked_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = unpacked(&bytes, &[], vec![]);
        let _ = unpacked(&[&[0x1f, 0x8b, 8, 0][..], &bytes].concat(), &[], vec![]);
    }
}

#[test]
fn a_link_over_a_link_is_refused() {
    let links = [("l", "."), ("a", "l/.."), ("b", "a/.."), ("c", "b/..")];
    let tree: Tree = links.map(|(path, target)| (path.to_owned(), Entry::Symlink(target.to_owned()))).into();
    let error = unpacked(&pack(&tree), &[], vec![]).unwrap_err();
    assert!(error.contains("`..` behind a name"), "{error}");
}

/// An archive that holds only what is given, in this order.
fn archive<'a>(entries: impl IntoIterator<Item = (&'a str, Entry)>) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, entry) in entries {
        append(&mut builder, path, &entry).unwrap();
    }
    builder.into_inner().unwrap()
}

fn file() -> Entry {
    Entry::File { executable: false, bytes: Bytes::new() }
}

fn link(target: &str) -> Entry {
    Entry::Symlink(target.to_owned())
}

#[test]
fn a_link_that_comes_back_in_by_the_name_of_the_top_is_refused() {
    let of = |target| archive([("package/y", file()), ("package/x", link(target))]);
    for target in ["../package/y", ".."] {
        let error = unpacked(&of(target), &[], vec![]).unwrap_err();
        assert!(error.contains("`package/x` is a link that leaves the component"), "{error}");
    }
    assert!(unpacked(&of("./y"), &[], vec![]).is_ok());
    // What is not hoisted keeps the name.
    let two = archive([("other", Entry::Dir), ("package/y", file()), ("package/x", link("../package/y"))]);
    assert!(unpacked(&two, &[], vec![]).is_ok());
}

#[test]
fn a_name_is_taken_once_and_nothing_lies_below_what_is_no_directory() {
    let refused = [
        (archive([("a/b", link("..")), ("a/b/c", file())]), "`a/b/c` lies below a link"),
        (archive([("a/b", file()), ("a/b/c/d", file())]), "`a/b/c/d` lies below a file"),
        (archive([("a/b/c", file()), ("a/b", link(".."))]), "`a/b` comes twice"),
        (archive([("a/b", link("..")), ("a/b", Entry::Dir)]), "`a/b` comes twice"),
        (archive([("a/b", Entry::Dir), ("a/b", file())]), "`a/b` comes twice"),
    ];
    for (archive, why) in refused {
        let error = unpacked(&archive, &[], vec![]).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert!(unpacked(&archive([("a/b/c", file()), ("a/b", Entry::Dir), ("a", Entry::Dir)]), &[], vec![]).is_ok());
}

#[test]
fn what_is_no_file_has_no_bytes() {
    for (path, kind) in [("./", EntryType::Directory), ("a/b", EntryType::Directory), ("a/b", EntryType::Symlink)] {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(5);
        header.set_link_name("c").unwrap();
        let mut builder = Builder::new(Vec::new());
        builder.append_data(&mut header, path, &b"bytes"[..]).unwrap();
        let error = unpacked(&builder.into_inner().unwrap(), &[], vec![]).unwrap_err();
        assert!(error.contains("has bytes, and is no file"), "{error}");
    }
}

#[test]
fn every_header_has_its_checksum_one_for_the_whole_archive_too() {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XGlobalHeader);
    header.set_size(0);
    header.set_cksum();
    let archive = |header: &Header| [header.as_bytes().as_slice(), &archive([("a", file())])].concat();
    assert!(unpacked(&archive(&header), &[], vec![]).is_ok());
    header.as_mut_bytes()[0] ^= 1;
    let error = unpacked(&archive(&header), &[], vec![]).unwrap_err();
    assert!(error.contains("a header of it is damaged"), "{error}");
}

#[test]
fn paths_are_bounded_one_by_one_and_together() {
    let deep = "a/".repeat(250_000);
    let links: Vec<String> = (0..1_000).map(|number| format!("l{number}")).collect();
    let entries = links.iter().map(|path| (&path[..], link(".")));
    let error = unpacked(&archive(entries.chain([(&deep[..], Entry::Dir)])), &[], vec![]).unwrap_err();
    assert!(error.contains("has a path that is too long") && error.len() < 1_000, "{error}");
    let error = unpacked(&archive([(&"n".repeat(256)[..], file())]), &[], vec![]).unwrap_err();
    assert!(error.contains("has a name that is too long"), "{error}");
    let error = unpacked(&archive([("a", link(&"t/".repeat(2_049)))]), &[], vec![]).unwrap_err();
    assert!(error.contains("is a link to a path that is too long"), "{error}");
    // Together: each brings 2,000 directories that nobody else names.
    let paths: Vec<String> = (0..9).map(|number| format!("{number}/{}", "a/".repeat(2_000))).collect();
    let limits = Limits { entries_max: 65_536, bytes_max: 1 << 30 };
    let payload = archive(paths.iter().map(|path| (&path[..], Entry::Dir)));
    let error = unpacked_within(&payload, limits).unwrap_err();
    assert!(error.contains("all paths and targets of links"), "{error}");
    let payload = archive(paths.iter().take(4).map(|path| (&path[..], Entry::Dir)));
    assert_eq!(unpacked_within(&payload, limits), Ok(4 * 2_001));
}

#[test]
fn directories_that_nobody_names_are_counted() {
    let limits = Limits { entries_max: 10, bytes_max: 1 << 20 };
    assert_eq!(unpacked_within(&archive([("a/b/c/d/e/f/g/h/i/j", file())]), limits), Ok(10));
    let error = unpacked_within(&archive([("a/b/c/d/e/f/g/h/i/j/k", file())]), limits).unwrap_err();
    assert!(error.contains("one too many: at most 10"), "{error}");
}

#[test]
fn an_extension_of_any_announced_size_is_refused() {
    for size in [u64::MAX, u64::MAX - 511, u64::MAX - 1023, 1 << 40] {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(size);
        header.set_cksum();
        let error = unpacked(&[header.as_bytes().as_slice(), &[0; 1024]].concat(), &[], vec![]).unwrap_err();
        assert!(error.contains("too long"), "{error}");
    }
}

#[test]
fn bytes_that_no_entry_holds_count_too() {
    let mut tar = pack(&Tree::from([("a".to_owned(), Entry::Dir)]));
    tar.resize(4 << 20, 0);
    let payload = gzip(&tar);
    let limits = Limits { entries_max: 10, bytes_max: 1 << 20 };
    let error = unpacked_within(&payload, limits).unwrap_err();
    assert!(error.contains("it holds more than"), "{error}");
    // The files' bytes, a header's worth for each entry, and a margin.
    tar.resize((2 << 20) + 10 * 4096 - 1, 0);
    assert_eq!(unpacked_within(&gzip(&tar), limits), Ok(2));
    tar.resize((2 << 20) + 10 * 4096, 0);
    assert!(unpacked_within(&gzip(&tar), limits).is_err());
}

/// An archive of entries that are no more than their headers.
fn headers<'a>(entries: impl IntoIterator<Item = (&'a str, EntryType)>) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, kind) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(0);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, &b""[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn the_archives_own_root_is_passed_over() {
    let whole = [("./", EntryType::Directory), ("./a", EntryType::Regular), ("./b", EntryType::Regular)];
    let tree = ["a", "b"].map(|name| (name.to_owned(), Entry::File { executable: true, bytes: Bytes::new() }));
    assert_eq!(unpacked(&headers(whole), &[], vec![]), Ok(digest(&tree.into())));
    let error = unpacked(&headers([("./", EntryType::Regular)]), &[], vec![]).unwrap_err();
    assert!(error.contains("has no name"), "{error}");
}

#[test]
fn what_a_component_does_not_hold_is_told_by_its_kind() {
    let refused = [
        (EntryType::Link, "is a hard link"),
        (EntryType::Char, "is a device"),
        (EntryType::Block, "is a device"),
        (EntryType::Fifo, "is a device"),
        (EntryType::new(b'V'), "is of a kind that is not unpacked"),
        (EntryType::Symlink, "is a link to nowhere"),
    ];
    for (kind, why) in refused {
        let error = unpacked(&headers([("a", EntryType::Regular), ("b", kind)]), &[], vec![]).unwrap_err();
        assert!(error.contains("`b`") && error.contains(why), "{error}");
    }
    assert!(unpacked(&headers([("a", EntryType::Continuous)]), &[], vec![]).is_ok());
}

#[test]
fn what_is_just_within_the_limits_is_unpacked() {
    let bytes = |length: usize| Entry::File { executable: false, bytes: vec![b'x'; length].into() };
    let limits = Limits { entries_max: 2, bytes_max: 700 };
    let whole = counted(&archive([("a", bytes(512)), ("b", bytes(188))]), limits).unwrap();
    assert_eq!((whole.entries, whole.bytes), (2, 700));
    let error = unpacked_within(&archive([("a", bytes(512)), ("b", bytes(189))]), limits).unwrap_err();
    assert!(error.contains("`b` is too much: at most 700 bytes"), "{error}");
    let (name, path) = ("n".repeat(255), "p/".repeat(2_047) + "ab");
    for (whole, more) in [(&name, "n"), (&path, "b")] {
        assert!(unpacked(&archive([(&whole[..], file())]), &[], vec![]).is_ok());
        let error = unpacked(&archive([(&format!("{whole}{more}")[..], file())]), &[], vec![]).unwrap_err();
        assert!(error.contains("too long") && error.contains('…'), "{error}");
    }
    let target = "t/".repeat(2_047) + "ab";
    assert!(unpacked(&archive([("a", link(&target))]), &[], vec![]).is_ok());
    assert!(unpacked(&archive([("a", link(&format!("{target}c")))]), &[], vec![]).is_err());
}

#[test]
fn a_refusal_tells_200_characters_of_a_path() {
    let directory = "é".repeat(100);
    let told = |characters: usize| {
        let mut builder = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Link);
        header.set_mode(0o644);
        header.set_size(0);
        builder.append_link(&mut header, format!("{directory}/{}", "é".repeat(characters)), "y").unwrap();
        unpacked(&builder.into_inner().unwrap(), &[], vec![]).unwrap_err()
    };
    // 200 characters.
    assert!(told(99).contains(&format!("`{directory}/{}` is a hard link", "é".repeat(99))), "{}", told(99));
    assert!(told(100).contains(&format!("`{directory}/{}…` is a hard link", "é".repeat(99))), "{}", told(100));
}

#[test]
fn members_of_one_gzip_are_one_archive() {
    let plain = archive([("a", file()), ("b", file())]);
    let (one, other) = plain.split_at(700);
    let tree = ["a", "b"].map(|name| (name.to_owned(), file()));
    assert_eq!(unpacked(&[gzip(one), gzip(other)].concat(), &[], vec![]), Ok(digest(&tree.into())));
}

#[test]
fn what_stands_before_entries_is_read_or_passed_over() {
    let block = |kind: EntryType, size: usize, fill: u8| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size as u64);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(512 + size.next_multiple_of(512), fill);
        bytes
    };
    let tree = [("a".to_owned(), file())].into();
    // Defaults for the whole archive are of any length.
    for size in [0, 1, 511, 512, 513, 70_000] {
        let payload = [block(EntryType::XGlobalHeader, size, b'x'), archive([("a", file())])].concat();
        assert_eq!(unpacked(&payload, &[], vec![]), Ok(digest(&tree)), "{size}");
    }
    let error = unpacked(&[block(EntryType::GNULongName, 20, 0), vec![0; 1024]].concat(), &[], vec![]).unwrap_err();
    assert!(error.contains("it ends behind an extension"), "{error}");
    // An extension has up to 1 MiB, its header with it.
    let long = |size| unpacked(&[block(EntryType::XHeader, size, 0), archive([("a", file())])].concat(), &[], vec![]);
    assert_eq!(long((1 << 20) - 512), Ok(digest(&tree)));
    assert!(long((1 << 20) - 511).unwrap_err().contains("the extensions of an entry are too long"));
}

#[test]
fn an_archive_that_was_cut_is_told_from_one_that_is_none() {
    let whole = archive([("a", Entry::File { executable: false, bytes: Bytes::from_static(&[7; 600]) })]);
    let cut = |bytes: usize| unpacked(&whole[..bytes], &[], vec![]).unwrap_err();
    for (bytes, why) in [
        (0, "it ends without an end mark"),
        (511, "it is no tar archive, or was cut"),
        (512, "it ends in the middle"),
        (1111, "it ends in the middle"),
        (1112, "it ends in the middle"),
        (1536, "it ends without an end mark"),
    ] {
        assert!(cut(bytes).contains(why), "{bytes}: {}", cut(bytes));
    }
    let error = unpacked(&[b'x'; 512], &[], vec![]).unwrap_err();
    assert!(error.contains("it is no tar archive, or a header of it is damaged"), "{error}");
    let error = unpacked(&archive([]), &[], vec![]).unwrap_err();
    assert!(error.contains("it is empty"), "{error}");
    // Deflate knows no block of that kind.
    let error = unpacked(&[&gzip(&whole)[..10], &[0xff; 20]].concat(), &[], vec![]).unwrap_err();
    assert!(error.contains("deflate") && !error.contains("ends in the middle"), "{error}");
}
