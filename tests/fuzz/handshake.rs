//! The handshake: nobody is taken for a member who does not know the secret, and no word that counts can be changed on its
//! way. An input is what a stranger says, and a mask over what two nodes say: each bit of it turns one of theirs.

use std::{
    io,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use drydock::{
    env::{NodeName, Port},
    real::{
        Secret,
        handshake::{answer, call},
    },
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

use crate::pieces::at_once;

// The messages, as `real/handshake.rs` describes them.
const HELLO_BYTES: usize = 8 + 2 + 64 + 32;
const CALLEE_BYTES: usize = 32 + 32;
const PROOF_BYTES: usize = 32;

/// Where the caller's name ends, and where its nonce begins; nothing between them counts.
const FILLING: std::ops::Range<usize> = 10 + CALLER.len()..HELLO_BYTES - 32;

const CALLER: &str = "n1";
const CALLEE: &str = "n2";

pub(crate) fn check(bytes: &[u8]) {
    let Said { hello, callee, proof } = &*RECORDED;
    at_once(nobody_calls(bytes.to_vec()));
    at_once(nobody_calls(masked(&[&hello[..], proof].concat(), bytes)));
    at_once(nobody_answers(bytes.to_vec()));
    at_once(nobody_answers(masked(callee, bytes)));
    at_once(no_word_is_changed(bytes));
}

fn secret() -> Secret {
    Secret::new([7; 32]).expect("it has so many bytes")
}

fn name(name: &str) -> NodeName {
    name.into()
}

fn masked(bytes: &[u8], mask: &[u8]) -> Vec<u8> {
    let mut masked = bytes.to_vec();
    masked.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    masked
}

/// What two nodes say to each other, as far as they get.
#[derive(Default)]
struct Said {
    hello: Vec<u8>,
    callee: Vec<u8>,
    proof: Vec<u8>,
}

/// What was said once, under the same secret.
static RECORDED: LazyLock<Said> = LazyLock::new(|| {
    let heard = at_once(overheard(&[]));
    assert_eq!((heard.called, heard.answered), (Ok(()), Ok(CALLER.to_owned())));
    heard.said
});

/// A stream over what a stranger says, which then says no more; counts what is taken of it, and what it is told.
struct Stranger {
    says: Vec<u8>,
    taken: usize,
    told: usize,
}

impl Stranger {
    fn who_says(says: Vec<u8>) -> Self {
        Self { says, taken: 0, told: 0 }
    }
}

impl AsyncRead for Stranger {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let rest = &self.says[self.taken..];
        let taken = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..taken]);
        self.taken += taken;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stranger {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.told += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A stranger who calls is refused, whatever it says: with a proof of ours at most, and not a byte read too many.
async fn nobody_calls(says: Vec<u8>) {
    let mut stranger = Stranger::who_says(says);
    let answered = answer(&mut stranger, &secret(), Port::Rows, &name(CALLEE)).await;
    assert!(answered.is_err(), "a stranger is taken for {answered:?}");
    assert!(stranger.taken <= HELLO_BYTES + PROOF_BYTES);
    let is_answered = stranger.taken >= HELLO_BYTES && stranger.told == CALLEE_BYTES;
    assert!(is_answered || stranger.told == 0);
}

/// A stranger who is called proves nothing, and never hears the caller's proof.
async fn nobody_answers(says: Vec<u8>) {
    let mut stranger = Stranger::who_says(says);
    let called = call(&mut stranger, &secret(), Port::Rows, &name(CALLER), &name(CALLEE)).await;
    assert!(called.is_err(), "a stranger is taken for {CALLEE}");
    assert!(stranger.taken <= CALLEE_BYTES);
    assert_eq!(stranger.told, HELLO_BYTES);
}

/// What came of a handshake that somebody carried to and fro.
struct Heard {
    said: Said,
    called: Result<(), io::ErrorKind>,
    answered: Result<String, io::ErrorKind>,
}

/// Two nodes shake hands through somebody who turns the bits of `mask` in what they say, one message after another.
async fn overheard(mask: &[u8]) -> Heard {
    let ((mut caller, near), (far, mut callee)) = (duplex(1024), duplex(1024));
    let calling = async {
        let called = call(&mut caller, &secret(), Port::Rows, &name(CALLER), &name(CALLEE)).await;
        drop(caller);
        called.map_err(|error| error.kind())
    };
    let answering = async {
        let answered = answer(&mut callee, &secret(), Port::Rows, &name(CALLEE)).await;
        drop(callee);
        answered.map(|name| name.to_string()).map_err(|error| error.kind())
    };
    let (called, answered, said) = tokio::join!(calling, answering, carry(near, far, mask));
    Heard { said, called, answered }
}

/// Carries messages until one side has no more to say, and then leaves both.
async fn carry(mut near: DuplexStream, mut far: DuplexStream, mask: &[u8]) -> Said {
    let mut mask = mask.iter().copied();
    let mut said = Said { hello: pass(&mut near, &mut far, HELLO_BYTES, &mut mask).await, ..Said::default() };
    said.callee = pass(&mut far, &mut near, CALLEE_BYTES, &mut mask).await;
    if said.callee.len() == CALLEE_BYTES {
        said.proof = pass(&mut near, &mut far, PROOF_BYTES, &mut mask).await;
    }
    said
}

/// Passes a message on, as far as both sides are there.
async fn pass(
    from: &mut DuplexStream,
    to: &mut DuplexStream,
    bytes: usize,
    mask: &mut impl Iterator<Item = u8>,
) -> Vec<u8> {
    let mut message = Vec::new();
    let _ = from.take(bytes as u64).read_to_end(&mut message).await;
    message.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    // Who has left reads nothing; the one who speaks finds out by himself.
    let _ = to.write_all(&message).await;
    message
}

/// Whoever changes a word that counts is found out by the side that hears it, and so by all that comes after.
async fn no_word_is_changed(mask: &[u8]) {
    let counts = |from: usize, bytes: usize| {
        (from..from + bytes).any(|at| !FILLING.contains(&at) && mask.get(at).is_some_and(|mask| *mask != 0))
    };
    let before_the_proof = counts(0, HELLO_BYTES + CALLEE_BYTES);
    let in_it = counts(HELLO_BYTES + CALLEE_BYTES, PROOF_BYTES);
    let Heard { called, answered, .. } = overheard(mask).await;
    assert_eq!(called.is_err(), before_the_proof, "{called:?}");
    assert_eq!(answered.is_err(), before_the_proof || in_it, "{answered:?}");
    assert!(answered.is_err() || answered == Ok(CALLER.to_owned()), "{answered:?}");
}
