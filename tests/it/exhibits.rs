//! The museum's exhibits are edits of the sound code: they must keep up with it. (Whether each is caught is the museum's
//! own command to show: that takes a build for each.)

use std::{fs, path::Path};

use drydock::{
    check::invariants,
    museum::exhibit::{self, Exhibit},
};

fn exhibits() -> Vec<Exhibit> {
    let names: Vec<&str> = invariants::ALL.iter().map(|invariant| invariant.name).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/museum");
    exhibit::load(&folder, None, &names).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_exhibit_applies_to_the_code_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for exhibit in exhibits() {
        let changes = exhibit.apply(|file| fs::read_to_string(root.join(file)));
        let changes = changes.unwrap_or_else(|error| panic!("{error}"));
        assert!(!changes.is_empty(), "{} changes nothing", exhibit.name);
    }
}
