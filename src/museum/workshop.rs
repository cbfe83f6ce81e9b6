//! Where exhibits are made: copies of the sources, each with a target folder of its own.
//!
//! A workshop keeps its folders from visit to visit, and writes only files that differ, so that a build compiles what an
//! edit touches and nothing else.

use std::{
    env, fs,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

use walkdir::WalkDir;

use super::{exhibit::Changes, verdict::Outcome};
use crate::search::seed::Seed;

/// What a build needs of the crate.
const SOURCES: [&str; 9] =
    ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", ".cargo", "benches", "fixtures", "sims", "src", "tests"];

/// A run takes a few milliseconds. An exploration that takes longer than so much for each of its runs, and some more, has hung.
const RUN_MAX: Duration = Duration::from_millis(60);
const START_MAX: Duration = Duration::from_secs(300);

/// How long an exploration may take.
fn exploration_max(runs: u64) -> Duration {
    START_MAX.saturating_add(RUN_MAX.saturating_mul(u32::try_from(runs).unwrap_or(u32::MAX)))
}

/// Seconds for shrinking: the museum tells a story in one line only.
const SHRINK_SECONDS: &str = "2";

/// How much an exhibit is explored.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Runs, at most.
    pub runs: u64,
    /// The seed of the first exploration; the next one's is one more.
    pub seed: Seed,
    /// Explorations, each with a seed of its own: a bug that one of them misses is caught by luck.
    pub seeds: u32,
}

/// A copy of the sources, and what is built from it.
#[derive(Clone, Debug)]
pub struct Workshop {
    root: PathBuf,
    base: PathBuf,
    number: usize,
}

impl Workshop {
    /// The `number`-th workshop for the crate at `root`, below the folder `base`.
    pub fn new(root: &Path, base: &Path, number: usize) -> Self {
        Self { root: root.to_owned(), base: base.to_owned(), number }
    }

    fn work(&self) -> PathBuf {
        self.base.join(format!("work-{}", self.number))
    }

    fn target(&self) -> PathBuf {
        self.base.join(format!("target-{}", self.number))
    }

    /// Makes the copy equal to the sources.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn open(&self) -> io::Result<()> {
        for source in SOURCES {
            mirror(&self.root.join(source), &self.work().join(source))?;
        }
        Ok(())
    }

    /// Takes over what `other` has built, if this one has built nothing, so that dependencies are compiled once.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub fn learn_from(&self, other: &Self) -> io::Result<()> {
        if self.target().exists() {
            return Ok(());
        }
        copy_with_times(&other.target(), &self.target())
    }

    /// Builds the code with `changes` and explores it, an outcome a seed, or one if there is nothing to explore; the copy is sound again afterwards.
    ///
    /// # Errors
    /// When the copy cannot be changed, or no process can be started.
    pub fn show(&self, changes: &Changes, budget: Budget) -> io::Result<Vec<(Seed, Outcome)>> {
        for (file, text) in changes {
            fs::write(self.work().join(file), text)?;
        }
        let built = self.build();
        for file in changes.keys() {
            fs::copy(self.root.join(file), self.work().join(file))?;
        }
        match built? {
            Ok(()) => {
                let seeds = (0..budget.seeds).map(|nth| Seed(budget.seed.0.wrapping_add(u64::from(nth))));
                seeds.map(|seed| Ok((seed, self.explore(budget.runs, seed)?))).collect()
            }
            Err(cause) => Ok(vec![(budget.seed, Outcome::DoesNotBuild(cause))]),
        }
    }

    /// Builds the copy as it is; the inner error is what the compiler says.
    ///
    /// # Errors
    /// When no process can be started.
    pub fn build(&self) -> io::Result<Result<(), String>> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--locked", "--profile", "museum", "--bin", "drydock"]);
        // Exhibits live in the simulated world: no other is compiled anew for each.
        cargo.args(["--no-default-features", "--features", "sim"]);
        cargo.args(["--message-format", "short", "--target-dir"]).arg(self.target());
        let output = cargo.current_dir(self.work()).env_remove("CARGO_TARGET_DIR").output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        Ok(if output.status.success() { Ok(()) } else { Err(first_error(&said)) })
    }

    fn explore(&self, runs: u64, seed: Seed) -> io::Result<Outcome> {
        let log = self.base.join(format!("log-{}.txt", self.number));
        let mut drydock = Command::new(self.target().join("museum").join("drydock"));
        drydock.args(["explore", "--json", "--jobs", "1", "--shrink-seconds", SHRINK_SECONDS]);
        drydock.args(["--runs", &runs.to_string(), "--seed", &seed.to_string()]);
        drydock.arg("--capsules").arg(self.base.join("capsules"));
        let child = drydock.stdout(Stdio::piped()).stderr(File::create(&log)?).spawn()?;
        Ok(match output_within(child, exploration_max(runs))? {
            None => Outcome::Hung,
            Some(said) => match serde_json::from_slice(&said) {
                Ok(summary) => Outcome::Explored(Box::new(summary)),
                Err(_) => Outcome::Failed(first_error(&fs::read_to_string(&log)?)),
            },
        })
    }
}

/// What a child writes until it ends; `None` if it was killed because that took too long.
fn output_within(mut child: Child, limit: Duration) -> io::Result<Option<Vec<u8>>> {
    let mut stdout = child.stdout.take().expect("the child was started with a pipe");
    let (tx, rx) = channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut said = Vec::new();
            // Nobody waits any more when the child was killed.
            let _ = tx.send(stdout.read_to_end(&mut said).map(|_| said));
        });
        let said = rx.recv_timeout(limit);
        if said.is_err() {
            child.kill()?;
        }
        child.wait()?;
        said.ok().transpose()
    })
}

/// The line of a program's messages that tells most.
fn first_error(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling = lines().find(|line| line.contains("error"));
    telling.or_else(|| lines().next_back()).unwrap_or("it said nothing").to_owned()
}

/// Makes `to` equal to `from`, a file or a folder that may be missing. Files that are equal keep their times.
fn mirror(from: &Path, to: &Path) -> io::Result<()> {
    for entry in WalkDir::new(to).contents_first(true) {
        let Ok(entry) = entry else { break };
        let origin = origin_of(entry.path(), to, from);
        match entry.file_type().is_dir() {
            true if !origin.is_dir() => fs::remove_dir(entry.path())?,
            false if !origin.is_file() => fs::remove_file(entry.path())?,
            _ => {}
        }
    }
    if !from.exists() {
        return Ok(());
    }
    for entry in WalkDir::new(from) {
        let entry = entry?;
        let copy = origin_of(entry.path(), from, to);
        if entry.file_type().is_dir() {
            fs::create_dir_all(copy)?;
        } else {
            copy_if_different(entry.path(), &copy)?;
        }
    }
    Ok(())
}

/// The path that stands to `to` as `path` stands to `from`.
fn origin_of(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(rest) if !rest.as_os_str().is_empty() => to.join(rest),
        _ => to.to_owned(),
    }
}

fn copy_if_different(from: &Path, to: &Path) -> io::Result<()> {
    if fs::read(to).ok().is_some_and(|old| fs::read(from).is_ok_and(|new| new == old)) {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(from, to).map(drop)
}

/// Copies a target folder. Times are kept, since cargo tells by them what is fresh.
fn copy_with_times(from: &Path, to: &Path) -> io::Result<()> {
    for entry in WalkDir::new(from) {
        let entry = entry?;
        let copy = origin_of(entry.path(), from, to);
        if entry.file_type().is_dir() {
            fs::create_dir_all(copy)?;
        } else {
            fs::copy(entry.path(), &copy)?;
            File::options().append(true).open(&copy)?.set_modified(entry.metadata()?.modified()?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let walk = WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
        walk.filter(|entry| entry.file_type().is_file())
            .map(|entry| entry.path().strip_prefix(folder).unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn a_copy_is_made_equal_and_equal_files_are_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("a")).unwrap();
        fs::create_dir_all(to.join("gone")).unwrap();
        for (file, text) in
            [("from/a/b.rs", "new"), ("from/same.rs", "same"), ("to/gone/x.rs", "x"), ("to/same.rs", "same")]
        {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let before = fs::metadata(to.join("same.rs")).unwrap().modified().unwrap();
        mirror(&from, &to).unwrap();
        assert_eq!(names(&to), ["a/b.rs", "same.rs"]);
        assert!(!to.join("gone").exists());
        assert_eq!(fs::metadata(to.join("same.rs")).unwrap().modified().unwrap(), before);
    }

    #[test]
    fn a_single_file_is_mirrored_and_a_missing_one_vanishes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("Cargo.toml"), folder.path().join("work/Cargo.toml"));
        fs::write(&from, "x").unwrap();
        mirror(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "x");
        fs::remove_file(&from).unwrap();
        mirror(&from, &to).unwrap();
        assert!(!to.exists());
    }

    #[test]
    fn a_child_that_hangs_is_killed() {
        let child = |seconds: &str| Command::new("sleep").arg(seconds).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(output_within(child("60"), Duration::from_millis(50)).unwrap(), None);
        assert_eq!(output_within(child("0"), Duration::from_secs(60)).unwrap(), Some(Vec::new()));
    }

    #[test]
    fn the_first_error_is_what_is_told() {
        assert_eq!(
            first_error("warning: x\nsrc/a.rs:1:2: error[E0425]: no `y`\nerror: gave up"),
            "src/a.rs:1:2: error[E0425]: no `y`"
        );
        assert_eq!(first_error("all\nis lost\n"), "is lost");
        assert_eq!(first_error(""), "it said nothing");
    }
}
