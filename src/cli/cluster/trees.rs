//! Are the live builds whole, and the same everywhere?

use std::{
    collections::BTreeMap,
    fs, io,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Component as Part, Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use tar::EntryType;
use walkdir::{DirEntry, WalkDir};

use crate::{client::Component, deploy::hashing::Hashing};

/// What is hashed at a time.
const READ_BYTES: usize = 64 * 1024;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What installers own in a component.
const LOCK_FILES: [&str; 4] = ["npm-shrinkwrap.json", "package-lock.json", "pnpm-lock.yaml", "yarn.lock"];

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Directory,
    File { executable: bool, hash: String },
    Link(PathBuf),
}

/// Every name of a tree, with what stands there.
pub(super) type Tree = BTreeMap<PathBuf, Entry>;

/// The tree below `root`, without what has an excluded name.
pub(super) fn of_directory(root: &Path, excluded: &[String]) -> io::Result<Tree> {
    let wanted = |entry: &DirEntry| entry.depth() == 0 || !excluded.iter().any(|name| entry.file_name() == &**name);
    let mut tree = Tree::new();
    // The live build is a link to where it stands.
    let root = root.canonicalize()?;
    for entry in WalkDir::new(&root).min_depth(1).into_iter().filter_entry(wanted) {
        let entry = entry.map_err(io::Error::from)?;
        let name = entry.path().strip_prefix(&root).expect("the walk stays below its root").to_owned();
        tree.insert(name, look(entry.path())?);
    }
    Ok(tree)
}

fn look(path: &Path) -> io::Result<Entry> {
    let found = fs::symlink_metadata(path)?;
    if found.is_symlink() {
        return Ok(Entry::Link(fs::read_link(path)?));
    }
    if found.is_dir() {
        return Ok(Entry::Directory);
    }
    let executable = found.permissions().mode() & 0o111 != 0;
    Ok(Entry::File { executable, hash: hash(fs::File::open(path)?)? })
}

fn hash(mut bytes: impl Read) -> io::Result<String> {
    let (mut hashing, mut buffer) = (Hashing::default(), vec![0; READ_BYTES]);
    loop {
        match bytes.read(&mut buffer)? {
            0 => return Ok(hashing.hash()),
            read => hashing.update(&buffer[..read]),
        }
    }
}

/// What every node must hold of a component: its own files, to which an install may add.
pub(super) fn of_component(component: &Component) -> io::Result<Tree> {
    match component {
        Component::Directory { path, excluded } => of_directory(path, excluded),
        Component::Archive(path) => of_archive(path),
    }
}

fn of_archive(path: &Path) -> io::Result<Tree> {
    let mut magic = Vec::new();
    fs::File::open(path)?.take(2).read_to_end(&mut magic)?;
    let file = io::BufReader::new(fs::File::open(path)?);
    let reader: Box<dyn Read> = if magic == GZIP_MAGIC { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut tree = Tree::new();
    for entry in tar::Archive::new(reader).entries()? {
        let mut entry = entry?;
        let name: PathBuf = entry.path()?.components().filter(|part| matches!(part, Part::Normal(_))).collect();
        let held = match entry.header().entry_type() {
            // It speaks of the archive, such as the commit that it was made of.
            EntryType::XGlobalHeader => continue,
            EntryType::Directory => Entry::Directory,
            EntryType::Symlink => Entry::Link(entry.link_name()?.unwrap_or_default().into_owned()),
            _ => Entry::File { executable: entry.header().mode()? & 0o111 != 0, hash: hash(&mut entry)? },
        };
        if !name.as_os_str().is_empty() {
            tree.insert(name, held);
        }
    }
    Ok(hoisted(tree))
}

/// Without the directory that all stands in, as a node hoists it.
fn hoisted(tree: Tree) -> Tree {
    let top = tree.keys().next().and_then(|first| first.components().next()).map(|top| PathBuf::from(top.as_os_str()));
    let inner = |top: &PathBuf| {
        let is_inside =
            |(name, entry): (&PathBuf, &Entry)| name.starts_with(top) && (name != top || *entry == Entry::Directory);
        tree.iter().all(is_inside)
    };
    let Some(top) = top.filter(inner) else { return tree };
    let names = tree.into_iter().filter_map(|(name, entry)| {
        let name = name.strip_prefix(&top).ok().filter(|name| !name.as_os_str().is_empty())?.to_owned();
        Some((name, entry))
    });
    names.collect()
}

/// The first name of `component` that `build` lacks or holds otherwise. An installer may rewrite what it owns: lock files.
pub(super) fn lacks<'a>(build: &Tree, component: &'a Tree) -> Option<&'a Path> {
    let is_installers = |name: &Path| LOCK_FILES.iter().any(|file| name.ends_with(file));
    let mut names = component.iter().filter(|(name, _)| !is_installers(name));
    names.find(|&(name, entry)| build.get(name) != Some(entry)).map(|(name, _)| name.as_path())
}

/// The first name that differs in two trees.
pub(super) fn difference<'a>(one: &'a Tree, other: &'a Tree) -> Option<&'a Path> {
    let names = one.keys().chain(other.keys());
    names.map(PathBuf::as_path).find(|&name| one.get(name) != other.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(names: &[(&str, Entry)]) -> Tree {
        names.iter().map(|(name, entry)| (PathBuf::from(name), entry.clone())).collect()
    }

    fn file(byte: u8) -> Entry {
        Entry::File { executable: false, hash: byte.to_string() }
    }

    #[test]
    fn a_build_may_hold_more_than_its_component_and_nothing_less() {
        let component = tree(&[("a.js", file(1))]);
        assert_eq!(lacks(&tree(&[("a.js", file(1)), ("node_modules", Entry::Directory)]), &component), None);
        assert_eq!(lacks(&tree(&[("a.js", file(2))]), &component), Some(Path::new("a.js")));
        assert_eq!(lacks(&Tree::new(), &component), Some(Path::new("a.js")));
    }

    #[test]
    fn an_installer_may_rewrite_its_lock_file() {
        for name in LOCK_FILES {
            let component = tree(&[(name, file(1)), ("a.js", file(1))]);
            assert_eq!(lacks(&tree(&[(name, file(2)), ("a.js", file(1))]), &component), None);
        }
    }

    #[test]
    fn what_an_archive_says_of_itself_is_no_name_of_the_component() {
        let mut builder = tar::Builder::new(Vec::new());
        let comment = b"52 comment=0123456789012345678901234567890123456789\n";
        for (kind, name, bytes) in
            [(EntryType::XGlobalHeader, "pax_global_header", &comment[..]), (EntryType::Regular, "shop/a.js", b"1")]
        {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, name, bytes).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("shop.tar");
        fs::write(&archive, builder.into_inner().unwrap()).unwrap();
        let names: Vec<_> = of_archive(&archive).unwrap().into_keys().collect();
        assert_eq!(names, [Path::new("a.js")]);
    }

    #[test]
    fn a_directory_that_all_stands_in_is_hoisted() {
        let packed = tree(&[("package", Entry::Directory), ("package/a.js", file(1))]);
        assert_eq!(hoisted(packed), tree(&[("a.js", file(1))]));
        let flat = tree(&[("a.js", file(1)), ("lib/b.js", file(1))]);
        assert_eq!(hoisted(flat.clone()), flat);
    }

    #[test]
    fn a_difference_is_named() {
        let one = tree(&[("a.js", file(1)), ("b.js", file(1))]);
        assert_eq!(difference(&one, &tree(&[("a.js", file(1))])), Some(Path::new("b.js")));
        assert_eq!(difference(&one, &one), None);
    }
}
