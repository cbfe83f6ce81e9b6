//! A deploy of a package: the origin packs it, and the archive takes the way of an upload (spec 6).
//!
//! It is fetched once, by the origin. Were each node to fetch it for itself, two of them could run different bytes under
//! one name, and no row could say which.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use uuid::Uuid;

use super::{
    event::Event,
    install::{self, InstallError},
    recorder::UploadError,
    slots,
};
use crate::env::{Disk, EntryKind, Env};

/// What packs: it knows every form of a spec (registry, git, file, URL).
const PACKER: &str = "npm";

/// How an archive's name ends.
const ARCHIVE: &str = ".tgz";

/// The longest spec: of a URL as long as any is.
const SPEC_BYTES_MAX: usize = 2_048;

/// The pieces in which an archive is read.
const PIECE_BYTES: usize = 64 * 1024;

/// What to fetch: an npm, git or file spec, as `npm pack` takes it. Never an option of its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageSpec(String);

impl PackageSpec {
    /// Parses a spec; on failure says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.trim() != text || text.chars().any(char::is_control) {
            Err("must hold no control characters and not begin or end with a space")
        } else if text.starts_with('-') {
            Err("must not begin with `-`: it is a package, not an option")
        } else if text.len() > SPEC_BYTES_MAX {
            Err("is too long: at most 2048 bytes")
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The spec as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PackageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a package did not become a payload.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// It could not be fetched or packed.
    #[error("package `{spec}` was not packed: {cause}")]
    Packing {
        /// Which package.
        spec: PackageSpec,
        /// What came of its packer.
        cause: InstallError,
    },
    /// The packer succeeded, and left no archive, or more than one.
    #[error("package `{spec}` was not packed: {found} archives came of it, where one must; name one package")]
    Archives {
        /// Which package.
        spec: PackageSpec,
        /// How many.
        found: usize,
    },
    /// The disk did not do its part.
    #[error("package `{spec}` was not packed: {cause}")]
    Disk {
        /// Which package.
        spec: PackageSpec,
        /// What the disk says.
        cause: io::Error,
    },
}

impl PackageError {
    /// The last lines that the packer printed.
    pub(super) fn output(&self) -> Option<&[String]> {
        match self {
            Self::Packing { cause, .. } => cause.output(),
            Self::Archives { .. } | Self::Disk { .. } => None,
        }
    }
}

/// Where the package of a deployment is packed.
pub(super) fn directory(id: Uuid) -> PathBuf {
    slots::staging(&format!("{id}.package"))
}

/// Packs a package in [`directory`], which is the caller's to clear, and tells each line that the packer prints; returns
/// the archive's path.
pub(super) async fn pack<E: Env>(
    env: &E,
    id: Uuid,
    spec: &PackageSpec,
    limit: Duration,
    tell: impl FnMut(&Event),
) -> Result<PathBuf, PackageError> {
    let disk = |cause| PackageError::Disk { spec: spec.clone(), cause };
    let directory = directory(id);
    env.disk().create_dir_all(&directory).await.map_err(disk)?;
    let packed = install::run(env, &directory, limit, tell, PACKER, &["pack", "--", spec.as_str()]).await;
    packed.map_err(|cause| PackageError::Packing { spec: spec.clone(), cause })?;
    let left = env.disk().read_dir(&directory).await.map_err(disk)?;
    let mut archives: Vec<_> = left.into_iter().filter(|(name, kind)| is_archive(name, *kind)).collect();
    match (archives.pop(), archives.len()) {
        (Some((name, _)), 0) => Ok(directory.join(name)),
        (last, others) => {
            Err(PackageError::Archives { spec: spec.clone(), found: others + usize::from(last.is_some()) })
        }
    }
}

fn is_archive(name: &str, kind: EntryKind) -> bool {
    kind == EntryKind::File && name.ends_with(ARCHIVE)
}

/// The archive's bytes, as an upload.
pub(super) fn stream<'a, E: Env>(env: &'a E, archive: &'a Path) -> impl Stream<Item = Result<Bytes, UploadError>> + 'a {
    stream::try_unfold(0, move |offset| async move {
        let piece = env.disk().read_at(archive, offset, PIECE_BYTES).await;
        let piece = piece.map_err(|cause| UploadError::from(format!("the packed archive cannot be read: {cause}")))?;
        let next = offset + piece.len() as u64;
        Ok((!piece.is_empty()).then_some((piece, next)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_a_file_of_that_name() {
        let found = [("a-1.0.0.tgz", EntryKind::File), ("a.tgz", EntryKind::Dir), ("a.log", EntryKind::File)];
        assert_eq!(found.map(|(name, kind)| is_archive(name, kind)), [true, false, false]);
    }

    #[test]
    fn a_spec_may_have_2048_bytes() {
        assert!(PackageSpec::parse(&"x".repeat(2_048)).is_ok());
    }

    #[test]
    fn a_spec_is_never_an_option() {
        for spec in ["left-pad", "@scope/name@^1.2", "git+https://example.com/x.git#v1", "file:../my component"] {
            assert_eq!(PackageSpec::parse(spec).unwrap().as_str(), spec);
        }
        for spec in ["--globalconfig=x", "-g", " left-pad", "a\nb", "a\0", &"x".repeat(SPEC_BYTES_MAX + 1)] {
            assert!(PackageSpec::parse(spec).is_err(), "{spec:?}");
        }
    }
}
