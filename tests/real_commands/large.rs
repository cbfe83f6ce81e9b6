//! A payload that no node could hold in memory.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::nodes::Nodes;

const PAYLOAD_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// What a node may hold in memory at its worst moment; a few times what it holds when it idles.
const NODE_KIB_MAX: u64 = 100 * 1024;

/// Bytes that no compression makes shorter.
struct Noise(u64);

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for bytes in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.copy_from_slice(&self.0.to_le_bytes()[..bytes.len()]);
        }
        Ok(buffer.len())
    }
}

fn hash(path: &Path) -> Vec<u8> {
    let (mut file, mut hasher) = (File::open(path).unwrap(), Sha256::new());
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return hasher.finalize().to_vec(),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// The most memory that a process has held.
fn peak_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[test]
#[ignore = "it takes minutes, and 14 GiB of the disk"]
fn a_payload_of_2_gib_is_deployed_by_nodes_that_hold_a_small_part_of_it() {
    let mut nodes = Nodes::start(3);
    let archive = nodes.folder.path().join("large.tar");
    let mut builder = tar::Builder::new(File::create(&archive).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(PAYLOAD_BYTES);
    builder.append_data(&mut header, "package/noise", Noise(0x2545_f491_4f6c_dd1d).take(PAYLOAD_BYTES)).unwrap();
    builder.finish().unwrap();

    let deploy = ["deploy", "--project", "large", "large.tar", "--deployment-timeout", "30m"];
    let deployed = nodes.drydock(1, &deploy);
    let told = String::from_utf8([deployed.stdout, deployed.stderr].concat()).unwrap();
    assert_eq!(deployed.status.code(), Some(0), "{told}");

    let peaks = [1, 2, 3].map(|number| peak_kib(nodes.child(number).id()));
    println!("most memory of each node: {peaks:?} KiB");
    assert!(peaks.iter().all(|&peak| peak < NODE_KIB_MAX), "{peaks:?}");
    let hashes = [1, 2, 3].map(|number| hash(&nodes.directory(number).join("components/large/noise")));
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}
