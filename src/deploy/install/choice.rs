//! What an install runs: a custom command; else a package manager, where there is something to install.

use std::path::Path;

use serde_json::Value;

use super::{
    InstallError,
    dev_engines::{Managers, wanted_by},
};
use crate::env::{Disk, EntryKind};

/// The largest `package.json` that is read.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;

/// What is to be run.
#[derive(Debug, PartialEq)]
pub(super) enum Choice {
    /// Nothing is to be installed.
    Nothing,
    /// A shell runs `script`, told as what `manager` prints.
    Custom {
        /// The program that the script begins with.
        manager: String,
        /// What was asked for.
        script: String,
    },
    /// One of these, or the default.
    Managers(Managers),
}

/// What to run in `directory`: nothing without a package.json, or where node_modules are shipped; else the command asked
/// for, or what package.json asks for. The original looks in this order, too.
pub(super) async fn choose(disk: &impl Disk, directory: &Path, command: Option<&str>) -> Result<Choice, InstallError> {
    let unreadable = |error: std::io::Error| InstallError::Manifest(error.to_string());
    let manifest = disk.metadata(&directory.join("package.json")).await.map_err(unreadable)?;
    let shipped = disk.metadata(&directory.join("node_modules")).await.map_err(unreadable)?;
    if manifest.is_none_or(|found| found.kind != EntryKind::File) || shipped.is_some() {
        return Ok(Choice::Nothing);
    }
    if let Some(script) = command {
        return Ok(Choice::Custom { manager: program_of(script).to_owned(), script: script.to_owned() });
    }
    let text = disk.read_file(&directory.join("package.json"), MANIFEST_BYTES_MAX).await.map_err(unreadable)?;
    let manifest: Value = serde_json::from_slice(&text).map_err(|error| InstallError::Manifest(error.to_string()))?;
    wanted_by(&manifest).map(Choice::Managers).map_err(InstallError::Manifest)
}

/// The program that a shell command begins with, without its directory: operators know `pnpm`, not the `sh` around it.
fn program_of(script: &str) -> &str {
    let mut words = script.split_whitespace();
    let program = words.find(|word| !word.contains('=')).unwrap_or("sh");
    program.rsplit('/').find(|name| !name.is_empty()).unwrap_or("sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_custom_command_is_told_by_the_program_it_begins_with() {
        for (script, program) in [
            ("pnpm install --prod", "pnpm"),
            ("NODE_ENV=production CI=1 /usr/local/bin/yarn", "yarn"),
            ("./setup.sh && npm ci", "setup.sh"),
            ("A=1", "sh"),
            ("/", "sh"),
        ] {
            assert_eq!(program_of(script), program, "{script}");
        }
    }
}
