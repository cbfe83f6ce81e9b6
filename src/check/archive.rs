//! The reference reading of a component's archive, apart from the unpacking under test: what a payload must become.
//!
//! Each file's bytes are read once and kept as the caller likes, so that a payload of any size can be judged.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read},
    path::{Component as Part, Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::{FileDigest, FileHasher, TreeEntry};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The unit of a tar archive; a whole one ends with one of zeros.
const BLOCK_BYTES: usize = 512;

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
    let mut archive = Archive::new(Watched::new(plain));
    let read = read_entries(&mut archive, keep);
    archive.into_inner().is_whole()?;
    let tree = read?;
    if tree.is_empty() {
        return Err("the archive is empty; give one that holds a component".to_owned());
    }
    Ok(hoisted(with_parents(tree, &TreeEntry::Dir)))
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

/// The plain bytes of an archive, which remembers how they ended.
struct Watched<R> {
    plain: R,
    bytes: usize,
    /// The last ones.
    end: Vec<u8>,
    failure: Option<String>,
}

impl<R: Read> Watched<R> {
    fn new(plain: R) -> Self {
        Self { plain, bytes: 0, end: Vec::new(), failure: None }
    }

    /// Reads what is left, and looks whether nothing is missing.
    fn is_whole(mut self) -> Result<(), String> {
        if self.failure.is_none() {
            // A failure is remembered.
            let _ = io::copy(&mut self, &mut io::sink());
        }
        if let Some(error) = self.failure {
            return Err(format!("its gzip is cut or damaged ({error}); pack or download it again"));
        }
        let whole = self.bytes.is_multiple_of(BLOCK_BYTES) && self.end == [0; BLOCK_BYTES];
        whole.then_some(()).ok_or_else(|| "it is no tar archive, or was cut; pack or download it again".to_owned())
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.plain.read(buffer).inspect_err(|error| self.failure = Some(error.to_string()))?;
        self.bytes += read;
        self.end.extend_from_slice(&buffer[read.saturating_sub(BLOCK_BYTES)..read]);
        self.end.drain(..self.end.len().saturating_sub(BLOCK_BYTES));
        Ok(read)
    }
}

fn read_entries<T>(
    archive: &mut Archive<impl Read>,
    mut keep: impl FnMut(&mut dyn Read) -> io::Result<T>,
) -> Result<Tree<T>, String> {
    let no_archive = |error: io::Error| {
        format!("it is no tar archive, or was cut or damaged ({error}); give one that `npm pack` made")
    };
    let mut tree = BTreeMap::new();
    for entry in archive.entries().map_err(no_archive)? {
        let mut entry = entry.map_err(no_archive)?;
        let path = entry.path().map_err(no_archive)?.into_owned();
        let Some(name) = inside(&path)? else { continue };
        let read = read_entry(&mut entry, &path, Path::new(&name), &mut keep);
        if let Some(read) = read.map_err(|error| error.to_string())? {
            tree.insert(name, read);
        }
    }
    Ok(tree)
}

fn inside(path: &Path) -> Result<Option<String>, String> {
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

/// Adds the directories that files lie in and that nobody names.
pub(crate) fn with_parents<E: Clone>(mut tree: BTreeMap<String, E>, dir: &E) -> BTreeMap<String, E> {
    let files: Vec<String> = tree.keys().cloned().collect();
    for (index, path) in files.iter().flat_map(|path| path.match_indices('/').map(move |(index, _)| (index, path))) {
        tree.entry(path[..index].to_owned()).or_insert_with(|| dir.clone());
    }
    tree
}

/// Takes a single top-level directory away.
fn hoisted<T: Clone>(tree: Tree<T>) -> Tree<T> {
    let mut tops = tree.iter().filter(|(path, _)| !path.contains('/'));
    let (Some((top, TreeEntry::Dir)), None) = (tops.next(), tops.next()) else { return tree };
    let below = format!("{top}/");
    let hoisted = tree.iter().filter_map(|(path, entry)| Some((path.strip_prefix(&below)?.to_owned(), entry.clone())));
    hoisted.collect()
}
