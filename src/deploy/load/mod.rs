//! The load check (spec 6): before a build goes live, what its manifests name must be there.
//!
//! Reads `package.json` and HarperDB's `config.yaml` through the seam ([`names`] says what they name, [`find`] whether it is
//! there), then lets the embedder's own loader try ([`Serving::load`]). Runs nothing of the component itself. A component
//! without a manifest names nothing, and loads.

mod find;
mod names;

use std::{io, path::Path};

use self::{
    find::{Found, find_entry},
    names::{Name, named_by_config, named_by_manifest},
};
use super::slots::ProjectName;
use crate::env::{Disk, EntryKind, Env, Serving};

/// The largest manifest that is read.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;

/// The manifests of a component, and who knows what they name.
const MANIFESTS: [(&str, Reader); 2] = [("package.json", named_by_manifest), ("config.yaml", named_by_config)];

/// What a manifest names; the error says why it cannot be read.
type Reader = fn(&[u8]) -> Result<Vec<Name>, String>;

/// Why a component cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A manifest says nothing that can be understood.
    #[error("the component cannot be loaded: its {file} cannot be read: {why}; correct it and deploy again")]
    Malformed {
        /// Which manifest.
        file: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// An entry point is not there.
    #[error(
        "the component cannot be loaded: `{name}`, which `{field}` in {file} names, is not there; add it and deploy again"
    )]
    Missing {
        /// Which manifest.
        file: &'static str,
        /// Where in it.
        field: String,
        /// What it names.
        name: String,
    },
    /// An entry point lies outside of the component, or leads there.
    #[error("the component cannot be loaded: `{name}`, which `{field}` in {file} names, leaves the component")]
    Outside {
        /// Which manifest.
        file: &'static str,
        /// Where in it.
        field: String,
        /// What it names.
        name: String,
    },
    /// The disk did not show it.
    #[error("the component cannot be loaded: read `{path}`: {cause}")]
    Disk {
        /// Which path.
        path: String,
        /// What the disk says.
        cause: io::Error,
    },
    /// The embedder's loader did not take it.
    #[error("the component cannot be loaded: {0}")]
    Refused(io::Error),
}

/// Checks that the component staged in `directory` can be loaded as `project`.
///
/// # Errors
/// When a manifest cannot be understood, names what is not in the component, or the embedder's loader refuses it.
pub async fn load<E: Env>(env: &E, project: &ProjectName, directory: &Path) -> Result<(), LoadError> {
    for (file, reader) in MANIFESTS {
        check(env.disk(), directory, file, reader).await?;
    }
    env.serving().load(&project.to_string(), directory).await.map_err(LoadError::Refused)
}

async fn check(disk: &impl Disk, directory: &Path, file: &'static str, reader: Reader) -> Result<(), LoadError> {
    let path = directory.join(file);
    let failed = |cause| LoadError::Disk { path: file.to_owned(), cause };
    let found = disk.metadata(&path).await.map_err(failed)?;
    if found.is_none_or(|found| found.kind != EntryKind::File) {
        return Ok(());
    }
    let text = disk.read_file(&path, MANIFEST_BYTES_MAX).await.map_err(failed)?;
    for name in reader(&text).map_err(|why| LoadError::Malformed { file, why })? {
        expect(disk, directory, file, name).await?;
    }
    Ok(())
}

async fn expect(disk: &impl Disk, directory: &Path, file: &'static str, name: Name) -> Result<(), LoadError> {
    let Name { field, name, kind } = name;
    let found = find_entry(disk, directory, &name, kind).await;
    match found.map_err(|(path, cause)| LoadError::Disk { path: path.display().to_string(), cause })? {
        Found::Inside => Ok(()),
        Found::Nothing => Err(LoadError::Missing { file, field, name }),
        Found::Outside => Err(LoadError::Outside { file, field, name }),
    }
}
