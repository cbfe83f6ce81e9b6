//! Leads through the museum: the sound code and every exhibit, on several workshops at once.

use std::{
    collections::VecDeque,
    fs, io, iter,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
};

use super::{
    exhibit::{Changes, Exhibit, ExhibitError},
    verdict::{Line, Outcome, Subject},
    workshop::{Budget, Workshop},
};
use crate::search::seed::Seed;

/// A tour.
pub struct Tour {
    /// The crate whose sound code is edited.
    pub root: PathBuf,
    /// Where copies and builds are kept.
    pub base: PathBuf,
    /// How much each exhibit is explored.
    pub budget: Budget,
    /// How much the sound code is explored.
    pub sound_budget: Budget,
    /// Workshops at once.
    pub jobs: NonZeroUsize,
}

/// Why a tour cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TourError {
    /// An exhibit cannot be shown.
    #[error(transparent)]
    Exhibit(#[from] ExhibitError),
    /// Copies cannot be made, or processes not be started.
    #[error("cannot work in `{}`: {cause}", base.display())]
    Workshop {
        /// Where copies and builds are kept.
        base: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// Something to show, and its place in the tour: the sound code, or an exhibit.
struct Stop<'a> {
    place: usize,
    exhibit: Option<&'a Exhibit>,
    changes: Changes,
    budget: Budget,
}

impl Stop<'_> {
    fn line(&self, outcomes: &[(Seed, Outcome)]) -> Line {
        match self.exhibit {
            None => Line::new("sound code", Subject::Sound, outcomes),
            Some(exhibit) => Line::new(&exhibit.name, Subject::Bug(&exhibit.invariant), outcomes),
        }
    }
}

impl Tour {
    /// Shows the sound code and `exhibits`; `tell` hears each line as it becomes known, the answer has the sound code first.
    ///
    /// # Errors
    /// When an edit no longer applies, before anything is built; and when copies cannot be made.
    pub fn lead(&self, exhibits: &[Exhibit], tell: impl Fn(&Line) + Sync) -> Result<Vec<Line>, TourError> {
        let stops = self.plan(exhibits)?;
        let failed = |cause| TourError::Workshop { base: self.base.clone(), cause };
        let workshops = self.open_workshops(stops.len()).map_err(failed)?;
        // Dependencies are compiled once; what the sound code does is then seen beside the first exhibits.
        if let Err(cause) = workshops[0].build().map_err(failed)? {
            let sound = stops[0].line(&[(self.budget.seed, Outcome::DoesNotBuild(cause))]);
            tell(&sound);
            return Ok(vec![sound]);
        }
        for workshop in &workshops[1..] {
            workshop.learn_from(&workshops[0]).map_err(failed)?;
        }
        self.show_all(&workshops, stops, &tell).map_err(failed)
    }

    /// Works all edits out, so that a stale one is known at once.
    fn plan<'a>(&self, exhibits: &'a [Exhibit]) -> Result<VecDeque<Stop<'a>>, ExhibitError> {
        let read = |file: &str| fs::read_to_string(self.root.join(file));
        let sound = Stop { place: 0, exhibit: None, changes: Changes::new(), budget: self.sound_budget };
        let stop = |(before, exhibit): (usize, &'a Exhibit)| {
            let changes = exhibit.apply(read)?;
            Ok(Stop { place: before + 1, exhibit: Some(exhibit), changes, budget: self.budget })
        };
        iter::once(Ok(sound)).chain(exhibits.iter().enumerate().map(stop)).collect()
    }

    fn open_workshops(&self, stops: usize) -> io::Result<Vec<Workshop>> {
        let count = self.jobs.get().min(stops);
        let workshops: Vec<_> = (1..=count).map(|number| Workshop::new(&self.root, &self.base, number)).collect();
        workshops.iter().try_for_each(Workshop::open)?;
        Ok(workshops)
    }

    fn show_all(
        &self,
        workshops: &[Workshop],
        stops: VecDeque<Stop<'_>>,
        tell: &(impl Fn(&Line) + Sync),
    ) -> io::Result<Vec<Line>> {
        let stops = Mutex::new(stops);
        let shown = Mutex::new(Vec::new());
        let work = |workshop: &Workshop| -> io::Result<()> {
            let next = || stops.lock().expect("no workshop panics while it takes a stop").pop_front();
            while let Some(stop) = next() {
                let outcomes = workshop.show(&stop.changes, stop.budget)?;
                let line = stop.line(&outcomes);
                tell(&line);
                shown.lock().expect("see above").push((stop.place, line));
            }
            Ok(())
        };
        thread::scope(|scope| {
            let hands: Vec<_> = workshops.iter().map(|workshop| scope.spawn(|| work(workshop))).collect();
            hands.into_iter().try_for_each(|hand| hand.join().expect("a workshop does not panic"))
        })?;
        let mut shown = shown.into_inner().expect("see above");
        shown.sort_by_key(|(place, _)| *place);
        Ok(shown.into_iter().map(|(_, line)| line).collect())
    }
}

/// The crate whose sources are edited: where this program was built from, or the current folder.
pub fn find_root(built_from: &Path, current: &Path) -> Option<PathBuf> {
    let has_sources = |folder: &&Path| folder.join("src/deploy").is_dir() && folder.join("Cargo.lock").is_file();
    [built_from, current].into_iter().find(has_sources).map(Path::to_owned)
}
