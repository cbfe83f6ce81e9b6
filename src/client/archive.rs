//! What is uploaded: a directory, packed as it is read, or an archive as it stands.

use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream, stream::LocalBoxStream};

use super::pack;
use crate::real::blocking;

/// The pieces in which an archive is read.
const PIECE_BYTES: usize = 64 * 1024;

/// A component on the operator's disk.
#[derive(Clone, Debug)]
pub enum Component {
    /// A directory, without what has one of these names.
    Directory {
        /// Where it stands.
        path: PathBuf,
        /// Names that are left out, wherever they stand.
        excluded: Vec<String>,
    },
    /// A tar archive, gzipped or not.
    Archive(PathBuf),
}

/// Why a path is no component.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` cannot be uploaded: {why}")]
pub struct ComponentError {
    path: String,
    why: String,
}

impl Component {
    /// Looks at what stands at `path`.
    ///
    /// # Errors
    /// When there is nothing, or nothing that can be uploaded.
    pub fn at(path: &Path, excluded: &[String]) -> Result<Self, ComponentError> {
        let failed = |why: String| ComponentError { path: path.display().to_string(), why };
        let found = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
        if found.is_dir() {
            return Ok(Self::Directory { path: path.to_owned(), excluded: excluded.to_vec() });
        }
        if !found.is_file() || found.len() == 0 {
            return Err(failed("name a directory, or an archive as `npm pack` or `tar` make it".to_owned()));
        }
        if !excluded.is_empty() {
            return Err(failed("nothing can be left out of an archive that is packed already".to_owned()));
        }
        Ok(Self::Archive(path.to_owned()))
    }

    /// The archive's bytes, read as they are asked for.
    pub fn stream(&self) -> LocalBoxStream<'static, io::Result<Bytes>> {
        match self {
            Self::Directory { path, excluded } => pack::stream(path.clone(), excluded.clone()).boxed_local(),
            Self::Archive(path) => read(path.clone()).boxed_local(),
        }
    }
}

fn read(path: PathBuf) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(None, move |open: Option<(Arc<fs::File>, u64)>| {
        let path = path.clone();
        async move {
            let (file, offset) = match open {
                Some(open) => open,
                None => (Arc::new(blocking(move || fs::File::open(path)).await?), 0),
            };
            let reading = Arc::clone(&file);
            let piece = blocking(move || {
                let mut piece = vec![0; PIECE_BYTES];
                let bytes = reading.read_at(&mut piece, offset)?;
                piece.truncate(bytes);
                Ok(piece)
            });
            let piece = piece.await?;
            let next = offset + piece.len() as u64;
            Ok((!piece.is_empty()).then(|| (piece.into(), Some((file, next)))))
        }
    })
}
