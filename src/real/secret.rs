//! The secret that the members of a cluster share.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The fewest bytes of a secret: who records a handshake must not be able to guess it.
const BYTES_MIN: usize = 32;

/// Bytes of a proof.
pub(super) const PROOF_BYTES: usize = 32;

/// The secret that the members of a cluster share. It is never sent, and never printed.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// A secret that could be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret must have at least {BYTES_MIN} bytes: make one with `openssl rand -hex 32`")]
pub struct WeakSecret;

impl Secret {
    /// Takes a secret.
    ///
    /// # Errors
    /// When it is so short that it could be guessed.
    pub fn new(secret: impl Into<Vec<u8>>) -> Result<Self, WeakSecret> {
        let secret = secret.into();
        if secret.len() < BYTES_MIN { Err(WeakSecret) } else { Ok(Self(secret)) }
    }

    /// What only who knows the secret can say of `statement`.
    pub(super) fn prove(&self, statement: &[u8]) -> [u8; PROOF_BYTES] {
        self.mac(statement).finalize().into_bytes().into()
    }

    /// Is `proof` what [`Secret::prove`] says? Takes the same time whatever the answer.
    pub(super) fn is_proof(&self, statement: &[u8], proof: &[u8]) -> bool {
        self.mac(statement).verify_slice(proof).is_ok()
    }

    fn mac(&self, statement: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(statement);
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
