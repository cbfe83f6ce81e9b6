//! How two nodes prove to each other who they are, before any frame is read.
//!
//! The caller says its name, the port and a nonce; the callee answers with a nonce and its proof; the caller answers with
//! its own. A proof is an HMAC-SHA256, under the cluster's secret, over the side, the port, both names and both nonces: it
//! holds for this connection only, and for no other role. All messages have a fixed size, so a stranger makes a node hold
//! no more than that. The secret itself is never sent.
//!
//! What comes after the handshake is neither encrypted nor signed; see ARCHITECTURE.md for what that leaves open.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::secret::{PROOF_BYTES, Secret};
use crate::env::{NodeName, Port};

/// How long a handshake may take.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// The most bytes of a name.
pub const NAME_BYTES_MAX: usize = 64;

const NONCE_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"drydock1";
const HELLO_BYTES: usize = MAGIC.len() + 2 + NAME_BYTES_MAX + NONCE_BYTES;

type Nonce = [u8; NONCE_BYTES];

/// Who speaks: a proof of one side is none of the other.
#[derive(Clone, Copy)]
enum Side {
    Caller = 1,
    Callee = 2,
}

/// What both sides prove that they agree on.
struct Statement<'a> {
    port: Port,
    caller: &'a NodeName,
    callee: &'a NodeName,
    nonces: [Nonce; 2],
}

impl Statement<'_> {
    fn of(&self, side: Side) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &[side as u8, port_number(self.port)]].concat();
        for name in [self.caller, self.callee] {
            bytes.push(name.as_str().len() as u8);
            bytes.extend_from_slice(name.as_str().as_bytes());
        }
        bytes.extend(self.nonces.as_flattened());
        bytes
    }
}

fn port_number(port: Port) -> u8 {
    match port {
        Port::Rows => 1,
        Port::Operations => 2,
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned())
}

fn nonce() -> io::Result<Nonce> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    Ok(nonce)
}

/// The caller's first words.
fn hello(port: Port, caller: &NodeName, nonce: &Nonce) -> io::Result<[u8; HELLO_BYTES]> {
    let name = caller.as_str().as_bytes();
    if name.len() > NAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{caller} is longer than a name may be")));
    }
    let mut hello = [0; HELLO_BYTES];
    hello[..8].copy_from_slice(MAGIC);
    hello[8] = port_number(port);
    hello[9] = name.len() as u8;
    hello[10..10 + name.len()].copy_from_slice(name);
    hello[HELLO_BYTES - NONCE_BYTES..].copy_from_slice(nonce);
    Ok(hello)
}

/// Reads a caller's first words, if they are meant for `port`.
fn parse_hello(hello: &[u8; HELLO_BYTES], port: Port) -> io::Result<(NodeName, Nonce)> {
    let length = usize::from(hello[9]);
    if hello[..8] != MAGIC[..] || hello[8] != port_number(port) || length > NAME_BYTES_MAX {
        return Err(refused("these are no words of a node"));
    }
    let name = std::str::from_utf8(&hello[10..10 + length]).map_err(|_| refused("this is no name"))?;
    let nonce = hello[HELLO_BYTES - NONCE_BYTES..].try_into().expect("a nonce is what is left");
    Ok((name.into(), nonce))
}

/// The calling side: proves to be `caller`, and makes sure that it speaks to `callee`.
///
/// # Errors
/// When it does not, or takes longer than [`HANDSHAKE_MAX`].
pub async fn call<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    secret: &Secret,
    port: Port,
    caller: &NodeName,
    callee: &NodeName,
) -> io::Result<()> {
    let shake = async {
        let mine = nonce()?;
        stream.write_all(&hello(port, caller, &mine)?).await?;
        let (mut theirs, mut proof) = ([0; NONCE_BYTES], [0; PROOF_BYTES]);
        stream.read_exact(&mut theirs).await?;
        stream.read_exact(&mut proof).await?;
        let statement = Statement { port, caller, callee, nonces: [mine, theirs] };
        if !secret.is_proof(&statement.of(Side::Callee), &proof) {
            return Err(refused(
                "who answers cannot prove to be the node that was called: do both have the same secret?",
            ));
        }
        stream.write_all(&secret.prove(&statement.of(Side::Caller))).await
    };
    timeout(HANDSHAKE_MAX, shake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The side that was called: proves to be `callee`, and returns who calls.
///
/// # Errors
/// When the caller proves nothing, or takes longer than [`HANDSHAKE_MAX`].
pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    secret: &Secret,
    port: Port,
    callee: &NodeName,
) -> io::Result<NodeName> {
    let shake = async {
        let mut words = [0; HELLO_BYTES];
        stream.read_exact(&mut words).await?;
        let (caller, theirs) = parse_hello(&words, port)?;
        let mine = nonce()?;
        let statement = Statement { port, caller: &caller, callee, nonces: [theirs, mine] };
        let proof = secret.prove(&statement.of(Side::Callee));
        stream.write_all(&[mine, proof].concat()).await?;
        let mut proof = [0; PROOF_BYTES];
        stream.read_exact(&mut proof).await?;
        if !secret.is_proof(&statement.of(Side::Caller), &proof) {
            return Err(refused("who calls does not know the secret"));
        }
        Ok(caller)
    };
    timeout(HANDSHAKE_MAX, shake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.repeat(32)).unwrap()
    }

    async fn shake(caller_knows: &str, called: &str, port: Port) -> (io::Result<()>, io::Result<NodeName>) {
        let (mut near, mut far) = tokio::io::duplex(1024);
        let (mine, theirs) = (secret(caller_knows), secret("s"));
        let (caller, callee, called) = ("n1".into(), "n2".into(), called.into());
        let calling = async {
            let called = call(&mut near, &mine, Port::Rows, &caller, &called).await;
            drop(near);
            called
        };
        let answering = async {
            let answered = answer(&mut far, &theirs, port, &callee).await;
            drop(far);
            answered
        };
        tokio::join!(calling, answering)
    }

    #[tokio::test]
    async fn who_shares_the_secret_is_known_by_name() {
        let (called, answered) = shake("s", "n2", Port::Rows).await;
        called.unwrap();
        assert_eq!(answered.unwrap(), "n1".into());
    }

    #[tokio::test]
    async fn another_secret_another_callee_and_another_port_are_refused_by_both_sides() {
        for (knows, called, port) in [("x", "n2", Port::Rows), ("s", "n3", Port::Rows), ("s", "n2", Port::Operations)] {
            let (called, answered) = shake(knows, called, port).await;
            assert!(called.is_err() && answered.is_err());
        }
    }

    #[tokio::test]
    async fn a_proof_of_the_callee_does_not_serve_a_caller() {
        let (mut stranger, mut far) = tokio::io::duplex(1024);
        let (secret, callee) = (secret("s"), "n2".into());
        let answering = answer(&mut far, &secret, Port::Rows, &callee);
        let reflecting = async {
            stranger.write_all(&hello(Port::Rows, &"n1".into(), &[7; NONCE_BYTES]).unwrap()).await.unwrap();
            let mut told = [0; NONCE_BYTES + PROOF_BYTES];
            stranger.read_exact(&mut told).await.unwrap();
            stranger.write_all(&told[NONCE_BYTES..]).await.unwrap();
        };
        let (answered, ()) = tokio::join!(answering, reflecting);
        assert_eq!(answered.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
