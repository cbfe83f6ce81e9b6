//! What an archive may hold, and how much: each rule at its edge, and what a refusal says.

use bytes::Bytes;
use drydock::{deploy::archive::Limits, sim::component::Entry};
use tar::{Builder, EntryType, Header};

use super::{Tree, append, digest, gzip, pack, unpacked, unpacked_within};

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

/// How many entries are unpacked, or the error.
fn entries_within(payload: &[u8], limits: Limits) -> Result<u64, String> {
    unpacked_within(payload, limits).map(|unpacked| unpacked.entries)
}

#[test]
fn a_link_over_a_link_is_refused() {
    let links = [("l", "."), ("a", "l/.."), ("b", "a/.."), ("c", "b/..")];
    let tree: Tree = links.map(|(path, target)| (path.to_owned(), Entry::Symlink(target.to_owned()))).into();
    let error = unpacked(&pack(&tree), &[], vec![]).unwrap_err();
    assert!(error.contains("`..` behind a name"), "{error}");
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
    assert_eq!(entries_within(&payload, limits), Ok(4 * 2_001));
}

#[test]
fn directories_that_nobody_names_are_unpacked_within() {
    let limits = Limits { entries_max: 10, bytes_max: 1 << 20 };
    assert_eq!(entries_within(&archive([("a/b/c/d/e/f/g/h/i/j", file())]), limits), Ok(10));
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
    assert_eq!(entries_within(&gzip(&tar), limits), Ok(2));
    tar.resize((2 << 20) + 10 * 4096, 0);
    assert!(unpacked_within(&gzip(&tar), limits).is_err());
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
    let whole = unpacked_within(&archive([("a", bytes(512)), ("b", bytes(188))]), limits).unwrap();
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
