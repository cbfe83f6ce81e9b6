//! Unpacking: what stands on a node's disk is what was packed, or there is an error.

use drydock::sim::component::Entry;
use proptest::{prelude::*, sample::Index};
use tar::Builder;

use super::{choices, kept_in};
use crate::archive::{Tree, append, digest, gzip, pack, unpacked};

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
