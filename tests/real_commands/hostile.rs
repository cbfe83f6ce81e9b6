//! Archives that would harm the node that unpacks them, and crowds at the doors that are for members: a running node says
//! what is wrong or nothing, serves on, and has nothing left on its disk.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use tar::{Builder, EntryType, Header};

use super::{
    nodes::{Nodes, archive},
    web,
};

const OBJECT: &str = "application/json";

/// An archive of one sound file, and of what `add` brings.
fn with(add: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    let text = b"module.exports = 1;\n";
    let mut header = header(EntryType::Regular, text.len() as u64);
    builder.append_data(&mut header, "package/index.js", &text[..]).unwrap();
    add(&mut builder);
    builder.into_inner().unwrap()
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header
}

/// An entry whose path is as it stands: the library would refuse to write most of these.
fn raw(builder: &mut Builder<Vec<u8>>, mut header: Header, path: &str, text: &[u8]) {
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    builder.append(&header, text).unwrap();
}

fn link(kind: EntryType, path: &str, target: &str) -> impl FnOnce(&mut Builder<Vec<u8>>) {
    move |builder| {
        let mut header = header(kind, 0);
        header.set_link_name_literal(target).unwrap();
        raw(builder, header, path, b"");
    }
}

fn file(path: &str) -> impl FnOnce(&mut Builder<Vec<u8>>) {
    move |builder| raw(builder, header(EntryType::Regular, 4), path, b"evil")
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut zipped = GzEncoder::new(Vec::new(), Compression::best());
    zipped.write_all(bytes).unwrap();
    zipped.finish().unwrap()
}

/// Everything below a directory.
fn all_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { [all_below(&path), vec![path]].concat() } else { vec![path] };
    entries.flat_map(below).collect()
}

#[test]
fn archives_that_would_harm_are_refused_by_name_and_leave_nothing() {
    let nodes = Nodes::start(1);
    let outside = nodes.folder.path().join("outside");
    let absolute = outside.to_str().unwrap();
    let through = |builder: &mut Builder<Vec<u8>>| {
        link(EntryType::Symlink, "package/lib", "..")(builder);
        file("package/lib/evil.js")(builder);
    };
    let many = with(|builder| {
        for number in 0..100_000 {
            raw(builder, header(EntryType::Regular, 0), &format!("package/{number}"), b"");
        }
    });
    // It announces 9 GiB of zeros, and is not waited for.
    let bomb = with(|builder| {
        let mut header = header(EntryType::Regular, 9 << 30);
        header.set_path("package/zeros").unwrap();
        header.set_cksum();
        builder.get_mut().extend_from_slice(header.as_bytes());
        builder.get_mut().extend(vec![0; 1 << 20]);
    });
    let archives: [(&str, Vec<u8>, &str); 13] = [
        ("a path upwards", with(file("package/../../../evil.js")), "evil.js"),
        ("a path upwards at once", with(file("../evil.js")), "evil.js"),
        ("a path from the root", with(file(absolute)), "outside"),
        ("a link upwards", with(link(EntryType::Symlink, "package/out", "../../../..")), "leaves the component"),
        ("a link to the root", with(link(EntryType::Symlink, "package/out", "/etc")), "leaves the component"),
        ("a hard link out", with(link(EntryType::Link, "package/out", "/etc/passwd")), "package/out"),
        ("a file through a link", with(through), "package/lib"),
        ("a device", with(link(EntryType::Char, "package/tty", "")), "package/tty"),
        ("a block device", with(link(EntryType::Block, "package/disk", "")), "package/disk"),
        ("a pipe", with(link(EntryType::Fifo, "package/pipe", "")), "package/pipe"),
        ("100,000 entries", zipped(&many), "65536"),
        ("a bomb", zipped(&bomb), "package/zeros"),
        ("no archive", vec![0x5a; 10_000], "cannot unpack"),
    ];
    let before = all_below(nodes.folder.path());
    for (name, payload, says) in archives {
        let answer = web::deploy(nodes.api(1), "plain", &payload, OBJECT);
        let (status, message) = answer.refusal();
        assert!(status == 500 && message.contains(says), "{name}: {status} {message}");
        let id = answer.json()["deployment_id"].as_str().unwrap().to_owned();
        assert_eq!(nodes.row(1, &id)["status"], "failed", "{name}");
        // What was sent is kept for who looks into it, until it is deleted.
        let deleted = nodes.ask(1, &json!({ "operation": "delete_deployment_payload", "deployment_id": id }));
        assert_eq!(deleted.status, 200, "{name}: {deleted:?}");
        assert_eq!(nodes.remains(1), [""; 0].map(PathBuf::from), "{name}");
        assert!(!outside.exists(), "{name}");
    }
    // Nor does anything lie anywhere else: what is new are directories, and nothing is in them.
    let left = all_below(nodes.folder.path());
    let new: Vec<_> = left.iter().filter(|path| !path.is_dir() && !before.contains(path)).collect();
    assert!(new.is_empty(), "{new:?}");
    let answer = web::deploy(nodes.api(1), "plain", &archive(&[("index.js", "1;\n")]), OBJECT);
    assert_eq!(answer.status, 200, "it serves on: {answer:?}");
}

#[test]
fn crowds_and_nonsense_at_the_doors_of_members_keep_no_member_out() {
    let nodes = Nodes::start(2);
    let mut crowd = Vec::new();
    for door in nodes.doors(2) {
        // Three times as many as may stand there at once.
        for number in 0..200 {
            let mut stream = TcpStream::connect(door).unwrap();
            let said: &[u8] = match number % 4 {
                0 => b"",
                1 => b"drydock1",
                // The head of the largest frame that 4 bytes can announce.
                2 => &[0xff; 4],
                _ => &[0x5a; 4096],
            };
            let _ = stream.write_all(said);
            crowd.push(stream);
        }
    }
    let answer = web::deploy(nodes.api(1), "plain", &archive(&[("index.js", "1;\n")]), OBJECT);
    assert_eq!(answer.status, 200, "members are served beside the crowd: {answer:?}");
    assert_eq!(answer.json()["succeeded"], 1, "{answer:?}");
    for mut stream in crowd {
        let _ = stream.shutdown(Shutdown::Write);
        stream.set_read_timeout(Some(super::nodes::PATIENCE)).unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        assert!(heard.len() <= 64, "a stranger is told nothing but a challenge: {} bytes", heard.len());
    }
}
