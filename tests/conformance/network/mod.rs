//! What members say to each other: calls that make connections, and the streams that come of them.

mod calls;
mod streams;

use std::{io, rc::Rc};

use drydock::{
    env::{Env, Listener, Network, Port},
    sim::process::{Script, Scripts},
};
use futures_util::future::join;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::oneshot,
};

use crate::stage::{Nodes, name};

type StreamOf<E> = <<E as Env>::Network as Network>::Stream;

fn scripts() -> Rc<Scripts> {
    Rc::new(|_, _| Ok(Script::default()))
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

/// n1 calls n2, and each does its part.
async fn talk<E: Env, A: 'static, B: 'static>(
    nodes: &Nodes<E>,
    caller: impl AsyncFnOnce(StreamOf<E>) -> A + 'static,
    callee: impl AsyncFnOnce(StreamOf<E>) -> B + 'static,
) -> (A, B) {
    let (listens, ready) = oneshot::channel();
    let called = nodes.on(1, async move |env: E| {
        let mut listener = env.network().listen(Port::Operations).await.unwrap();
        listens.send(()).unwrap();
        callee(listener.accept().await.unwrap().stream).await
    });
    let calls = nodes.on(0, async move |env: E| {
        ready.await.unwrap();
        caller(call(&env, 1).await.unwrap()).await
    });
    join(calls, called).await
}

async fn call<E: Env>(env: &E, node: usize) -> io::Result<StreamOf<E>> {
    env.network().connect(&name(node), Port::Operations).await
}

async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.unwrap();
    read
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), words: &[u8]) {
    stream.write_all(words).await.unwrap();
    stream.flush().await.unwrap();
}

async fn hear<const LENGTH: usize>(stream: &mut (impl AsyncRead + Unpin)) -> [u8; LENGTH] {
    let mut words = [0; LENGTH];
    stream.read_exact(&mut words).await.unwrap();
    words
}
