//! How many of something there may be at a time.

use std::rc::Rc;

/// Room for so many.
pub(super) struct Share {
    taken: Rc<()>,
    places_max: usize,
}

/// A place in a share, until it is dropped.
pub(super) struct Place {
    _taken: Rc<()>,
}

impl Share {
    pub(super) fn of(places_max: usize) -> Self {
        Self { taken: Rc::new(()), places_max }
    }

    /// A place, if one is free.
    pub(super) fn take(&self) -> Option<Place> {
        let free = Rc::strong_count(&self.taken) <= self.places_max;
        free.then(|| Place { _taken: Rc::clone(&self.taken) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_place_takes_none_and_one_that_is_left_is_free() {
        let share = Share::of(2);
        let (first, _second) = (share.take().unwrap(), share.take().unwrap());
        assert!(share.take().is_none() && share.take().is_none());
        drop(first);
        assert!(share.take().is_some());
    }
}
