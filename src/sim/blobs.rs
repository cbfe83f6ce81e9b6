//! A simulated node's blobs. What it takes in is shared by reference; what it hands out is its reader's own memory, as a
//! real device's is: logic that keeps a whole payload takes the room of one.
//!
//! The design claims to survive that the device is slow in any call, that a read gives less than there is, that any call
//! fails, and that a loss of power leaves any part of a blob that was not complete, or nothing. It claims to notice that a
//! whole blob was damaged at rest: nothing of it goes live, and nobody waits for it.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use bytes::Bytes;

use super::{choice::Kind, tree::Loss, world::World};
use crate::{
    check::{Event, Fault, NodeIndex},
    env::{Beats, BlobError, BlobId, BlobState, BlobWatch, Blobs, Pulse},
};

struct Blob {
    state: BlobState,
    /// Pieces with the offset of each.
    pieces: Vec<(u64, Bytes)>,
    changes: Pulse,
    /// What befalls it once it is whole, and before which of its reads.
    fate: Option<(Damage, u32)>,
    damaged: bool,
}

/// What a device does to a blob that it had taken as a whole.
#[derive(Clone, Copy)]
enum Damage {
    Gone,
    Short,
    Changed,
}

/// The bound of the choice between a blob that stays as it is, and each [`Damage`].
const DAMAGE_BOUND: u32 = 4;

/// Before which reads of a blob it may be damaged.
const DAMAGED_AT_BOUND: u32 = 12;

impl Blob {
    fn missing() -> Self {
        Self { state: BlobState::Missing, pieces: Vec::new(), changes: Pulse::default(), fate: None, damaged: false }
    }

    /// Counts a read of a whole blob; the damage that comes before it, if any does.
    fn comes_to_read(&mut self) -> Option<Damage> {
        match &mut self.fate {
            Some((_, reads_left @ 1..)) => {
                *reads_left -= 1;
                None
            }
            fate => fate.take().map(|(damage, _)| damage),
        }
    }

    fn damage(&mut self, damage: Damage) {
        self.damaged = true;
        match damage {
            Damage::Gone => {
                self.pieces.clear();
                self.state = BlobState::Missing;
            }
            Damage::Short => {
                self.cut_off(self.written() / 2);
                self.state = BlobState::Complete { bytes: self.written() };
            }
            Damage::Changed => {
                let Some((_, piece)) = self.pieces.last_mut() else { return };
                let mut changed = piece.to_vec();
                if let Some(byte) = changed.last_mut() {
                    *byte ^= 1;
                }
                *piece = changed.into();
            }
        }
    }

    /// Keeps the first `left` bytes.
    fn cut_off(&mut self, left: u64) {
        self.pieces.retain(|(offset, _)| *offset < left);
        if let Some((offset, piece)) = self.pieces.last_mut() {
            piece.truncate((left - *offset) as usize);
        }
    }

    fn written(&self) -> u64 {
        self.pieces.last().map_or(0, |(offset, piece)| offset + piece.len() as u64)
    }

    /// Takes what a loss of power takes of a blob that is not complete; it is gone when no byte is left.
    fn tear(&mut self, loss: Loss, index: usize) {
        let left = loss.leaves(self.written() as usize, index) as u64;
        self.cut_off(left);
        self.state = match left {
            0 => BlobState::Missing,
            bytes => BlobState::Writing { bytes },
        };
    }

    fn piece_at(&self, offset: u64) -> Bytes {
        let after = self.pieces.partition_point(|(start, _)| *start <= offset);
        let Some((start, piece)) = after.checked_sub(1).map(|index| &self.pieces[index]) else { return Bytes::new() };
        let skip = usize::try_from(offset - start).unwrap_or(usize::MAX).min(piece.len());
        piece.slice(skip..)
    }
}

/// A node's blobs; clones are handles to the same ones.
#[derive(Clone)]
pub struct SimBlobs {
    world: Rc<World>,
    node: NodeIndex,
    blobs: Rc<RefCell<BTreeMap<BlobId, Blob>>>,
}

impl SimBlobs {
    /// No blobs yet.
    pub fn new(world: Rc<World>, node: NodeIndex) -> Self {
        Self { world, node, blobs: Rc::default() }
    }

    /// The state of every blob that is not missing, for the harness.
    pub fn states(&self) -> BTreeMap<BlobId, BlobState> {
        let blobs = self.blobs.borrow();
        let known = blobs.iter().filter(|(_, blob)| blob.state != BlobState::Missing);
        known.map(|(id, blob)| (*id, blob.state.clone())).collect()
    }

    /// Has the device damaged it since it was whole? For the harness.
    pub fn is_damaged(&self, id: BlobId) -> bool {
        self.blobs.borrow().get(&id).is_some_and(|blob| blob.damaged)
    }

    /// The power goes, and with it what `loss` says of the blobs that are not complete.
    pub fn lose_power(&self, loss: Loss) {
        let half: Vec<_> =
            self.states().into_iter().filter(|(_, state)| matches!(state, BlobState::Writing { .. })).collect();
        for (index, (id, _)) in half.into_iter().enumerate() {
            // Nothing stands in the way: the change cannot fail.
            let _ = self.change(id, |blob| {
                blob.tear(loss, index);
                Ok(())
            });
        }
    }

    /// May fail before anything is done.
    async fn may_fail(&self) -> Result<(), BlobError> {
        match self.world.fails(self.node, Kind::BlobFails).await {
            true => Err(BlobError::Device("no space left on device".to_owned())),
            false => Ok(()),
        }
    }

    fn draw_fate(&self) -> Option<(Damage, u32)> {
        let damage = match self.world.draw(Some(self.node), Kind::BlobDamaged, DAMAGE_BOUND) {
            0 => return None,
            1 => Damage::Gone,
            2 => Damage::Short,
            _ => Damage::Changed,
        };
        Some((damage, self.world.draw(Some(self.node), Kind::BlobDamagedAt, DAMAGED_AT_BOUND)))
    }

    /// What its device does to a whole blob comes to light when it is read.
    fn may_be_damaged(&self, id: BlobId) {
        if self.world.lives().healed() {
            return;
        }
        let damage = self.blobs.borrow_mut().get_mut(&id).filter(|blob| is_whole(blob)).and_then(Blob::comes_to_read);
        let Some(damage) = damage else { return };
        let fault = Fault::Failed { what: Kind::BlobDamaged.as_str().into() };
        self.world.record(Some(self.node), Event::Fault(fault));
        // Nothing stands in the way: the change cannot fail.
        let _ = self.change(id, |blob| {
            blob.damage(damage);
            Ok(())
        });
    }

    /// Changes a blob and tells those who watch it.
    fn change<T>(&self, id: BlobId, change: impl FnOnce(&mut Blob) -> Result<T, BlobError>) -> Result<T, BlobError> {
        let mut blobs = self.blobs.borrow_mut();
        let blob = blobs.entry(id).or_insert_with(Blob::missing);
        let changed = change(blob)?;
        self.world.record(Some(self.node), Event::Blob { id, state: blob.state.clone() });
        blob.changes.beat();
        Ok(changed)
    }
}

fn is_whole(blob: &Blob) -> bool {
    matches!(blob.state, BlobState::Complete { .. })
}

fn while_writing(id: BlobId, blob: &Blob) -> Result<(), BlobError> {
    let state = match blob.state {
        BlobState::Writing { .. } => return Ok(()),
        BlobState::Missing => "missing",
        BlobState::Complete { .. } => "complete",
        BlobState::Failed { .. } => "failed",
    };
    Err(BlobError::State { id, state })
}

impl Blobs for SimBlobs {
    type Watch = SimBlobWatch;

    async fn create(&self, id: BlobId) -> Result<(), BlobError> {
        self.may_fail().await?;
        self.change(id, |blob| {
            blob.pieces.clear();
            (blob.fate, blob.damaged) = (None, false);
            blob.state = BlobState::Writing { bytes: 0 };
            Ok(())
        })
    }

    async fn append(&self, id: BlobId, bytes: Bytes) -> Result<(), BlobError> {
        self.world.delay(self.node, Kind::BlobAppend).await;
        self.may_fail().await?;
        self.change(id, |blob| {
            while_writing(id, blob)?;
            blob.pieces.push((blob.written(), self.world.keep(bytes)));
            blob.state = BlobState::Writing { bytes: blob.written() };
            Ok(())
        })
    }

    async fn complete(&self, id: BlobId) -> Result<(), BlobError> {
        let fate = self.draw_fate();
        self.world.delay(self.node, Kind::BlobComplete).await;
        self.may_fail().await?;
        self.change(id, |blob| {
            while_writing(id, blob)?;
            blob.state = BlobState::Complete { bytes: blob.written() };
            blob.fate = fate;
            Ok(())
        })
    }

    async fn fail(&self, id: BlobId, cause: String) -> Result<(), BlobError> {
        self.may_fail().await?;
        self.change(id, |blob| {
            blob.pieces.clear();
            blob.state = BlobState::Failed { cause };
            Ok(())
        })
    }

    async fn delete(&self, id: BlobId) -> Result<(), BlobError> {
        self.may_fail().await?;
        self.change(id, |blob| {
            blob.pieces.clear();
            blob.state = BlobState::Missing;
            Ok(())
        })
    }

    async fn list(&self) -> Result<Vec<BlobId>, BlobError> {
        self.may_fail().await?;
        Ok(self.states().into_keys().collect())
    }

    async fn state(&self, id: BlobId) -> Result<BlobState, BlobError> {
        self.may_fail().await?;
        Ok(self.blobs.borrow().get(&id).map_or(BlobState::Missing, |blob| blob.state.clone()))
    }

    async fn read(&self, id: BlobId, offset: u64, bytes_max: usize) -> Result<Bytes, BlobError> {
        self.world.delay(self.node, Kind::BlobRead).await;
        self.may_fail().await?;
        self.may_be_damaged(id);
        let piece = self.blobs.borrow().get(&id).map_or_else(Bytes::new, |blob| blob.piece_at(offset));
        let piece = piece.slice(..piece.len().min(bytes_max));
        let part = piece.slice(..self.world.draw_cut(self.node, Kind::BlobCut, piece.len()));
        self.world.record(Some(self.node), Event::BlobRead { id, offset, bytes: part.len() as u64 });
        Ok(Bytes::copy_from_slice(&part))
    }

    fn watch(&self, id: BlobId) -> SimBlobWatch {
        let mut blobs = self.blobs.borrow_mut();
        SimBlobWatch(blobs.entry(id).or_insert_with(Blob::missing).changes.subscribe())
    }
}

/// Sees every change of a simulated blob.
pub struct SimBlobWatch(Beats);

impl BlobWatch for SimBlobWatch {
    async fn changed(&mut self) {
        self.0.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::sim::choice::{Calm, DecisionLog};

    #[test]
    fn what_is_read_is_its_readers_own_memory() {
        let world = World::new(1, DecisionLog::new(Box::new(Calm)), || Duration::ZERO);
        let (blobs, id) = (SimBlobs::new(world, NodeIndex(0)), BlobId(Uuid::nil()));
        let read = async {
            blobs.create(id).await?;
            blobs.append(id, Bytes::from_static(b"a piece")).await?;
            Ok::<_, BlobError>([blobs.read(id, 0, 7).await?, blobs.read(id, 0, 7).await?])
        };
        let [one, other] = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(read).unwrap();
        assert_eq!((&*one, &*other), (&b"a piece"[..], &b"a piece"[..]));
        assert_ne!(one.as_ptr(), other.as_ptr());
    }
}
