//! The `drydock` command as its users meet it: exit codes, one line for each bad input, and no file touched by it.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

fn drydock(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_drydock")).args(args).current_dir(folder).output().unwrap()
}

/// A gzipped archive of one file under `name`.
fn archive(name: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(5);
    header.set_mode(0o644);
    header.set_cksum();
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    builder.append(&header, &b"hello"[..]).unwrap();
    builder.into_inner().unwrap().finish().unwrap()
}

/// A folder full of input that nobody can use.
fn bad_inputs() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let whole = archive("package/index.js");
    let files: [(&str, &[u8]); 6] = [
        ("empty.tgz", b""),
        ("no-archive.tgz", b"this is no archive"),
        ("cut.tgz", &whole[..whole.len() / 2]),
        ("outside.tgz", &archive("../outside.js")),
        ("cut.toml", b"format = 1\nscenario = \"cal"),
        ("version.toml", b"format = 99\n# end of capsule\n"),
    ];
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    fs::create_dir(folder.path().join("empty")).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn each_bad_input_gets_one_line_and_exit_code_2_and_touches_no_file() {
    let folder = bad_inputs();
    let before = names(folder.path());
    let lines: &[&[&str]] = &[
        &["--component", "missing.tgz"],
        &["--component", "empty"],
        &["--component", "empty.tgz"],
        &["--component", "no-archive.tgz"],
        &["--component", "cut.tgz"],
        &["--component", "outside.tgz"],
        &["--scenario", "no-such"],
        &["--nonsense"],
        &["nonsense"],
        &["replay", "missing.toml"],
        &["replay", "empty"],
        &["replay", "cut.tgz"],
        &["replay", "cut.toml"],
        &["replay", "version.toml"],
        &["museum", "missing"],
        &["museum", "empty"],
        &["museum", "--only", "no-such"],
        &["museum", "--sample", "0"],
        &["museum", "--sample-seed", "7"],
        &["museum", "--sample", "1", "--only", "R01"],
        &["museum", "--seeds", "0"],
        &["twice", "--scenario", "no-such"],
    ];
    for line in lines {
        let output = drydock(folder.path(), line);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line:?}: {said}");
        assert!(output.stdout.is_empty(), "{line:?}");
        assert!(said.starts_with("drydock: ") && said.trim_end().lines().count() == 1, "{line:?}: {said}");
        assert_eq!(names(folder.path()), before, "{line:?}");
    }
}

#[test]
fn help_and_lists_are_no_errors() {
    let folder = tempfile::tempdir().unwrap();
    for line in [&["--help"][..], &["--version"], &["scenarios"], &["invariants"], &["museum", "--help"]] {
        let output = drydock(folder.path(), line);
        assert_eq!(output.status.code(), Some(0), "{line:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{line:?}");
    }
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_drydock"))
        .arg("--help")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

/// A cluster of three takes in a payload far larger than what each of its parts may hold, and runs it: a part that keeps
/// all that it reads takes a GiB, since nothing that a simulated device or client hands out is shared memory. How long the
/// run takes is told as `seconds`; it decides nothing here.
#[test]
fn a_deploy_of_a_gib_is_simulated_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let options = "explore --payload-mib 1024 --scenario deploy --strategy calm --runs 1 --json";
    let explored = drydock(folder.path(), &options.split(' ').collect::<Vec<_>>());
    assert_eq!(explored.status.code(), Some(0), "{}", String::from_utf8_lossy(&explored.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&explored.stdout).unwrap();
    let is_bytes = |line: &&serde_json::Value| line["name"] == "BYTES";
    let bytes = summary["invariants"].as_array().unwrap().iter().find(is_bytes).unwrap();
    assert_eq!(bytes["checked"], 6, "on each of three nodes a whole blob, and a live build");
    let (memory, seconds) = (summary["memory_bytes_max"].as_u64(), summary["seconds"].as_f64());
    println!("{memory:?} bytes, {seconds:?} s");
    assert!(memory.is_some_and(|bytes| bytes < 300 << 20), "{memory:?} bytes");
    assert!(seconds.is_some(), "{summary}");
}
