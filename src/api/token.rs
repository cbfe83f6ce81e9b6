//! The token that an operator shows.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The fewest bytes of a token: it can be tried as often as a stranger likes.
const BYTES_MIN: usize = 16;

/// The token that an operator shows, by its hash.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// A token that could be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token must have at least {BYTES_MIN} bytes: make one with `openssl rand -hex 32`")]
pub struct WeakToken;

impl Token {
    /// Takes a token.
    ///
    /// # Errors
    /// When it is so short that it could be guessed.
    pub fn new(token: &str) -> Result<Self, WeakToken> {
        if token.len() < BYTES_MIN { Err(WeakToken) } else { Ok(Self(hash(token.as_bytes()))) }
    }

    /// Is this the token? Takes the same time whatever the answer.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        self.0.ct_eq(&hash(shown)).into()
    }
}

fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_passes() {
        let token = Token::new("a token of sixteen bytes or more").unwrap();
        assert!(token.is(b"a token of sixteen bytes or more"));
        for other in ["", "a token of sixteen bytes or mor", "a token of sixteen bytes or more ", "x"] {
            assert!(!token.is(other.as_bytes()));
        }
        assert!(Token::new("short").is_err());
    }
}
