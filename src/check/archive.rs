//! The reference reading of a component's archive, apart from the unpacking under test: what a payload must become.
//!
//! Each file's bytes are read once and kept as the caller likes, so that a payload of any size can be judged. What is kept
//! of its names is bounded: nodes read payloads too, of whoever deploys, and those that no node unpacks as well.

use std::{
    cell::Cell,
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read},
    path::{Component as Part, Path, PathBuf},
    rc::Rc,
};

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::{FileDigest, FileHasher, TreeEntry};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The unit of a tar archive; a whole one ends with one of zeros.
const BLOCK_BYTES: usize = 512;

// No bound is below that of the unpacking: what goes live can be read.

/// How long the plain bytes may be; what lies behind is not read, and the archive counts as cut.
const PLAIN_BYTES_MAX: u64 = 9 * 1024 * 1024 * 1024;

/// How much may stand before an entry's bytes: its header, and long names and other extensions, which are read at once.
const HEAD_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// The longest path, and the longest target of a link.
const PATH_BYTES_MAX: usize = 4096;

/// Files, directories and links, those directories too that nobody names.
const ENTRIES_MAX: usize = 65_536;

/// Bytes of all their paths and targets.
const NAMES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What an archive holds, by path.
pub type Tree<T = FileDigest> = BTreeMap<String, TreeEntry<T>>;

/// Reads an archive as it must be unpacked; `keep` says what is kept of a file's bytes.
///
/// # Errors
/// When it is no archive of a component, in one line.
pub fn read_archive<T: Clone>(
    payload: impl Read,
    keep: impl FnMut(&mut dyn Read) -> io::Result<T>,
) -> Result<Tree<T>, String> {
    let mut payload = BufReader::new(payload);
    let start = payload.fill_buf().map_err(|error| error.to_string())?;
    if start.is_empty() {
        return Err("the file is empty; give an archive that `npm pack` made".to_owned());
    }
    let plain: Box<dyn Read> = match start.starts_with(&GZIP_MAGIC) {
        true => Box::new(MultiGzDecoder::new(payload)),
        false => Box::new(payload),
    };
    let head = Head::default();
    let mut archive = Archive::new(Watched::new(plain.take(PLAIN_BYTES_MAX), head.clone()));
    let read = read_entries(&mut archive, &head, keep);
    archive.into_inner().ends_whole()?;
    let tree = read?;
    if tree.is_empty() {
        return Err("the archive is empty; give one that holds a component".to_owned());
    }
    hoisted(tree)
}

/// What is kept of a file's bytes when only their digest is wanted.
///
/// # Errors
/// Those of the reader.
pub fn digest_of(file: &mut dyn Read) -> io::Result<FileDigest> {
    let (mut hasher, mut buffer) = (FileHasher::default(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            bytes => hasher.update(&buffer[..bytes]),
        }
    }
}

/// How much may still be read before an entry's bytes begin. The tar crate takes all of a long name into memory.
#[derive(Clone)]
struct Head(Rc<Cell<u64>>);

impl Default for Head {
    fn default() -> Self {
        Self(Rc::new(Cell::new(HEAD_BYTES_MAX)))
    }
}

impl Head {
    fn begins(&self) {
        self.0.set(HEAD_BYTES_MAX);
    }

    /// What is read now is no head.
    fn is_over(&self) {
        self.0.set(u64::MAX);
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.get().checked_sub(bytes as u64);
        self.0.set(left.ok_or_else(|| io::Error::other("the extensions of an entry are too long"))?);
        Ok(())
    }
}

/// The plain bytes of an archive, which remembers how they ended.
struct Watched<R> {
    plain: R,
    head: Head,
    bytes: usize,
    /// The last ones.
    end: Vec<u8>,
    failure: Option<String>,
}

impl<R: Read> Watched<R> {
    fn new(plain: R, head: Head) -> Self {
        Self { plain, head, bytes: 0, end: Vec::new(), failure: None }
    }

    /// Reads what is left, and looks whether nothing is missing. Where the entries stopped there is an end mark, whatever lies
    /// behind it; entries that were not read to their end have one at the very end.
    fn ends_whole(mut self) -> Result<(), String> {
        let stopped_at_a_mark = self.is_behind_a_mark();
        if self.failure.is_none() {
            // A failure is remembered.
            let _ = io::copy(&mut self, &mut io::sink());
        }
        if let Some(error) = self.failure {
            return Err(format!("its gzip is cut or damaged ({error}); pack or download it again"));
        }
        let whole = stopped_at_a_mark || self.is_behind_a_mark();
        whole.then_some(()).ok_or_else(|| "it is no tar archive, or was cut; pack or download it again".to_owned())
    }

    fn is_behind_a_mark(&self) -> bool {
        self.bytes.is_multiple_of(BLOCK_BYTES) && self.end == [0; BLOCK_BYTES]
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.plain.read(buffer).inspect_err(|error| self.failure = Some(error.to_string()))?;
        self.bytes += read;
        self.end.extend_from_slice(&buffer[read.saturating_sub(BLOCK_BYTES)..read]);
        self.end.drain(..self.end.len().saturating_sub(BLOCK_BYTES));
        self.head.take(read)?;
        Ok(read)
    }
}

fn read_entries<T>(
    archive: &mut Archive<impl Read>,
    head: &Head,
    mut keep: impl FnMut(&mut dyn Read) -> io::Result<T>,
) -> Result<Tree<T>, String> {
    let no_archive = |error: io::Error| {
        format!("it is no tar archive, or was cut or damaged ({error}); give one that `npm pack` made")
    };
    let mut growing = Growing { tree: BTreeMap::new(), names_bytes: 0 };
    for entry in archive.entries().map_err(no_archive)? {
        let mut entry = entry.map_err(no_archive)?;
        head.is_over();
        let path = entry.path().map_err(no_archive)?.into_owned();
        if let Some(name) = inside(&path)? {
            let read = read_entry(&mut entry, &path, Path::new(&name), &mut keep);
            if let Some(read) = read.map_err(|error| error.to_string())? {
                growing.take(&name, read)?;
            }
        }
        // What is left of its bytes belongs to no head.
        io::copy(&mut entry, &mut io::sink()).map_err(no_archive)?;
        head.begins();
    }
    head.is_over();
    Ok(growing.tree)
}

/// A tree as it is read.
struct Growing<T> {
    tree: Tree<T>,
    names_bytes: usize,
}

impl<T> Growing<T> {
    /// Takes an entry, and the directories above it that nobody has named yet.
    fn take(&mut self, path: &str, entry: TreeEntry<T>) -> Result<(), String> {
        for (end, _) in path.rmatch_indices('/') {
            if self.tree.contains_key(&path[..end]) {
                break;
            }
            self.insert(&path[..end], TreeEntry::Dir)?;
        }
        self.insert(path, entry)
    }

    fn insert(&mut self, path: &str, entry: TreeEntry<T>) -> Result<(), String> {
        let target = if let TreeEntry::Symlink(target) = &entry { target.len() } else { 0 };
        if self.tree.insert(path.to_owned(), entry).is_none() {
            self.names_bytes += path.len() + target;
        }
        let fits = self.tree.len() <= ENTRIES_MAX && self.names_bytes <= NAMES_BYTES_MAX;
        fits.then_some(()).ok_or_else(|| "it holds more files and names than are unpacked; split it".to_owned())
    }
}

fn inside(path: &Path) -> Result<Option<String>, String> {
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(format!("an entry's path has more than {PATH_BYTES_MAX} bytes; give it a shorter one"));
    }
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Part::Normal(name) => {
                names.push(name.to_str().ok_or_else(|| format!("`{}` is not UTF-8", path.display()))?);
            }
            Part::CurDir => {}
            _ => return Err(format!("entry `{}` leaves the component; do not deploy this archive", path.display())),
        }
    }
    Ok((!names.is_empty()).then(|| names.join("/")))
}

fn read_entry<T>(
    entry: &mut tar::Entry<'_, impl Read>,
    path: &Path,
    name: &Path,
    keep: &mut impl FnMut(&mut dyn Read) -> io::Result<T>,
) -> io::Result<Option<TreeEntry<T>>> {
    let refused = |why: &str| io::Error::other(format!("entry `{}` {why}", path.display()));
    match entry.header().entry_type() {
        EntryType::Directory => Ok(Some(TreeEntry::Dir)),
        EntryType::Regular | EntryType::Continuous => {
            let executable = entry.header().mode()? & 0o111 != 0;
            Ok(Some(TreeEntry::File { executable, content: keep(entry)? }))
        }
        EntryType::Symlink => {
            let target = entry.link_name()?.ok_or_else(|| refused("is a link to nowhere"))?;
            if target.as_os_str().len() > PATH_BYTES_MAX {
                return Err(refused("is a link to a path that is too long"));
            }
            stays_inside(name, &target).ok_or_else(|| refused("is a link that leaves the component"))?;
            Ok(Some(TreeEntry::Symlink(target.to_string_lossy().into_owned())))
        }
        EntryType::XGlobalHeader => Ok(None),
        _ => Err(refused("is neither file, directory nor link; pack it anew without")),
    }
}

/// Where a link points to, when that is inside the tree at every step.
pub(crate) fn stays_inside(link: &Path, target: &Path) -> Option<PathBuf> {
    let mut pointed = link.parent().unwrap_or(Path::new("")).to_owned();
    for part in target.components() {
        match part {
            Part::Normal(name) => pointed.push(name),
            Part::CurDir => {}
            Part::ParentDir if pointed.pop() => {}
            _ => return None,
        }
    }
    Some(pointed)
}

/// Takes a single top-level directory away, and with it its name: a link that comes back by it would lead elsewhere.
fn hoisted<T: Clone>(tree: Tree<T>) -> Result<Tree<T>, String> {
    let mut tops = tree.iter().filter(|(path, _)| !path.contains('/'));
    let (Some((top, TreeEntry::Dir)), None) = (tops.next(), tops.next()) else { return Ok(tree) };
    let below = format!("{top}/");
    let hoisted = tree.iter().filter_map(|(path, entry)| Some((path.strip_prefix(&below)?.to_owned(), entry.clone())));
    let hoisted: Tree<T> = hoisted.collect();
    for (path, entry) in &hoisted {
        if let TreeEntry::Symlink(target) = entry {
            let inside = stays_inside(Path::new(path), Path::new(target));
            inside.ok_or_else(|| format!("entry `{below}{path}` is a link that leaves the component"))?;
        }
    }
    Ok(hoisted)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use tar::{Builder, Header};

    use super::*;

    fn header(kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        header.set_cksum();
        header
    }

    /// How many bytes a reader was asked for.
    struct Counted<R>(R, Rc<Cell<u64>>);

    impl<R: Read> Read for Counted<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer).inspect(|bytes| self.1.set(self.1.get() + *bytes as u64))
        }
    }

    #[test]
    fn a_long_name_of_any_announced_size_is_not_taken_into_memory() {
        let head = header(EntryType::GNULongName, 8 << 30);
        let read = Rc::new(Cell::new(0));
        let endless = Counted(head.as_bytes().chain(io::repeat(b'a')).take(8 << 30), Rc::clone(&read));
        let error = read_archive(endless, digest_of).unwrap_err();
        assert!(error.contains("no tar archive"), "{error}");
        assert!(read.get() < 2 * HEAD_BYTES_MAX, "{} bytes were read", read.get());
    }

    /// An archive of empty files with these paths.
    fn archive(paths: impl Iterator<Item = String>) -> Vec<u8> {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for path in paths {
            builder.append_data(&mut header(EntryType::Regular, 0), path, io::empty()).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn entries_and_their_names_are_bounded() {
        let refused =
            |paths: Vec<String>| read_archive(&archive(paths.into_iter())[..], digest_of).map(drop).unwrap_err();
        let many = (0..=ENTRIES_MAX as u32).map(|number| format!("{number}")).collect();
        let deep = (0..9).map(|number| format!("{number}/{}", "a/".repeat(2_040))).collect();
        for paths in [many, deep] {
            let error = refused(paths);
            assert!(error.contains("more files and names"), "{error}");
        }
        let error = refused(vec!["a/".repeat(2_100)]);
        assert!(error.contains("more than 4096 bytes"), "{error}");
    }

    #[test]
    fn a_link_that_comes_back_in_by_the_name_of_the_top_is_refused() {
        for (target, stays) in [("../package/y", false), ("../..", false), ("..", false), ("y", true), (".", true)] {
            let mut builder = Builder::new(Vec::new());
            builder.append_data(&mut header(EntryType::Regular, 0), "package/y", io::empty()).unwrap();
            builder.append_link(&mut header(EntryType::Symlink, 0), "package/x", target).unwrap();
            let read = read_archive(&builder.into_inner().unwrap()[..], digest_of);
            assert_eq!(read.is_ok(), stays, "{target}: {read:?}");
        }
    }

    #[test]
    fn what_lies_behind_the_end_mark_is_no_part_of_the_archive() {
        let mut builder = Builder::new(Vec::new());
        builder.append_data(&mut header(EntryType::Regular, 0), "a", io::empty()).unwrap();
        let archive = builder.into_inner().unwrap();
        let followed = [&archive[..], &b"and more"[..]].concat();
        assert_eq!(read_archive(&followed[..], digest_of), read_archive(&archive[..], digest_of));
        assert!(read_archive(&archive[..BLOCK_BYTES], digest_of).is_err());
    }

    #[test]
    fn what_lies_between_two_heads_is_no_head() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        let body = vec![b'x'; 3 * HEAD_BYTES_MAX as usize];
        let mut builder = Builder::new(&mut gzip);
        for (name, kind) in [("a", EntryType::Regular), ("b", EntryType::Directory), ("c", EntryType::Regular)] {
            builder.append_data(&mut header(kind, body.len() as u64), name, &body[..]).unwrap();
        }
        builder.finish().unwrap();
        drop(builder);
        // Zeros behind the end are no head either.
        gzip.write_all(&[0; 3 * HEAD_BYTES_MAX as usize]).unwrap();
        let tree = read_archive(&gzip.finish().unwrap()[..], digest_of).unwrap();
        assert_eq!(tree.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
