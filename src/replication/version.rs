//! Which of two versions of a row stands: pure. Versions decide, never the order of arrival.

use crate::env::Record;

/// Does `incoming` take the place of what stands there? Newer wins, equal timestamps go to the greater node name, an
/// identical version is a duplicate; an older full put is skipped (museum R03).
pub fn supersedes(current: Option<&Record>, incoming: &Record) -> bool {
    current.is_none_or(|current| incoming.version > current.version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Version;

    fn version(stamp: u64, node: &str) -> Record {
        Record { key: "k".into(), version: Version { stamp, node: node.into() }, value: Default::default(), blob: None }
    }

    #[test]
    fn the_newer_version_stands_whichever_came_first() {
        assert!(supersedes(None, &version(1, "n1")));
        assert!(supersedes(Some(&version(1, "n1")), &version(2, "n1")));
        assert!(!supersedes(Some(&version(2, "n1")), &version(1, "n3")));
    }

    #[test]
    fn equal_timestamps_go_to_the_greater_name_and_an_identical_version_is_a_duplicate() {
        assert!(supersedes(Some(&version(1, "n1")), &version(1, "n2")));
        assert!(!supersedes(Some(&version(1, "n2")), &version(1, "n1")));
        assert!(!supersedes(Some(&version(1, "n1")), &version(1, "n1")));
    }
}
