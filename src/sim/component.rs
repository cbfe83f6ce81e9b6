//! Components as the harness reads them: what is uploaded, and the tree that every node must run.
//!
//! The tree is worked out by a reading of its own (`check::read_archive`), apart from the unpacking under test.

use std::{
    collections::BTreeMap,
    fs, io, mem,
    path::Path,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};
use walkdir::WalkDir;

use crate::{
    check::{
        FileDigest, TreeDigest, TreeEntry, TreeHasher,
        archive::{read_archive, stays_inside},
    },
    deploy::hashing::hex,
};

/// The directory that everything is packed under, as npm does it.
const TOP: &str = "package";

/// The block of [`Component::large`].
const LARGE_BLOCK_BYTES: usize = 1024 * 1024;

/// The built-in component: `fixtures/components/hello`.
const HELLO: [(&str, &[u8]); 7] = [
    ("config.yaml", include_bytes!("../../fixtures/components/hello/config.yaml")),
    ("data/empty.txt", include_bytes!("../../fixtures/components/hello/data/empty.txt")),
    ("data/words.txt", include_bytes!("../../fixtures/components/hello/data/words.txt")),
    ("index.js", include_bytes!("../../fixtures/components/hello/index.js")),
    ("lib/messages/greetings.js", include_bytes!("../../fixtures/components/hello/lib/messages/greetings.js")),
    ("package.json", include_bytes!("../../fixtures/components/hello/package.json")),
    ("scripts/postinstall.js", include_bytes!("../../fixtures/components/hello/scripts/postinstall.js")),
];

/// What stands under a name of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Dir,
    /// A file.
    File {
        /// May it be executed?
        executable: bool,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A file of one block, many times: large, and small in memory.
    Blocks {
        /// Its length is a multiple of the archive's own blocks.
        block: Bytes,
        /// How often it stands in the file.
        times: usize,
    },
    /// A link that holds this target.
    Symlink(String),
}

/// A component, ready to be uploaded.
#[derive(Clone, Debug)]
pub struct Component {
    /// The project it is deployed as.
    pub name: String,
    /// The archive that is uploaded, in pieces of which some are the same memory.
    pub payload: Vec<Bytes>,
    /// Its length in bytes.
    pub payload_bytes: u64,
    /// The size that it was made to have, see [`Component::large`].
    pub mib: Option<u32>,
    /// Lower-case hex SHA-256 of the payload.
    pub hash: String,
    /// What every node must run, by path.
    pub tree: BTreeMap<String, Entry>,
    digest: TreeDigest,
    variants: Arc<[OnceLock<Arc<Component>>; VARIANTS_KEPT]>,
}

/// Variants that are kept for the next run.
const VARIANTS_KEPT: usize = 8;

/// The file that tells a variant from the others.
const VARIANT_FILE: &str = "deploy-number.txt";

/// What the manifest of a broken component names.
pub const MISSING_ENTRY: &str = "lib/forgotten-build.js";

/// A manifest of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// `package.json`.
    Package,
    /// `config.yaml`.
    Config,
}

/// Why a path is no component.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` is no component: {why}")]
pub struct ComponentError {
    /// What was given.
    pub path: String,
    /// What is wrong with it, and what to do.
    pub why: String,
}

impl Component {
    /// Reads the component at `path`: a directory, or an archive as `npm pack` makes it; without a path the built-in one.
    ///
    /// # Errors
    /// When there is nothing, nothing usable, or something that does not belong into a component.
    pub fn load(path: Option<&Path>) -> Result<Self, ComponentError> {
        let Some(path) = path else {
            let tree = HELLO.iter().map(|(name, bytes)| ((*name).to_owned(), plain_file(Bytes::from_static(bytes))));
            return Ok(Self::packed("hello", tree.collect()));
        };
        read(path).map_err(|why| ComponentError { path: path.display().to_string(), why })
    }

    /// A component with a file of so many MiB, which takes the memory of one.
    pub fn large(mib: u32) -> Self {
        let block: Vec<u8> = (0..LARGE_BLOCK_BYTES).map(|index| (index % 251) as u8).collect();
        let file = Entry::Blocks { block: block.into(), times: mib as usize };
        Self { mib: Some(mib), ..Self::packed("large", BTreeMap::from([("data.bin".to_owned(), file)])) }
    }

    /// A component of one file, of about `bytes` in all.
    pub fn of_size(name: &str, bytes: usize) -> Self {
        let filler: Vec<u8> = (0..bytes.saturating_sub(3 * 512)).map(|index| (index % 251) as u8).collect();
        Self::packed(name, BTreeMap::from([("data.bin".to_owned(), plain_file(filler.into()))]))
    }

    /// The component as deploy `number` of a run brings it: the first one as it stands, each later one with a file more, so
    /// that an older build never passes for a newer one.
    pub fn variant(self: &Arc<Self>, number: u32) -> Arc<Self> {
        match (number, self.variants.get(number as usize)) {
            (0, _) => Arc::clone(self),
            (_, Some(kept)) => Arc::clone(kept.get_or_init(|| self.numbered(number))),
            (_, None) => self.numbered(number),
        }
    }

    /// The component with a manifest that names [`MISSING_ENTRY`]: it cannot be loaded.
    pub fn broken(&self, manifest: Manifest) -> Arc<Self> {
        let mut tree = self.tree.clone();
        let (file, text) = match manifest {
            Manifest::Package => ("package.json", self.manifest_with("main", MISSING_ENTRY.into())),
            Manifest::Config => ("config.yaml", format!("jsResource:\n  files: {MISSING_ENTRY}\n")),
        };
        tree.insert(file.to_owned(), plain_file(text.into()));
        Arc::new(Self::packed(&self.name, tree))
    }

    /// The component with this field in its package.json.
    pub fn with_manifest(&self, field: &str, value: serde_json::Value) -> Arc<Self> {
        let mut tree = self.tree.clone();
        tree.insert("package.json".to_owned(), plain_file(self.manifest_with(field, value).into()));
        Arc::new(Self::packed(&self.name, tree))
    }

    /// The component with this file in it as well.
    pub fn with_file(&self, path: &str, text: &'static str) -> Arc<Self> {
        let mut tree = self.tree.clone();
        tree.insert(path.to_owned(), plain_file(text.into()));
        Arc::new(Self::packed(&self.name, tree))
    }

    /// Is there something to install: a package.json, and no modules that come along (spec 9)?
    pub fn installs(&self) -> bool {
        matches!(self.tree.get("package.json"), Some(Entry::File { .. }))
            && !self.tree.keys().any(|path| path == "node_modules" || path.starts_with("node_modules/"))
    }

    fn manifest_with(&self, field: &str, value: serde_json::Value) -> String {
        let manifest = match self.tree.get("package.json") {
            Some(Entry::File { bytes, .. }) => serde_json::from_slice(bytes).ok(),
            _ => None,
        };
        let mut manifest: serde_json::Map<_, _> = manifest.unwrap_or_default();
        manifest.insert(field.to_owned(), value);
        serde_json::Value::Object(manifest).to_string()
    }

    fn numbered(&self, number: u32) -> Arc<Self> {
        let mut tree = self.tree.clone();
        tree.insert(VARIANT_FILE.to_owned(), plain_file(format!("{number}\n").into()));
        Arc::new(Self::packed(&self.name, tree))
    }

    /// The digest of its tree.
    pub fn digest(&self) -> TreeDigest {
        self.digest
    }

    fn packed(name: &str, files: BTreeMap<String, Entry>) -> Self {
        Self::new(name, pack(&files), with_parents(files))
    }

    fn new(name: &str, payload: Vec<Bytes>, tree: BTreeMap<String, Entry>) -> Self {
        let mut hash = Sha256::new();
        payload.iter().for_each(|piece| hash.update(piece));
        let (hash, digest) = (hex(&hash.finalize()), digest(&tree));
        let payload_bytes = payload.iter().map(|piece| piece.len() as u64).sum();
        let (name, variants) = (project_name(name), Arc::default());
        Self { name, payload, payload_bytes, mib: None, hash, tree, digest, variants }
    }
}

fn plain_file(bytes: Bytes) -> Entry {
    Entry::File { executable: false, bytes }
}

impl From<TreeEntry<Bytes>> for Entry {
    fn from(entry: TreeEntry<Bytes>) -> Self {
        match entry {
            TreeEntry::Dir => Self::Dir,
            TreeEntry::Symlink(target) => Self::Symlink(target),
            TreeEntry::File { executable, content } => Self::File { executable, bytes: content },
        }
    }
}

impl Entry {
    /// The entry with a digest of its bytes.
    fn digested(&self) -> TreeEntry {
        match self {
            Self::Dir => TreeEntry::Dir,
            Self::Symlink(target) => TreeEntry::Symlink(target.clone()),
            Self::File { executable, bytes } => {
                TreeEntry::File { executable: *executable, content: FileDigest::of([bytes]) }
            }
            Self::Blocks { block, times } => {
                let content = FileDigest::of(std::iter::repeat_n(block, *times));
                TreeEntry::File { executable: false, content }
            }
        }
    }
}

fn digest(tree: &BTreeMap<String, Entry>) -> TreeDigest {
    let mut hasher = TreeHasher::default();
    tree.iter().for_each(|(path, entry)| hasher.add(path, &entry.digested()));
    hasher.finish()
}

fn read(path: &Path) -> Result<Component, String> {
    let found = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "nothing is there; give a directory, or an archive that `npm pack` made".to_owned(),
        _ => error.to_string(),
    })?;
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("component");
    let (payload, tree) = if found.is_dir() {
        let tree = read_dir(path)?;
        (pack(&tree), with_parents(tree))
    } else {
        let payload = Bytes::from(fs::read(path).map_err(|error| error.to_string())?);
        let tree = read_archive(&payload[..], |file| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map(|_| Bytes::from(bytes))
        })?;
        (vec![payload], tree.into_iter().map(|(path, entry)| (path, entry.into())).collect())
    };
    Ok(Component::new(&name_of(&tree).unwrap_or_else(|| stem.to_owned()), payload, tree))
}

/// Adds the directories that files lie in and that nobody names.
fn with_parents(mut tree: BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    let files: Vec<String> = tree.keys().cloned().collect();
    for (index, path) in files.iter().flat_map(|path| path.match_indices('/').map(move |(index, _)| (index, path))) {
        tree.entry(path[..index].to_owned()).or_insert(Entry::Dir);
    }
    tree
}

/// The name in the component's package.json.
fn name_of(tree: &BTreeMap<String, Entry>) -> Option<String> {
    let Some(Entry::File { bytes, .. }) = tree.get("package.json") else { return None };
    let manifest: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    manifest["name"].as_str().map(str::to_owned)
}

/// A name as a project may have it: `@scope/name` loses what cannot stand in it.
fn project_name(name: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    let name: String = name.chars().map(|character| if plain(character) { character } else { '-' }).collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() { "component".to_owned() } else { name.to_owned() }
}

fn read_dir(root: &Path) -> Result<BTreeMap<String, Entry>, String> {
    let mut tree = BTreeMap::new();
    for found in WalkDir::new(root).min_depth(1).sort_by_file_name() {
        let found = found.map_err(|error| error.to_string())?;
        let path = found.path().strip_prefix(root).expect("a walk stays below its root");
        let name = path.to_str().ok_or_else(|| format!("`{}` has a name that is not UTF-8", path.display()))?;
        tree.insert(name.to_owned(), read_entry(root, path, found.file_type())?);
    }
    if tree.is_empty() {
        return Err("the directory is empty; give one that holds a component".to_owned());
    }
    Ok(tree)
}

fn read_entry(root: &Path, path: &Path, kind: fs::FileType) -> Result<Entry, String> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |error: io::Error| format!("`{}`: {error}", path.display());
    let full = root.join(path);
    if kind.is_dir() {
        Ok(Entry::Dir)
    } else if kind.is_symlink() {
        let target = fs::read_link(&full).map_err(failed)?;
        stays_inside(path, &target).ok_or_else(|| format!("link `{}` leaves the component", path.display()))?;
        let target = target.to_str().ok_or_else(|| format!("`{}` points to no UTF-8", path.display()))?;
        Ok(Entry::Symlink(target.to_owned()))
    } else if kind.is_file() {
        let mode = fs::metadata(&full).map_err(failed)?.permissions().mode();
        let bytes = fs::read(&full).map_err(failed)?.into();
        Ok(Entry::File { executable: mode & 0o111 != 0, bytes })
    } else {
        Err(format!("`{}` is neither file, directory nor link", path.display()))
    }
}

/// Packs a tree the same way each time.
fn pack(tree: &BTreeMap<String, Entry>) -> Vec<Bytes> {
    let (mut builder, mut pieces) = (Builder::new(Vec::new()), Vec::new());
    for (path, entry) in tree {
        append(&mut builder, &format!("{TOP}/{path}"), entry).expect("a vector takes all bytes");
        if let Entry::Blocks { block, times } = entry {
            pieces.push(mem::take(builder.get_mut()).into());
            pieces.extend(vec![block.clone(); *times]);
        }
    }
    pieces.push(builder.into_inner().expect("a vector takes all bytes").into());
    pieces
}

fn append(builder: &mut Builder<Vec<u8>>, path: &str, entry: &Entry) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    match entry {
        Entry::Dir => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            builder.append_data(&mut header, path, io::empty())
        }
        Entry::Symlink(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            builder.append_link(&mut header, path, target)
        }
        Entry::File { executable, bytes } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, path, &bytes[..])
        }
        // The header alone: the blocks follow it as they are.
        Entry::Blocks { block, times } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o644);
            header.set_size((block.len() * times) as u64);
            builder.append_data(&mut header, path, io::empty())
        }
    }
}
