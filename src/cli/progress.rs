//! How far a long command is: a bar on a terminal, a few plain lines otherwise, always on standard error.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{count, error_line};

/// Plain lines, at most.
const LINES_MAX: u64 = 5;

/// Shows progress.
pub(super) enum Progress {
    Bar(ProgressBar),
    Lines { total: u64, told: u64 },
}

impl Progress {
    /// The progress of `total` runs.
    pub(super) fn of_runs(total: u64) -> Self {
        if !stderr().is_terminal() {
            return Self::Lines { total, told: 0 };
        }
        let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} runs, {per_sec}, {eta} left");
        Self::Bar(ProgressBar::new(total).with_style(style.expect("the template is well-formed")))
    }

    /// So many are done.
    pub(super) fn advance(&mut self, done: u64) {
        match self {
            Self::Bar(bar) => bar.set_position(done),
            Self::Lines { total, told } => {
                let step = done * LINES_MAX / *total;
                if step > *told {
                    *told = step;
                    error_line(&format!("{} of {} runs", count(done), count(*total)));
                }
            }
        }
    }

    /// No more is to come.
    pub(super) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Steps of which each is told when it is done; on a terminal a bar stands below what was told.
pub(super) struct Steps(Option<ProgressBar>);

impl Steps {
    /// So many builds, each of which is explored.
    pub(super) fn of_builds(total: u64) -> Self {
        if !stderr().is_terminal() {
            return Self(None);
        }
        // The first builds all that is depended on: it says nothing of how long the others take.
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len} built and explored in {elapsed}");
        let bar = ProgressBar::new(total).with_style(style.expect("the template is well-formed"));
        bar.enable_steady_tick(Duration::from_secs(1));
        Self(Some(bar))
    }

    /// One more is done: what there is to tell of it.
    pub(super) fn done(&self, told: &str) {
        match &self.0 {
            Some(bar) => {
                bar.suspend(|| error_line(told));
                bar.inc(1);
            }
            None => error_line(told),
        }
    }

    /// No more is to come.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
