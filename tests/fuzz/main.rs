//! Fuzzing: what reads bytes of others is handed any bytes, and must keep its promises.
//!
//! Each target is a function over bytes, and a test. A plain `cargo test` replays the target's corpus in `fixtures/fuzz/`, then
//! damages it at random for a moment. `tests/fuzz/run` builds the same targets with libFuzzer, which is led by the code
//! that an input reaches; what it finds lands in the corpus, and so is replayed ever after.
//!
//! - `frames`: the channel between nodes, cut anywhere.
//! - `handshake`: strangers, recordings, and who changes what two nodes say.
//! - `multipart`: a request of the API, up to the end of its payload.
//! - `archive`: a component's payload, onto a disk in memory, compared with the reference reading.
//! - `capsule`: a run as a file.
//! - `lines`: an installer's output, compared with the reference splitting.

mod archive;
mod capsule;
mod damage;
mod frames;
mod handshake;
mod lines;
mod memory_disk;
mod multipart;
mod pieces;

use std::{
    env, fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// How long a plain `cargo test` looks beyond the corpus of a target; `BOLERO_RANDOM_TEST_TIME_MS` says otherwise.
const MOMENT: Duration = Duration::from_millis(400);

/// The targets: each a test of its name, over the corpus of its name.
macro_rules! targets {
    ($($name:ident: $check:path,)*) => {$(
        #[test]
        fn $name() {
            let corpus = corpus(stringify!($name));
            // libFuzzer reads the corpus itself, and makes its own inputs of it.
            let is_led = env::var_os("BOLERO_LIBFUZZER_ARGS").is_some();
            if !is_led {
                corpus.iter().for_each(|(path, bytes)| replay(path, bytes, $check));
            }
            bolero::check!().with_test_time(MOMENT).for_each(|bytes: &[u8]| match is_led {
                true => $check(bytes),
                false => $check(&damage::of(&corpus, bytes)),
            });
        }
    )*};
}

targets! {
    frames: frames::check,
    handshake: handshake::check,
    multipart: multipart::check,
    archive: archive::check,
    capsule: capsule::check,
    lines: lines::check,
}

/// The inputs that are kept of a target, by their files.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz").join(target);
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", directory.display());
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Names the input of the corpus that breaks a promise.
fn replay(path: &Path, bytes: &[u8], check: fn(&[u8])) {
    struct Named<'a>(&'a Path);
    impl Drop for Named<'_> {
        fn drop(&mut self) {
            if thread::panicking() {
                eprintln!("the input is {}", self.0.display());
            }
        }
    }
    let named = Named(path);
    check(bytes);
    drop(named);
}
