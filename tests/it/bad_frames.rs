//! A member of the cluster that sends what is no frame: one over the limit, one that is damaged, one out of place. Its link
//! closes, this node's journal says why, and the rows come on the next link.
//!
//! The one node runs the replication channel; the other is a member by name, and says what a test has it say.

use std::{cell::RefCell, future::pending, rc::Rc, time::Duration};

use bytes::Bytes;
use drydock::{
    env::{BlobId, BlobState, Blobs, Draft, Env, Journal, Key, Listener, Network, Port, Position, Table, Version},
    replication::{
        self,
        frame::{FRAME_BYTES_MAX, Frame, FrameReader, FrameWriter, PROTOCOL, decode, encode},
        operations::{self, CallError},
    },
    sim::{
        choice::Calm,
        env::SimEnv,
        network::SimStream,
        run::{Stage, WorldKind, play},
        scripts::quiet_success,
    },
};
use futures_util::future::LocalBoxFuture;
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf, split},
    sync::Notify,
    time::sleep,
};
use uuid::Uuid;

use crate::scripted::{Script, ScriptedEnv};

const BLOB: BlobId = BlobId(Uuid::from_u128(7));

/// Longer than a node waits before it connects again.
const NEXT_LINK: Duration = Duration::from_secs(2);

/// What is no frame, and why the link closes for it.
fn bad_frames() -> Vec<(Vec<u8>, &'static str)> {
    let framed = |body: &[u8]| [&(body.len() as u32).to_be_bytes()[..], body].concat();
    let row = row(9);
    let cut = &row[..row.len() - 3];
    vec![
        ([&(FRAME_BYTES_MAX as u32 + 1).to_be_bytes()[..], &row].concat(), "a frame is longer than 4194304 bytes"),
        (u32::MAX.to_be_bytes().to_vec(), "a frame is longer than 4194304 bytes"),
        (framed(&[0xff; 40]), "malformed frame"),
        (framed(cut), "malformed frame"),
        (framed(&encode(&Frame::OperationPart(b"of nothing"))), "out of place"),
    ]
}

/// The row at a place of the other node's log, in a frame.
fn row(position: u64) -> Bytes {
    let version = Version { stamp: position, node: "n2".into() };
    encode(&Frame::Row { position: Position(position), key: key(position), version, value: b"{}", blob: None })
}

fn key(number: u64) -> Key {
    format!("row-{number}").as_str().into()
}

/// Runs the channel on n1, and `story` on n2, which may look into n1; returns what came of it, and n1's journal.
fn beside<T: 'static>(story: impl AsyncFnOnce(SimEnv, SimEnv) -> T + 'static) -> (T, Vec<String>) {
    let (sound, told, over) = (Rc::new(RefCell::new(None)), Rc::new(RefCell::new(None)), Rc::new(Notify::new()));
    let story = RefCell::new(Some(story));
    let hosts = {
        let (sound, told, over) = (Rc::clone(&sound), Rc::clone(&told), Rc::clone(&over));
        move |env: SimEnv| -> LocalBoxFuture<'static, ()> {
            let (sound, told, over) = (Rc::clone(&sound), Rc::clone(&told), Rc::clone(&over));
            if env.index().0 == 0 {
                let scripted = ScriptedEnv::new(env.clone(), Script::default());
                *sound.borrow_mut() = Some((env, scripted.clone()));
                return Box::pin(async move {
                    let echo = Rc::new(|_, operation, _| Box::pin(std::future::ready(operation)) as _);
                    replication::start(&scripted, echo).await.unwrap();
                    pending().await
                });
            }
            let story = story.take().expect("one node tells it");
            Box::pin(async move {
                let (n1, _) = sound.borrow().clone().expect("n1 has begun");
                *told.borrow_mut() = Some(story(env, n1).await);
                over.notify_one();
                pending().await
            })
        }
    };
    let stage = Stage { nodes: 2, scripts: Rc::new(quiet_success), source: Box::new(Calm) };
    assert!(play(WorldKind::Sim, stage, hosts, async move { over.notified().await }), "the story ends");
    let told = told.take().expect("the story has ended");
    let (_, scripted) = sound.take().expect("n1 has begun");
    let journal = scripted.take_seen().journal.into_iter().filter_map(|entry| match entry {
        Journal::Dropped { what, cause } => Some(format!("{what}: {cause}")),
        _ => None,
    });
    (told, journal.collect())
}

type Reader = FrameReader<ReadHalf<SimStream>>;

/// The next subscription: where it begins, and the way to the subscriber. The reader keeps the connection open.
async fn subscribed(listener: &mut impl Listener<Stream = SimStream>) -> (Position, WriteHalf<SimStream>, Reader) {
    let (reader, writer) = split(listener.accept().await.unwrap().stream);
    let mut reader = FrameReader::new(reader);
    match decode(&reader.next().await.unwrap()).unwrap() {
        Frame::Subscribe { after, .. } => (after, writer, reader),
        other => panic!("{other:?}"),
    }
}

async fn say(writer: &mut WriteHalf<SimStream>, frame: Bytes) {
    FrameWriter::new(writer).send(frame).await.unwrap();
}

/// A connection to n1, on which something was said; returns what n1 answers at last.
async fn visit(env: &SimEnv, port: Port, words: &[u8]) -> String {
    let (reader, mut writer) = split(env.network().connect(&"n1".into(), port).await.unwrap());
    writer.write_all(words).await.unwrap();
    let mut reader = FrameReader::new(reader);
    let mut last = String::new();
    while let Ok(frame) = reader.next().await {
        last = format!("{:?}", decode(&frame).unwrap());
    }
    last
}

fn says(journal: &[String], who: &str, why: &str) -> bool {
    journal.iter().any(|entry| entry.starts_with(who) && entry.contains(why))
}

#[test]
fn a_source_that_sends_no_frame_loses_its_link_and_no_row() {
    for (bad, why) in bad_frames() {
        let ((after, known), journal) = beside(async move |n2, n1| {
            let mut listener = n2.network().listen(Port::Rows).await.unwrap();
            let (_, mut writer, _open) = subscribed(&mut listener).await;
            say(&mut writer, row(1)).await;
            writer.write_all(&bad).await.unwrap();
            let (after, mut writer, _open) = subscribed(&mut listener).await;
            say(&mut writer, row(2)).await;
            sleep(NEXT_LINK).await;
            (after, [n1.table().get(&key(1)).await, n1.table().get(&key(2)).await])
        });
        assert!(says(&journal, "link to n2", why), "{why}: {journal:?}");
        assert_eq!(after, Position(1), "it goes on where it stood: {why}");
        assert!(known.iter().all(|row| row.as_ref().unwrap().is_some()), "{why}: {known:?}");
    }
}

#[test]
fn a_blob_that_comes_damaged_comes_again_on_the_next_link() {
    let (state, journal) = beside(async |n2, n1| {
        let mut listener = n2.network().listen(Port::Rows).await.unwrap();
        let checksum = xxhash_rust::xxh3::xxh3_128(b"a payload");
        let end = encode(&Frame::BlobEnd { id: BLOB, bytes: 9, checksum });
        for bytes in [b"a PAYload", b"a payload"] {
            let (_, mut writer, _open) = subscribed(&mut listener).await;
            let chunk = encode(&Frame::BlobChunk { id: BLOB, offset: 0, bytes });
            for frame in [encode(&Frame::BlobBegin(BLOB)), chunk, end.clone()] {
                say(&mut writer, frame).await;
            }
            sleep(NEXT_LINK / 4).await;
        }
        n1.blobs().state(BLOB).await
    });
    assert!(says(&journal, "link to n2", "came damaged"), "{journal:?}");
    assert_eq!(state, Ok(BlobState::Complete { bytes: 9 }));
}

#[test]
fn a_subscriber_that_sends_no_frame_is_told_why_and_served_when_it_comes_again() {
    let hello = encode(&Frame::Subscribe { protocol: PROTOCOL, after: Position::default() });
    let hello = [&(hello.len() as u32).to_be_bytes()[..], &hello].concat();
    // At once, and in the middle of a subscription.
    for (first, who) in [(vec![], "a subscription of n2"), (hello.clone(), "session of n2")] {
        for (bad, why) in bad_frames() {
            // On a subscription that stands any frame is out of place.
            let (hello, words) = (hello.clone(), [&*first, &bad].concat());
            let ((told, served), journal) = beside(async move |n2, n1| {
                let draft = || Draft { value: b"{}".as_slice().into(), blob: None };
                n1.table().put(&key(1), draft).await.unwrap();
                let told = visit(&n2, Port::Rows, &words).await;
                let (reader, mut writer) = split(n2.network().connect(&"n1".into(), Port::Rows).await.unwrap());
                writer.write_all(&hello).await.unwrap();
                let frame = FrameReader::new(reader).next().await.unwrap();
                (told, matches!(decode(&frame).unwrap(), Frame::Row { .. }))
            });
            let why = if why == "out of place" { "" } else { why };
            assert!(told.starts_with("Closing") && told.contains(why), "{why}: {told}");
            assert!(says(&journal, who, why), "{why}: {journal:?}");
            assert!(served, "{why}");
        }
    }
}

#[test]
fn an_operation_that_is_no_frame_is_refused_and_the_next_one_taken() {
    let announced = encode(&Frame::Operation { protocol: PROTOCOL, bytes: 1_000 });
    let announced = [&(announced.len() as u32).to_be_bytes()[..], &announced].concat();
    for first in [vec![], announced] {
        for (bad, why) in bad_frames() {
            let words = [&*first, &bad].concat();
            // A part that comes after its announcement is in place.
            if !first.is_empty() && why == "out of place" {
                continue;
            }
            let ((told, answer), journal) = beside(async move |n2, _| {
                let told = visit(&n2, Port::Operations, &words).await;
                let operation = Bytes::from_static(b"a sound one");
                (told, operations::call(&n2, &"n1".into(), &operation, NEXT_LINK, |_| {}).await)
            });
            assert!(told.starts_with("Closing") && told.contains(why), "{why}: {told}");
            assert!(says(&journal, "an operation of n2", why), "{why}: {journal:?}");
            assert_eq!(answer.unwrap(), "a sound one");
        }
    }
}

#[test]
fn an_answer_that_is_no_frame_is_its_peers_failure_and_says_why() {
    for (bad, why) in bad_frames() {
        let (answer, _) = beside(async move |n2, n1| {
            let mut listener = n2.network().listen(Port::Operations).await.unwrap();
            let (tx, rx) = tokio::sync::oneshot::channel();
            let asks = n1.clone();
            n1.start(
                "asks".to_owned(),
                Box::pin(async move {
                    let operation = Bytes::from_static(b"do it");
                    let _ = tx.send(operations::call(&asks, &"n2".into(), &operation, NEXT_LINK, |_| {}).await);
                }),
            )
            .detach();
            let (_open, mut writer) = split(listener.accept().await.unwrap().stream);
            writer.write_all(&bad).await.unwrap();
            rx.await.unwrap()
        });
        let error = answer.unwrap_err();
        assert!(matches!(error, CallError::Broken(_)) && error.to_string().contains(why), "{why}: {error}");
    }
}
