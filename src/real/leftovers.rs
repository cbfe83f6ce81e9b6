//! Processes that a life of this node left behind when it was killed.
//!
//! An installer leads a group of its own, and outlives a node that is killed: it would write on into the staging directory
//! that the next life has cleared. So each process of a node carries the node's directory in its environment, and so do those
//! that it starts; the next life ends whoever still carries it, before anything else. What has changed its environment is not
//! found, nor is anything on a system without `/proc`.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// The variable that names the node's directory.
pub(super) const MARK: &str = "DRYDOCK_NODE_DIRECTORY";

/// How long what was killed may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Ends every process of an earlier life of the node in `root`. Its lock must be held.
///
/// # Errors
/// When one of them does not end.
#[expect(clippy::disallowed_methods, reason = "nothing of the node runs yet that this could hold up")]
pub(super) fn end(root: &Path) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        let left = of(root);
        let Some(one) = left.first() else { return Ok(()) };
        for process in &left {
            // It may have ended by itself; who must not end it is told below.
            let _ = kill_process(*process, Signal::KILL);
        }
        if begun.elapsed() > GONE_WITHIN {
            let process = one.as_raw_pid();
            let why = format!("process {process} of an earlier life of this node does not end: end it by hand");
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// The processes that carry this mark, this one left out.
fn of(root: &Path) -> Vec<Pid> {
    let mark = [MARK.as_bytes(), b"=", root.as_os_str().as_bytes()].concat();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let carries = |process: &Pid| {
        // What has ended meanwhile, or is somebody else's, cannot be read.
        let environment = fs::read(format!("/proc/{}/environ", process.as_raw_pid())).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark)
    };
    let processes = processes.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let marked = processes.filter(|process| process.as_raw_pid().unsigned_abs() != std::process::id()).filter(carries);
    marked.collect()
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Command};

    use super::*;

    #[test]
    fn what_a_node_left_behind_ends_and_nobody_else() {
        let (mine, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // One that starts another, and both hold out against what can be held out against.
        let script = "trap '' TERM INT HUP; sleep 600 & wait";
        let start = |root: &Path| Command::new("sh").args(["-c", script]).env(MARK, root).spawn().unwrap();
        let mut left = [start(mine.path()), start(mine.path())];
        let mut stranger = start(other.path());
        while of(mine.path()).len() < 4 {
            thread::yield_now();
        }
        end(mine.path()).unwrap();
        assert_eq!(of(mine.path()).len(), 0);
        let signals = left.each_mut().map(|child| child.wait().unwrap().signal());
        assert_eq!(signals, [Some(9), Some(9)]);
        assert!(stranger.try_wait().unwrap().is_none(), "it is another node's");
        end(other.path()).unwrap();
        stranger.wait().unwrap();
    }
}
