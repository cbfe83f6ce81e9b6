//! How connections come about: who is called, who is accepted, in which order, and who is refused.

use std::io::ErrorKind;

use drydock::env::{Accepted, Env, Listener, Network, Port};
use futures_util::future::{join, join_all, poll_immediate};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::oneshot,
};

use super::{StreamOf, call, hear, read_all, say, scripts};
use crate::stage::{self, Nodes, name};

stage::claims! {
    nobody_listens_and_the_call_is_refused;
    who_stopped_listening_refuses_calls;
    a_connection_outlives_its_listener;
    who_calls_before_the_other_accepts_is_accepted_later;
    what_is_said_before_the_other_accepts_is_heard;
    callers_are_accepted_in_the_order_of_their_calls;
    sixteen_call_at_once_and_each_is_answered;
    forty_connections_in_turn_are_each_one_of_its_own;
    an_accept_that_is_given_up_loses_no_caller;
    a_caller_is_known_by_name;
    each_port_has_callers_of_its_own;
    connections_of_the_same_nodes_do_not_mix;
    a_node_calls_again_after_the_end;
    both_nodes_may_call_each_other;
    a_port_is_listened_on_once;
    a_port_is_listened_on_again_after_its_listener_is_dropped;
    nobody_is_called_by_an_unknown_name;
    a_call_that_is_given_up_leaves_the_listener_well;
}

async fn nobody_listens_and_the_call_is_refused<E: Env>(nodes: Nodes<E>) {
    let refused = nodes.on(0, async |env: E| call(&env, 1).await.map(drop)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

async fn who_stopped_listening_refuses_calls<E: Env>(nodes: Nodes<E>) {
    nodes.on(1, async |env: E| drop(env.network().listen(Port::Operations).await.unwrap())).await;
    let refused = nodes.on(0, async |env: E| call(&env, 1).await.map(drop)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

async fn a_connection_outlives_its_listener<E: Env>(nodes: Nodes<E>) {
    // `talk` has dropped nothing yet when the callee speaks; here it has.
    let (listens, ready) = oneshot::channel();
    let called = nodes.on(1, async move |env: E| {
        let mut listener = env.network().listen(Port::Operations).await.unwrap();
        listens.send(()).unwrap();
        let mut stream = listener.accept().await.unwrap().stream;
        drop(listener);
        say(&mut stream, b"alone").await;
        read_all(&mut stream).await
    });
    let calls = nodes.on(0, async move |env: E| {
        ready.await.unwrap();
        let mut stream = call(&env, 1).await.unwrap();
        let heard = hear::<5>(&mut stream).await;
        say(&mut stream, &heard).await;
        stream.shutdown().await.unwrap();
    });
    assert_eq!(join(calls, called).await.1, b"alone");
}

async fn who_calls_before_the_other_accepts_is_accepted_later<E: Env>(nodes: Nodes<E>) {
    let (listens, ready) = oneshot::channel();
    let (calling, is_called) = oneshot::channel();
    let called = nodes.on(1, async move |env: E| {
        let mut listener = env.network().listen(Port::Operations).await.unwrap();
        listens.send(()).unwrap();
        is_called.await.unwrap();
        listener.accept().await.unwrap().peer
    });
    let calls = nodes.on(0, async move |env: E| {
        ready.await.unwrap();
        let mut call = Box::pin(call(&env, 1));
        let early = poll_immediate(&mut call).await;
        calling.send(()).unwrap();
        match early {
            Some(called) => called.map(drop),
            None => call.await.map(drop),
        }
    });
    let (call, peer) = join(calls, called).await;
    assert_eq!((call.is_ok(), peer), (true, name(0)));
}

async fn what_is_said_before_the_other_accepts_is_heard<E: Env>(nodes: Nodes<E>) {
    let (listens, ready) = oneshot::channel();
    let called = nodes.on(1, async move |env: E| {
        let mut listener = env.network().listen(Port::Operations).await.unwrap();
        listens.send(()).unwrap();
        let first = listener.accept().await.unwrap().stream;
        let mut second = listener.accept().await.unwrap().stream;
        let heard = read_all(&mut second).await;
        drop(first);
        heard
    });
    let calls = nodes.on(0, async move |env: E| {
        ready.await.unwrap();
        let idle = call(&env, 1).await.unwrap();
        let mut stream = call(&env, 1).await.unwrap();
        say(&mut stream, b"early").await;
        stream.shutdown().await.unwrap();
        read_all(&mut { idle }).await
    });
    assert_eq!(join(calls, called).await.1, b"early");
}

/// n2 listens, accepts so many callers, and does something with each at once; n1 does something once n2 listens.
async fn serve<E: Env, A: 'static, B: 'static>(
    nodes: &Nodes<E>,
    callers: usize,
    calls: impl AsyncFnOnce(E) -> A + 'static,
    serves: impl AsyncFn(StreamOf<E>) -> B + 'static,
) -> (A, Vec<B>) {
    let (listens, ready) = oneshot::channel();
    let called = nodes.on(1, async move |env: E| {
        let mut listener = env.network().listen(Port::Operations).await.unwrap();
        listens.send(()).unwrap();
        let mut streams = Vec::new();
        for _ in 0..callers {
            streams.push(listener.accept().await.unwrap().stream);
        }
        join_all(streams.into_iter().map(|stream| serves(stream))).await
    });
    let calls = nodes.on(0, async move |env: E| {
        ready.await.unwrap();
        calls(env).await
    });
    join(calls, called).await
}

async fn callers_are_accepted_in_the_order_of_their_calls<E: Env>(nodes: Nodes<E>) {
    let calls = async |env: E| {
        for number in 0..8 {
            let mut stream = call(&env, 1).await.unwrap();
            say(&mut stream, &[number]).await;
        }
    };
    let (_, heard) = serve(&nodes, 8, calls, async |mut stream| read_all(&mut stream).await).await;
    assert_eq!(heard.concat(), [0, 1, 2, 3, 4, 5, 6, 7]);
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let heard = read_all(&mut stream).await;
    say(&mut stream, &heard).await;
    stream.shutdown().await.unwrap();
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, number: u8) -> bool {
    say(&mut stream, &[number; 1_000]).await;
    stream.shutdown().await.unwrap();
    read_all(&mut stream).await == [number; 1_000]
}

async fn sixteen_call_at_once_and_each_is_answered<E: Env>(nodes: Nodes<E>) {
    let calls = async |env: E| {
        let asks = (0..16).map(|number| {
            let env = env.clone();
            async move { ask(call(&env, 1).await.unwrap(), number).await }
        });
        join_all(asks).await
    };
    let (answered, _) = serve(&nodes, 16, calls, async |stream| echo(stream).await).await;
    assert_eq!(answered, [true; 16]);
}

async fn forty_connections_in_turn_are_each_one_of_its_own<E: Env>(nodes: Nodes<E>) {
    let (listens, ready) = oneshot::channel();
    let called = nodes.on(1, async move |env: E| {
        let mut listener = env.network().listen(Port::Operations).await.unwrap();
        listens.send(()).unwrap();
        for _ in 0..40 {
            echo(listener.accept().await.unwrap().stream).await;
        }
    });
    let calls = nodes.on(0, async move |env: E| {
        ready.await.unwrap();
        for number in 0..40 {
            assert!(ask(call(&env, 1).await.unwrap(), number).await);
        }
    });
    join(calls, called).await;
}

async fn an_accept_that_is_given_up_loses_no_caller<E: Env>(nodes: Nodes<E>) {
    let (gave_up, goes_on) = oneshot::channel();
    let called = nodes.on(1, async move |env: E| {
        let mut listener = env.network().listen(Port::Operations).await.unwrap();
        assert!(poll_immediate(Box::pin(listener.accept())).await.is_none());
        gave_up.send(()).unwrap();
        let mut stream = listener.accept().await.unwrap().stream;
        read_all(&mut stream).await
    });
    let calls = nodes.on(0, async move |env: E| {
        goes_on.await.unwrap();
        say(&mut call(&env, 1).await.unwrap(), b"me").await;
    });
    assert_eq!(join(calls, called).await.1, b"me");
}

async fn a_caller_is_known_by_name<E: Env>(nodes: Nodes<E>) {
    let (tx, mut turns) = tokio::sync::mpsc::unbounded_channel();
    let called = nodes.on(1, async move |env: E| {
        let mut listener = env.network().listen(Port::Operations).await.unwrap();
        let mut peers = Vec::new();
        for _ in 0..2 {
            tx.send(()).unwrap();
            let Accepted { peer, stream } = listener.accept().await.unwrap();
            peers.push(peer);
            drop(stream);
        }
        peers
    });
    let order = [2, 0];
    let calls = async {
        for caller in order {
            turns.recv().await.unwrap();
            nodes.on(caller, async |env: E| call(&env, 1).await.map(drop).unwrap()).await;
        }
    };
    assert_eq!(join(calls, called).await.1, order.map(name));
}

async fn each_port_has_callers_of_its_own<E: Env>(nodes: Nodes<E>) {
    let (listens, ready) = oneshot::channel();
    let called = nodes.on(1, async move |env: E| {
        let mut rows = env.network().listen(Port::Rows).await.unwrap();
        let mut operations = env.network().listen(Port::Operations).await.unwrap();
        listens.send(()).unwrap();
        let (rows, operations) = join(rows.accept(), operations.accept()).await;
        let (mut rows, mut operations) = (rows.unwrap().stream, operations.unwrap().stream);
        join(read_all(&mut rows), read_all(&mut operations)).await
    });
    let calls = nodes.on(0, async move |env: E| {
        ready.await.unwrap();
        for (port, word) in [(Port::Operations, b"operations" as &[u8]), (Port::Rows, b"rows")] {
            say(&mut env.network().connect(&name(1), port).await.unwrap(), word).await;
        }
    });
    assert_eq!(join(calls, called).await.1, (b"rows".to_vec(), b"operations".to_vec()));
}

async fn connections_of_the_same_nodes_do_not_mix<E: Env>(nodes: Nodes<E>) {
    let calls = async |env: E| {
        let (mut one, mut other) = (call(&env, 1).await.unwrap(), call(&env, 1).await.unwrap());
        for _ in 0..100 {
            say(&mut one, b"aaa").await;
            say(&mut other, b"bb").await;
        }
    };
    let (_, heard) = serve(&nodes, 2, calls, async |mut stream| read_all(&mut stream).await).await;
    assert_eq!(heard, [vec![b'a'; 300], vec![b'b'; 200]]);
}

async fn a_node_calls_again_after_the_end<E: Env>(nodes: Nodes<E>) {
    let (listens, ready) = oneshot::channel();
    let called = nodes.on(1, async move |env: E| {
        let mut listener = env.network().listen(Port::Operations).await.unwrap();
        listens.send(()).unwrap();
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.push(read_all(&mut listener.accept().await.unwrap().stream).await);
        }
        heard
    });
    let calls = nodes.on(0, async move |env: E| {
        ready.await.unwrap();
        for word in [b"one" as &[u8], b"two", b"three"] {
            let mut stream = call(&env, 1).await.unwrap();
            say(&mut stream, word).await;
            stream.shutdown().await.unwrap();
            assert!(read_all(&mut stream).await.is_empty());
        }
    });
    assert_eq!(join(calls, called).await.1, [b"one" as &[u8], b"two", b"three"]);
}

async fn both_nodes_may_call_each_other<E: Env>(nodes: Nodes<E>) {
    let part = |here: usize, there: usize, listens: oneshot::Sender<()>, ready: oneshot::Receiver<()>| {
        nodes.on(here, async move |env: E| {
            let mut listener = env.network().listen(Port::Operations).await.unwrap();
            listens.send(()).unwrap();
            ready.await.unwrap();
            let calls = async {
                say(&mut call(&env, there).await.unwrap(), &[here as u8]).await;
            };
            let called = async { read_all(&mut listener.accept().await.unwrap().stream).await };
            join(calls, called).await.1
        })
    };
    let ((one_tx, one_rx), (other_tx, other_rx)) = (oneshot::channel(), oneshot::channel());
    let heard = join(part(0, 1, one_tx, other_rx), part(1, 0, other_tx, one_rx)).await;
    assert_eq!(heard, (vec![1], vec![0]));
}

async fn a_port_is_listened_on_once<E: Env>(nodes: Nodes<E>) {
    let second = nodes.on(1, async |env: E| {
        let _first = env.network().listen(Port::Rows).await.unwrap();
        env.network().listen(Port::Rows).await.map(drop)
    });
    assert_eq!(second.await.unwrap_err().kind(), ErrorKind::AddrInUse);
}

async fn a_port_is_listened_on_again_after_its_listener_is_dropped<E: Env>(nodes: Nodes<E>) {
    let again = nodes.on(1, async |env: E| {
        drop(env.network().listen(Port::Operations).await.unwrap());
        env.network().listen(Port::Operations).await.map(drop)
    });
    again.await.unwrap();
}

async fn nobody_is_called_by_an_unknown_name<E: Env>(nodes: Nodes<E>) {
    let unknown = nodes.on(0, async |env: E| env.network().connect(&"nobody".into(), Port::Rows).await.map(drop));
    assert_eq!(unknown.await.unwrap_err().kind(), ErrorKind::NotFound);
}

async fn a_call_that_is_given_up_leaves_the_listener_well<E: Env>(nodes: Nodes<E>) {
    let (listens, ready) = oneshot::channel();
    let called = nodes.on(1, async move |env: E| {
        let mut listener = env.network().listen(Port::Operations).await.unwrap();
        listens.send(()).unwrap();
        loop {
            // Whether one that was given up is accepted is the world's affair; it says nothing.
            let heard = read_all(&mut listener.accept().await.unwrap().stream).await;
            if !heard.is_empty() {
                return heard;
            }
        }
    });
    let calls = nodes.on(0, async move |env: E| {
        ready.await.unwrap();
        drop(poll_immediate(Box::pin(call(&env, 1))).await);
        say(&mut call(&env, 1).await.unwrap(), b"me").await;
    });
    assert_eq!(join(calls, called).await.1, b"me");
}
