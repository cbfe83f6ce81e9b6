//! Runs that once broke a promise, kept under `fixtures/capsules`: none may break one again.

use std::{fs, path::PathBuf};

use drydock::search::capsule::Capsule;

fn capsules() -> Vec<PathBuf> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/capsules");
    let files = fs::read_dir(directory).expect("the folder of capsules is there");
    let mut files: Vec<_> = files.map(|file| file.expect("a folder can be read to its end").path()).collect();
    files.sort();
    files
}

#[test]
fn what_broke_once_does_not_break_again() {
    let capsules = capsules();
    assert!(!capsules.is_empty(), "there is no capsule to replay");
    for path in capsules {
        let capsule = Capsule::load(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let setup = capsule.setup(None, None).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let report = setup.replay(0, &capsule.choices);
        let broken = report.violation().map(ToString::to_string);
        assert_eq!(broken, None, "to see it: drydock replay {} --trace", path.display());
    }
}
