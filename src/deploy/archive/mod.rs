//! Unpacks a payload, entry by entry, through the seam (spec 8).
//!
//! A payload is a tar archive, gzipped or not. What the format means is the `tar` crate's knowledge (`entry`); what an
//! entry may do is decided in `rules`; the bytes are streamed, so memory stays that of a chunk.

mod entry;
mod rules;

use std::{
    io,
    path::{Path, PathBuf},
};

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt};

pub use self::rules::Limits;
use self::{
    entry::{Entries, Entry},
    rules::{Kind, Rules},
};
use super::blob_stream::BlobReadError;
use crate::env::{Disk, File};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// How much of a file is held in memory.
const CHUNK_BYTES: usize = 64 * 1024;

/// Why a payload was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The payload could not be read.
    #[error(transparent)]
    Payload(BlobReadError),
    /// It is no archive, or a damaged one.
    #[error("cannot unpack the payload: {0}; pack it again with `npm pack` or `tar`")]
    Malformed(String),
    /// An entry is not allowed.
    #[error("cannot unpack the payload: entry `{entry}` {why}")]
    Refused {
        /// Its path in the archive.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// The disk did not take it.
    #[error("cannot unpack the payload: this node's disk did not take `{path}`: {cause}; mend that and deploy again")]
    Disk {
        /// Which path in the component.
        path: String,
        /// What the disk says.
        cause: io::Error,
    },
}

impl ArchiveError {
    /// An error of reading: the payload's own cause, or a damaged archive.
    fn reading(error: io::Error) -> Self {
        let told = error.to_string();
        let unexpected_end = error.kind() == io::ErrorKind::UnexpectedEof;
        let cause = error.into_inner().and_then(|inner| inner.downcast::<BlobReadError>().ok());
        match cause {
            Some(cause) => Self::Payload(*cause),
            None if unexpected_end => Self::Malformed("it ends in the middle".to_owned()),
            None => Self::Malformed(told),
        }
    }

    /// The same error without the place where this node puts components together.
    fn within(self, into: &Path) -> Self {
        match self {
            Self::Disk { path, cause } => {
                let inside = Path::new(&path).strip_prefix(into).unwrap_or(Path::new(&path));
                // The directory itself is `.`.
                Self::Disk { path: Path::new(".").join(inside).display().to_string(), cause }
            }
            other => other,
        }
    }
}

/// What was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Where the component stands: the directory unpacked into, or the only directory in it (npm's `package/`).
    pub root: PathBuf,
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Unpacks `payload` into the directory `into`, which must not exist yet, and reads `payload` to its very end.
///
/// # Errors
/// When the payload is no archive, is cut or damaged, holds an entry that is not allowed, or exceeds `limits`. What was
/// written until then stays for the caller to clear.
pub async fn unpack(
    mut payload: impl AsyncBufRead + Unpin,
    disk: &impl Disk,
    into: &Path,
    limits: Limits,
) -> Result<Unpacked, ArchiveError> {
    let mut magic = [0; GZIP_MAGIC.len()];
    let length = read_up_to(&mut payload, &mut magic).await.map_err(ArchiveError::reading)?;
    let mut payload = magic[..length].chain(payload);
    let unpacked = if magic == GZIP_MAGIC {
        let mut decoder = GzipDecoder::new(&mut payload);
        decoder.multiple_members(true);
        unpack_tar(decoder, disk, into, limits).await?
    } else {
        unpack_tar(&mut payload, disk, into, limits).await?
    };
    drain(&mut payload).await.map_err(ArchiveError::reading)?;
    Ok(unpacked)
}

/// Fills `buffer` as far as the reader goes.
async fn read_up_to(reader: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..]).await? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

async fn drain(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
    while reader.read_buf(&mut buffer).await? > 0 {
        buffer.clear();
    }
    Ok(())
}

/// Unpacks a stream that may say more than its entries hold: headers, padding, comments, bytes behind the end. All that is
/// read counts, since a few compressed bytes can stand for very many.
async fn unpack_tar(
    reader: impl AsyncRead + Unpin,
    disk: &impl Disk,
    into: &Path,
    limits: Limits,
) -> Result<Unpacked, ArchiveError> {
    let mut reader = reader.take(limits.stream_bytes_max());
    let unpacked = unpack_entries(&mut reader, disk, into, limits).await;
    match reader.limit() {
        0 => Err(ArchiveError::Malformed(format!("it holds more than {} bytes", limits.stream_bytes_max()))),
        _ => unpacked.map_err(|error| error.within(into)),
    }
}

async fn unpack_entries(
    mut reader: impl AsyncRead + Unpin,
    disk: &impl Disk,
    into: &Path,
    limits: Limits,
) -> Result<Unpacked, ArchiveError> {
    let mut rules = Rules::new(limits);
    create_dir(disk, into).await?;
    let mut entries = Entries::new(&mut reader);
    while let Some(entry) = entries.next().await? {
        if let Some((path, kind)) = rules.admit(&entry)? {
            place(&mut entries, disk, into, &path, kind, &entry).await?;
        }
    }
    // A gzip's checksum stands behind its last byte: only who reads to the end has it checked.
    drain(&mut reader).await.map_err(ArchiveError::reading)?;
    let root = rules.root()?.map_or_else(|| into.to_owned(), |top| into.join(top));
    sync(disk, into).await?;
    Ok(Unpacked { root, entries: rules.entries(), bytes: rules.bytes() })
}

async fn place<R: AsyncRead + Unpin>(
    entries: &mut Entries<'_, R>,
    disk: &impl Disk,
    into: &Path,
    path: &Path,
    kind: Kind,
    entry: &Entry,
) -> Result<(), ArchiveError> {
    let target = into.join(path);
    if let Some(parent) = target.parent().filter(|_| kind != Kind::Dir) {
        create_dir(disk, parent).await?;
    }
    match kind {
        Kind::Dir => create_dir(disk, &target).await?,
        Kind::Symlink(link) => disk.symlink(&link, &target).await.map_err(|cause| failed(&target, cause))?,
        Kind::File { mode } => write_file(entries, disk, &target, mode, entry.size).await?,
    }
    Ok(())
}

async fn write_file<R: AsyncRead + Unpin>(
    entries: &mut Entries<'_, R>,
    disk: &impl Disk,
    path: &Path,
    mode: u32,
    size: u64,
) -> Result<(), ArchiveError> {
    let mut file = disk.create_file(path, mode).await.map_err(|cause| failed(path, cause))?;
    let mut left = size;
    while left > 0 {
        let chunk: Bytes = entries.body(left.min(CHUNK_BYTES as u64) as usize).await?;
        left -= chunk.len() as u64;
        file.write(chunk).await.map_err(|cause| failed(path, cause))?;
    }
    entries.skip_padding(size).await?;
    file.sync().await.map_err(|cause| failed(path, cause))
}

async fn create_dir(disk: &impl Disk, path: &Path) -> Result<(), ArchiveError> {
    disk.create_dir_all(path).await.map_err(|cause| failed(path, cause))
}

async fn sync(disk: &impl Disk, path: &Path) -> Result<(), ArchiveError> {
    disk.sync_dir(path).await.map_err(|cause| failed(path, cause))
}

fn failed(path: &Path, cause: io::Error) -> ArchiveError {
    ArchiveError::Disk { path: path.display().to_string(), cause }
}
