//! A payload's SHA-256 and length, taken as its bytes go by.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all text");
        text
    })
}

/// What has gone by so far.
#[derive(Clone, Default)]
pub struct Hashing {
    hash: Sha256,
    bytes: u64,
}

impl Hashing {
    /// Takes in the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.hash.update(piece);
        self.bytes += piece.len() as u64;
    }

    /// How many bytes have gone by.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Is it a payload of which a row says this?
    pub fn is(&self, hash: Option<&str>, bytes: Option<u64>) -> bool {
        bytes == Some(self.bytes) && hash == Some(&self.hash())
    }

    /// Lower-case hex SHA-256 of all that has gone by.
    pub fn hash(&self) -> String {
        hex(&self.hash.clone().finalize())
    }
}
