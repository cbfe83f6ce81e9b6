//! Capsules: any text is a capsule that is read as it is written, or an error in one line.

use std::path::Path;

use drydock::search::capsule::Capsule;

pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let path = Path::new("it.toml");
    match Capsule::parse(&text, path) {
        Ok(capsule) => {
            let written = capsule.render();
            let read = Capsule::parse(&written, path).expect("a capsule was written");
            assert_eq!(read, capsule);
            assert_eq!(read.render(), written);
        }
        Err(error) => {
            let told = error.to_string();
            assert!(!told.contains('\n'), "one line: {told}");
        }
    }
}
