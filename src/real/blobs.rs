//! Payload bytes as files: `ID.part` while a blob is written, `ID` once it is whole, `ID.failed` with the cause.
//!
//! A blob is never held in memory: each call moves one chunk.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Mutex, time::timeout};

use super::{
    blocking::{blocking, to_its_end},
    disk::sync_dir,
    trace::{Payload, Recorder},
};
use crate::check::Event;
use crate::env::{Beats, BlobError, BlobId, BlobState, BlobWatch, Blobs, Pulse};

const PART: &str = "part";
const FAILED: &str = "failed";

/// How long a deletion waits until the trace has been told what was deleted.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// A node's blobs; clones are handles to the same ones.
#[derive(Clone)]
pub struct RealBlobs {
    directory: PathBuf,
    recorder: Recorder,
    writing: Rc<RefCell<BTreeMap<BlobId, Writing>>>,
    /// For those who have ever been watched: a few bytes for each deployment of this life.
    changes: Rc<RefCell<BTreeMap<BlobId, Pulse>>>,
    /// Whoever reads what was deleted holds it.
    reading: Arc<Mutex<()>>,
}

/// A blob that is being written.
#[derive(Clone)]
struct Writing {
    file: Arc<fs::File>,
    /// Bytes that can be read; what a write that was given up has left behind them is written over.
    bytes: u64,
}

/// The files of one blob.
struct Files {
    whole: PathBuf,
    part: PathBuf,
    failed: PathBuf,
}

impl Files {
    fn of(directory: &Path, id: BlobId) -> Self {
        let whole = directory.join(id.to_string());
        Self { part: whole.with_extension(PART), failed: whole.with_extension(FAILED), whole }
    }

    /// Removes all of them, durably.
    fn remove(&self) -> io::Result<()> {
        for path in [&self.whole, &self.part, &self.failed] {
            remove(path)?;
        }
        self.sync()
    }

    /// Removes all of them, durably; returns a whole one, which can still be read.
    fn let_go(&self) -> io::Result<Option<fs::File>> {
        let whole = fs::File::open(&self.whole).ok();
        self.remove()?;
        Ok(whole)
    }

    fn sync(&self) -> io::Result<()> {
        sync_dir(self.whole.parent().expect("a blob lies in a directory"))
    }

    /// What the last life left, or this one has ended.
    fn state(&self) -> io::Result<BlobState> {
        if let Some(bytes) = length(&self.whole)? {
            return Ok(BlobState::Complete { bytes });
        }
        if length(&self.failed)?.is_some() {
            return Ok(BlobState::Failed { cause: fs::read_to_string(&self.failed)? });
        }
        Ok(length(&self.part)?.map_or(BlobState::Missing, |bytes| BlobState::Writing { bytes }))
    }

    fn fail(&self, cause: &str) -> io::Result<()> {
        fs::write(&self.part, cause)?;
        fs::File::open(&self.part)?.sync_all()?;
        fs::rename(&self.part, &self.failed)?;
        remove(&self.whole)?;
        self.sync()
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn length(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads until the buffer is full or the file ends.
fn read_up_to(file: &fs::File, offset: u64, bytes_max: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; bytes_max];
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            bytes => filled += bytes,
        }
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}

/// Every blob that has a file in `directory`.
fn ids(directory: &Path) -> io::Result<BTreeSet<BlobId>> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        ids.extend(path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).map(BlobId));
    }
    Ok(ids)
}

fn name_of(state: &BlobState) -> &'static str {
    match state {
        BlobState::Missing => "missing",
        BlobState::Writing { .. } => "being written",
        BlobState::Complete { .. } => "complete",
        BlobState::Failed { .. } => "failed",
    }
}

impl RealBlobs {
    /// The blobs in `directory`, which is made if it is not there.
    pub(super) fn open(directory: PathBuf, recorder: Recorder) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        Ok(Self { directory, recorder, writing: Rc::default(), changes: Rc::default(), reading: Arc::default() })
    }

    /// Does something with a blob's files, apart from the node's thread.
    async fn with_files<T: Send + 'static>(
        &self,
        id: BlobId,
        work: impl FnOnce(&Files) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BlobError> {
        let files = Files::of(&self.directory, id);
        blocking(move || work(&files)).await.map_err(|error| self.broke(&error))
    }

    fn broke(&self, error: &io::Error) -> BlobError {
        self.recorder.broke("blob-fails", error);
        BlobError::Device(error.to_string())
    }

    /// The state of each blob in `directory`, as the last life left it.
    pub(super) fn states(directory: &Path) -> io::Result<BTreeMap<BlobId, BlobState>> {
        ids(directory)?.into_iter().map(|id| Ok((id, Files::of(directory, id).state()?))).collect()
    }

    /// The blob has come to this state: records it, and tells those who watch it.
    fn tell(&self, id: BlobId, state: BlobState) {
        self.recorder.record(&Event::Blob { id, state });
        if let Some(changes) = self.changes.borrow().get(&id) {
            changes.beat();
        }
    }

    /// The blob's file, if it is being written: one that the last life began is taken up again.
    async fn writing(&self, id: BlobId) -> Result<Writing, BlobError> {
        let known = self.writing.borrow().get(&id).cloned();
        if let Some(writing) = known {
            return Ok(writing);
        }
        let opened = self.with_files(id, |files| match files.state()? {
            BlobState::Writing { bytes } => {
                Ok(Ok((fs::OpenOptions::new().read(true).write(true).open(&files.part)?, bytes)))
            }
            other => Ok(Err(name_of(&other))),
        });
        let (file, bytes) = opened.await?.map_err(|state| BlobError::State { id, state })?;
        Ok(Writing { file: Arc::new(file), bytes })
    }
}

impl Blobs for RealBlobs {
    type Watch = RealBlobWatch;

    async fn create(&self, id: BlobId) -> Result<(), BlobError> {
        self.writing.borrow_mut().remove(&id);
        let create = self.with_files(id, |files| {
            files.remove()?;
            fs::OpenOptions::new().read(true).write(true).create_new(true).open(&files.part)
        });
        let file = Arc::new(create.await?);
        self.writing.borrow_mut().insert(id, Writing { file, bytes: 0 });
        self.tell(id, BlobState::Writing { bytes: 0 });
        Ok(())
    }

    async fn append(&self, id: BlobId, bytes: Bytes) -> Result<(), BlobError> {
        let Writing { file, bytes: offset } = self.writing(id).await?;
        let (to, length) = (Arc::clone(&file), bytes.len() as u64);
        blocking(move || to.write_all_at(&bytes, offset)).await.map_err(|error| self.broke(&error))?;
        self.writing.borrow_mut().insert(id, Writing { file, bytes: offset + length });
        self.tell(id, BlobState::Writing { bytes: offset + length });
        Ok(())
    }

    async fn complete(&self, id: BlobId) -> Result<(), BlobError> {
        let Writing { file, bytes } = self.writing(id).await?;
        let complete = self.with_files(id, move |files| {
            file.set_len(bytes)?;
            file.sync_all()?;
            fs::rename(&files.part, &files.whole)?;
            files.sync()
        });
        complete.await?;
        self.writing.borrow_mut().remove(&id);
        self.tell(id, BlobState::Complete { bytes });
        Ok(())
    }

    async fn fail(&self, id: BlobId, cause: String) -> Result<(), BlobError> {
        let told = cause.clone();
        self.with_files(id, move |files| files.fail(&told)).await?;
        self.writing.borrow_mut().remove(&id);
        self.tell(id, BlobState::Failed { cause });
        Ok(())
    }

    async fn delete(&self, id: BlobId) -> Result<(), BlobError> {
        let whole = self.with_files(id, Files::let_go).await?;
        self.writing.borrow_mut().remove(&id);
        self.tell(id, BlobState::Missing);
        if let Some(whole) = whole {
            // A large one is not waited for, and what fails here is not the deletion.
            let _ = timeout(TOLD_WITHIN, self.tell_what_was(id, whole)).await;
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<BlobId>, BlobError> {
        let directory = self.directory.clone();
        let ids = blocking(move || ids(&directory)).await.map_err(|error| self.broke(&error))?;
        Ok(ids.into_iter().collect())
    }

    async fn state(&self, id: BlobId) -> Result<BlobState, BlobError> {
        let known = self.writing.borrow().get(&id).map(|writing| writing.bytes);
        match known {
            Some(bytes) => Ok(BlobState::Writing { bytes }),
            None => self.with_files(id, Files::state).await,
        }
    }

    async fn read(&self, id: BlobId, offset: u64, bytes_max: usize) -> Result<Bytes, BlobError> {
        let read = self.read_part(id, offset, bytes_max).await?;
        self.recorder.record(&Event::BlobRead { id, offset, bytes: read.len() as u64 });
        Ok(read)
    }

    fn watch(&self, id: BlobId) -> RealBlobWatch {
        RealBlobWatch(self.changes.borrow_mut().entry(id).or_default().subscribe())
    }
}

impl RealBlobs {
    /// Tells the trace what a whole blob was that is gone: its run is judged by it. Nothing else depends on it.
    async fn tell_what_was(&self, id: BlobId, whole: fs::File) -> io::Result<()> {
        // One at a time, and whoever gives up his turn closes his file: a large one takes long and holds room on the disk.
        let turn = Arc::clone(&self.reading).lock_owned().await;
        let recorder = self.recorder.clone();
        let work = async move {
            let payload = blocking(move || Ok(Payload::read(whole))).await?;
            recorder.let_go(id, payload);
            drop(turn);
            Ok(())
        };
        to_its_end(&self.recorder, "reading of what was deleted", work).await
    }

    async fn read_part(&self, id: BlobId, offset: u64, bytes_max: usize) -> Result<Bytes, BlobError> {
        let known = self.writing.borrow().get(&id).cloned();
        if let Some(Writing { file, bytes }) = known {
            let here = usize::try_from(bytes.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes_max);
            return blocking(move || read_up_to(&file, offset, here)).await.map_err(|error| self.broke(&error));
        }
        let read = self.with_files(id, move |files| {
            match fs::File::open(&files.whole).or_else(|_| fs::File::open(&files.part)) {
                Ok(file) => read_up_to(&file, offset, bytes_max),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Bytes::new()),
                Err(error) => Err(error),
            }
        });
        read.await
    }
}

/// Sees every change of a blob.
pub struct RealBlobWatch(Beats);

impl BlobWatch for RealBlobWatch {
    async fn changed(&mut self) {
        self.0.changed().await;
    }
}
