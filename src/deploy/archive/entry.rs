//! The entries of a tar stream. What a header says is left to the `tar` crate: an entry's blocks (its header and the
//! extensions before it: GNU long names, pax records) are collected, and read by it as an archive of their own.

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use tar::{Archive, EntryType, Header};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{ArchiveError, read_up_to};

const BLOCK_BYTES: usize = 512;

/// The most that the extensions of one entry may take.
const EXTENSION_BYTES_MAX: u64 = 1024 * 1024;

/// What stands before an entry's bytes.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) kind: EntryType,
    pub(super) link: Option<PathBuf>,
    pub(super) mode: u32,
    pub(super) size: u64,
}

/// Reads entries from a stream, as far as the caller goes.
pub(super) struct Entries<'a, R> {
    reader: &'a mut R,
}

impl<'a, R: AsyncRead + Unpin> Entries<'a, R> {
    pub(super) fn new(reader: &'a mut R) -> Self {
        Self { reader }
    }

    /// The next entry; its body must be read or skipped before the one after it. `None` at the archive's end.
    pub(super) async fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut blocks = Vec::with_capacity(BLOCK_BYTES);
        loop {
            let Some(header) = self.header().await? else {
                return if blocks.is_empty() { Ok(None) } else { Err(malformed("it ends behind an extension")) };
            };
            blocks.extend_from_slice(header.as_bytes());
            let kind = header.entry_type();
            let size = header.size().map_err(|error| malformed(error.to_string()))?;
            if kind.is_pax_global_extensions() {
                // Comments and defaults for the whole archive; npm's say nothing that matters here.
                blocks.truncate(blocks.len() - BLOCK_BYTES);
                self.skip(size).await?;
            } else if kind.is_gnu_longname() || kind.is_gnu_longlink() || kind.is_pax_local_extensions() {
                self.extension(&mut blocks, size).await?;
            } else {
                return read(&blocks).map(Some);
            }
        }
    }

    /// The next header; `None` for the zero block that ends an archive. One without it was cut.
    async fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut block = [0; BLOCK_BYTES];
        let length = read_up_to(self.reader, &mut block).await.map_err(ArchiveError::reading)?;
        match length {
            BLOCK_BYTES if block == [0; BLOCK_BYTES] => Ok(None),
            BLOCK_BYTES => {
                let header = Header::from_byte_slice(&block);
                if !is_sound(header) {
                    return Err(malformed("it is no tar archive, or a header of it is damaged"));
                }
                Ok(Some(header.clone()))
            }
            0 => Err(malformed("it ends without an end mark: it was cut, or is empty")),
            _ => Err(malformed("it is no tar archive, or was cut")),
        }
    }

    async fn extension(&mut self, blocks: &mut Vec<u8>, size: u64) -> Result<(), ArchiveError> {
        if (blocks.len() as u64).saturating_add(size) > EXTENSION_BYTES_MAX {
            return Err(malformed("the extensions of an entry are too long"));
        }
        let padded = size as usize + padding(size) as usize;
        let start = blocks.len();
        blocks.resize(start + padded, 0);
        self.reader.read_exact(&mut blocks[start..]).await.map_err(ArchiveError::reading)?;
        Ok(())
    }

    /// Up to `bytes_max` bytes of the entry's body, at least one.
    pub(super) async fn body(&mut self, bytes_max: usize) -> Result<Bytes, ArchiveError> {
        let mut chunk = BytesMut::with_capacity(bytes_max);
        let mut limited = (&mut *self.reader).take(bytes_max as u64);
        while chunk.len() < bytes_max {
            if limited.read_buf(&mut chunk).await.map_err(ArchiveError::reading)? == 0 {
                return Err(malformed("it ends in the middle"));
            }
        }
        Ok(chunk.freeze())
    }

    /// Passes over a body of `size` bytes and its padding.
    async fn skip(&mut self, size: u64) -> Result<(), ArchiveError> {
        let mut left = size;
        while left > 0 {
            left -= self.body(left.min(super::CHUNK_BYTES as u64) as usize).await?.len() as u64;
        }
        self.skip_padding(size).await
    }

    /// Passes over the padding behind a body of `size` bytes.
    pub(super) async fn skip_padding(&mut self, size: u64) -> Result<(), ArchiveError> {
        let mut block = [0; BLOCK_BYTES];
        let padding = &mut block[..padding(size) as usize];
        self.reader.read_exact(padding).await.map_err(ArchiveError::reading)?;
        Ok(())
    }
}

/// Does the header have its checksum? Not all are read as entries, where the `tar` crate would look.
fn is_sound(header: &Header) -> bool {
    let mut summed = header.clone();
    summed.set_cksum();
    matches!((header.cksum(), summed.cksum()), (Ok(said), Ok(is)) if said == is)
}

fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK_BYTES as u64) - size
}

fn malformed(why: impl Into<String>) -> ArchiveError {
    ArchiveError::Malformed(why.into())
}

/// Reads an entry's blocks as the archive that they are.
fn read(blocks: &[u8]) -> Result<Entry, ArchiveError> {
    let malformed = |error: std::io::Error| malformed(error.to_string());
    let mut archive = Archive::new(blocks);
    let mut entries = archive.entries().map_err(malformed)?;
    let entry = entries.next().ok_or_else(|| ArchiveError::Malformed("an entry without a header".to_owned()))?;
    let entry = entry.map_err(malformed)?;
    Ok(Entry {
        path: entry.path().map_err(malformed)?.into_owned(),
        kind: entry.header().entry_type(),
        link: entry.link_name().map_err(malformed)?.map(|link| link.into_owned()),
        mode: entry.header().mode().map_err(malformed)?,
        size: entry.size(),
    })
}
