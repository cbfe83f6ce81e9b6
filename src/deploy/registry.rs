//! The recorders that are at work on a node: where its readers find the rows that are still in memory.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::{Rc, Weak},
};

use uuid::Uuid;

use super::recorder::{Recorder, WeakRecorder};
use crate::env::{Beats, Env, Pulse};

/// A node's live recorders, by deployment. Clones are handles to the same registry; it keeps no recorder alive.
pub struct Registry<E>(Rc<Listed<E>>);

struct Listed<E> {
    recorders: RefCell<BTreeMap<Uuid, WeakRecorder<E>>>,
    added: Pulse,
}

impl<E> Clone for Registry<E> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<E> Default for Registry<E> {
    fn default() -> Self {
        Self(Rc::new(Listed { recorders: RefCell::default(), added: Pulse::default() }))
    }
}

impl<E: Env> Registry<E> {
    /// Lists a recorder for as long as the listing is held: past its terminal put (spec 5).
    pub fn list(&self, id: Uuid, recorder: &Recorder<E>) -> Listing<E> {
        self.0.recorders.borrow_mut().insert(id, recorder.downgrade());
        self.0.added.beat();
        Listing { id, registry: Rc::downgrade(&self.0) }
    }

    /// The recorder of a deployment, if it is at work on this node.
    pub fn live(&self, id: Uuid) -> Option<Recorder<E>> {
        self.0.recorders.borrow().get(&id)?.upgrade()
    }

    /// Sees each recorder that is listed from now on.
    pub fn watch(&self) -> Beats {
        self.0.added.subscribe()
    }
}

/// A recorder's place in the registry; dropping it gives it up.
#[must_use = "dropping a listing ends it"]
pub struct Listing<E> {
    id: Uuid,
    registry: Weak<Listed<E>>,
}

impl<E> Drop for Listing<E> {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.recorders.borrow_mut().remove(&self.id);
        }
    }
}
