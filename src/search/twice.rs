//! Two runs that must be the same: where do they part?

use std::fmt;

use crate::check::{Entry, Trace};

/// A trace as lines, one for each entry: a hash of all that the entry holds, then the entry in words. Made to be compared
/// with the lines of another process.
pub fn lines(trace: &Trace) -> Vec<String> {
    trace.entries().iter().map(line).collect()
}

fn line(entry: &Entry) -> String {
    let mut alone = Trace::default();
    alone.push(entry.clone());
    format!("{:016x} {}", alone.hash128() as u64, entry.to_string().replace('\n', "\\n"))
}

/// The first event in which two runs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its place in the trace.
    pub index: usize,
    /// What happened in the one run; `None` if it had ended.
    pub one: Option<String>,
    /// What happened in the other.
    pub other: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |line: &Option<String>| line.clone().unwrap_or_else(|| "the run had ended".to_owned());
        writeln!(f, "event {} differs:", self.index)?;
        writeln!(f, "  once:  {}", told(&self.one))?;
        write!(f, "  again: {}", told(&self.other))
    }
}

/// The first line in which `one` and `other` differ.
pub fn first_difference(one: &[String], other: &[String]) -> Option<Difference> {
    let index = (0..one.len().max(other.len())).find(|&index| one.get(index) != other.get(index))?;
    Some(Difference { index, one: one.get(index).cloned(), other: other.get(index).cloned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Event;

    fn trace(paths: &[&str]) -> Vec<String> {
        let mut trace = Trace::default();
        for path in paths {
            trace.push(Entry { at_ms: 1, node: None, event: Event::Removed { path: (*path).to_owned() } });
        }
        lines(&trace)
    }

    #[test]
    fn equal_runs_do_not_differ() {
        assert_eq!(first_difference(&trace(&["a", "b"]), &trace(&["a", "b"])), None);
    }

    #[test]
    fn the_first_event_that_differs_is_named() {
        let difference = first_difference(&trace(&["a", "b", "c"]), &trace(&["a", "x", "y"])).unwrap();
        assert_eq!(difference.index, 1);
        assert!(difference.to_string().contains("removes b"), "{difference}");
    }

    #[test]
    fn a_run_that_ends_early_differs_at_its_end() {
        let difference = first_difference(&trace(&["a"]), &trace(&["a", "b"])).unwrap();
        assert_eq!((difference.index, difference.one), (1, None));
    }

    #[test]
    fn an_event_is_one_line() {
        assert!(!trace(&["a\nb"])[0].contains('\n'));
    }
}
