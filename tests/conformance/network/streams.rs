//! What a connection between two members does in its life.

use std::{
    cell::Cell,
    io::{self, ErrorKind},
    rc::Rc,
};

use drydock::env::Env;
use futures_util::future::{join, poll_immediate};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    sync::oneshot,
};

use super::{StreamOf, bytes, hear, read_all, say, scripts, talk};
use crate::stage::{self, Nodes};

stage::claims! {
    bytes_arrive_as_they_were_written;
    bytes_go_both_ways_at_once;
    how_bytes_are_cut_into_writes_means_nothing;
    a_read_may_take_less_than_there_is_and_the_rest_comes_later;
    a_big_write_arrives_whole_at_a_reader_that_starts_late;
    a_slow_reader_gets_everything;
    a_read_waits_until_something_comes;
    a_read_that_is_given_up_loses_nothing;
    an_empty_write_sends_nothing;
    the_end_comes_after_all_bytes;
    the_end_comes_again_and_again;
    the_other_direction_goes_on_after_the_end_of_one;
    who_has_seen_the_end_can_still_speak;
    both_sides_may_end_at_once;
    an_end_without_a_word_is_an_end;
    a_stream_that_is_dropped_ends_after_its_bytes;
    nothing_is_written_behind_the_end;
    ending_twice_is_ending;
    writing_to_one_who_is_gone_fails;
    who_drops_a_stream_with_unread_bytes_ends_it;
    a_writer_is_ahead_of_its_reader_by_no_more_than_buffers_hold except turmoil;
    a_writer_that_waits_learns_that_its_reader_is_gone except turmoil;
    a_reader_half_that_is_dropped_leaves_the_writer_half_whole;
    a_writer_half_that_is_dropped_leaves_the_reader_half_whole;
    flushing_an_idle_stream_is_done_at_once;
}

/// Far more than any socket's buffers hold together, and what they may hold.
const MUCH_BYTES: usize = 48 << 20;
const BUFFERED_BYTES_MAX: usize = 16 << 20;

async fn bytes_arrive_as_they_were_written<E: Env>(nodes: Nodes<E>) {
    let writes = async |mut stream: StreamOf<E>| {
        say(&mut stream, &bytes(1 << 20)).await;
        stream.shutdown().await.unwrap();
        read_all(&mut stream).await;
    };
    let (_, read) = talk(&nodes, writes, async |mut stream| read_all(&mut stream).await).await;
    assert!(read == bytes(1 << 20));
}

async fn exchange(stream: impl AsyncRead + AsyncWrite) -> Vec<u8> {
    let (mut reader, mut writer) = split(stream);
    let writes = async {
        say(&mut writer, &bytes(1 << 20)).await;
        writer.shutdown().await.unwrap();
    };
    join(read_all(&mut reader), writes).await.0
}

async fn bytes_go_both_ways_at_once<E: Env>(nodes: Nodes<E>) {
    let (one, other) = talk(&nodes, async |stream| exchange(stream).await, async |stream| exchange(stream).await).await;
    assert!(one == bytes(1 << 20) && other == one);
}

async fn how_bytes_are_cut_into_writes_means_nothing<E: Env>(nodes: Nodes<E>) {
    let writes = async |mut stream: StreamOf<E>| {
        for piece in bytes(10_000).chunks(7) {
            say(&mut stream, piece).await;
        }
        hear::<1>(&mut stream).await
    };
    let reads = async |mut stream: StreamOf<E>| {
        let heard = hear::<10_000>(&mut stream).await;
        say(&mut stream, b".").await;
        heard
    };
    assert!(talk(&nodes, writes, reads).await.1[..] == bytes(10_000));
}

async fn a_read_may_take_less_than_there_is_and_the_rest_comes_later<E: Env>(nodes: Nodes<E>) {
    let writes = async |mut stream: StreamOf<E>| {
        say(&mut stream, b"abcdef").await;
        hear::<1>(&mut stream).await
    };
    let reads = async |mut stream: StreamOf<E>| {
        let mut heard = Vec::new();
        while heard.len() < 6 {
            heard.push(stream.read_u8().await.unwrap());
        }
        say(&mut stream, b".").await;
        heard
    };
    assert_eq!(talk(&nodes, writes, reads).await.1, b"abcdef");
}

async fn a_big_write_arrives_whole_at_a_reader_that_starts_late<E: Env>(nodes: Nodes<E>) {
    let (begun, begins) = oneshot::channel();
    let writes = async move |mut stream: StreamOf<E>| {
        let all = bytes(4 << 20);
        let first = stream.write(&all).await.unwrap();
        assert!(first > 0 && first <= all.len());
        begun.send(()).unwrap();
        say(&mut stream, &all[first..]).await;
        stream.shutdown().await.unwrap();
    };
    let reads = async move |mut stream: StreamOf<E>| {
        begins.await.unwrap();
        read_all(&mut stream).await
    };
    assert!(talk(&nodes, writes, reads).await.1 == bytes(4 << 20));
}

async fn a_slow_reader_gets_everything<E: Env>(nodes: Nodes<E>) {
    let writes = async |mut stream: StreamOf<E>| {
        say(&mut stream, &bytes(300_000)).await;
        stream.shutdown().await.unwrap();
    };
    let reads = async |mut stream: StreamOf<E>| {
        let (mut heard, mut piece) = (Vec::new(), [0; 1_000]);
        loop {
            tokio::task::yield_now().await;
            match stream.read(&mut piece).await.unwrap() {
                0 => return heard,
                length => heard.extend_from_slice(&piece[..length]),
            }
        }
    };
    assert!(talk(&nodes, writes, reads).await.1 == bytes(300_000));
}

async fn a_read_waits_until_something_comes<E: Env>(nodes: Nodes<E>) {
    let (waits, waiting) = oneshot::channel();
    let reads = async move |mut stream: StreamOf<E>| {
        let mut word = [0; 1];
        let mut read = Box::pin(stream.read_exact(&mut word));
        assert!(poll_immediate(&mut read).await.is_none(), "nothing was said yet");
        waits.send(()).unwrap();
        read.await.unwrap();
        word
    };
    let writes = async move |mut stream: StreamOf<E>| {
        waiting.await.unwrap();
        say(&mut stream, b"x").await;
        assert!(read_all(&mut stream).await.is_empty());
    };
    assert_eq!(talk(&nodes, writes, reads).await.1, *b"x");
}

async fn a_read_that_is_given_up_loses_nothing<E: Env>(nodes: Nodes<E>) {
    let (gave_up, goes_on) = oneshot::channel();
    let reads = async move |mut stream: StreamOf<E>| {
        let mut word = [0; 4];
        assert!(poll_immediate(stream.read(&mut word)).await.is_none());
        gave_up.send(()).unwrap();
        hear::<4>(&mut stream).await
    };
    let writes = async move |mut stream: StreamOf<E>| {
        goes_on.await.unwrap();
        say(&mut stream, b"word").await;
        read_all(&mut stream).await
    };
    assert_eq!(talk(&nodes, writes, reads).await.1, *b"word");
}

async fn an_empty_write_sends_nothing<E: Env>(nodes: Nodes<E>) {
    let writes = async |mut stream: StreamOf<E>| {
        assert_eq!(stream.write(&[]).await.unwrap(), 0);
        say(&mut stream, b"x").await;
        assert_eq!(stream.write(&[]).await.unwrap(), 0);
        stream.shutdown().await.unwrap();
        read_all(&mut stream).await
    };
    assert_eq!(talk(&nodes, writes, async |mut stream| read_all(&mut stream).await).await.1, b"x");
}

async fn the_end_comes_after_all_bytes<E: Env>(nodes: Nodes<E>) {
    let writes = async |mut stream: StreamOf<E>| {
        stream.write_all(&bytes(200_000)).await.unwrap();
        stream.shutdown().await.unwrap();
        stream.read(&mut [0]).await.unwrap()
    };
    let (ended, read) = talk(&nodes, writes, async |mut stream| read_all(&mut stream).await).await;
    assert!(ended == 0 && read == bytes(200_000));
}

async fn the_end_comes_again_and_again<E: Env>(nodes: Nodes<E>) {
    let ends = async |mut stream: StreamOf<E>| {
        stream.shutdown().await.unwrap();
        read_all(&mut stream).await
    };
    let reads = async |mut stream: StreamOf<E>| {
        for _ in 0..3 {
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        }
    };
    talk(&nodes, ends, reads).await;
}

async fn the_other_direction_goes_on_after_the_end_of_one<E: Env>(nodes: Nodes<E>) {
    let ends = async |mut stream: StreamOf<E>| {
        say(&mut stream, b"ask").await;
        stream.shutdown().await.unwrap();
        read_all(&mut stream).await
    };
    let answers = async |mut stream: StreamOf<E>| {
        let asked = read_all(&mut stream).await;
        say(&mut stream, &bytes(100_000)).await;
        stream.shutdown().await.unwrap();
        asked
    };
    let (answer, asked) = talk(&nodes, ends, answers).await;
    assert!(asked == b"ask" && answer == bytes(100_000));
}

async fn who_has_seen_the_end_can_still_speak<E: Env>(nodes: Nodes<E>) {
    let ends = async |mut stream: StreamOf<E>| {
        stream.shutdown().await.unwrap();
        let heard = [hear::<1>(&mut stream).await, hear::<1>(&mut stream).await];
        say_nothing_more(stream).await;
        heard
    };
    let speaks = async |mut stream: StreamOf<E>| {
        assert!(read_all(&mut stream).await.is_empty());
        say(&mut stream, b"a").await;
        tokio::task::yield_now().await;
        say(&mut stream, b"b").await;
        stream.shutdown().await.unwrap();
    };
    assert_eq!(talk(&nodes, ends, speaks).await.0, [*b"a", *b"b"]);
}

async fn say_nothing_more(mut stream: impl AsyncRead + Unpin) {
    assert!(read_all(&mut stream).await.is_empty());
}

async fn both_sides_may_end_at_once<E: Env>(nodes: Nodes<E>) {
    async fn ends(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Vec<u8> {
        say(&mut stream, b"bye").await;
        stream.shutdown().await.unwrap();
        read_all(&mut stream).await
    }
    let (one, other) = talk(&nodes, async |stream| ends(stream).await, async |stream| ends(stream).await).await;
    assert_eq!((one, other), (b"bye".to_vec(), b"bye".to_vec()));
}

async fn an_end_without_a_word_is_an_end<E: Env>(nodes: Nodes<E>) {
    let (_, read) = talk(&nodes, async |stream| drop(stream), async |mut stream| read_all(&mut stream).await).await;
    assert!(read.is_empty());
}

async fn a_stream_that_is_dropped_ends_after_its_bytes<E: Env>(nodes: Nodes<E>) {
    let writes = async |mut stream: StreamOf<E>| say(&mut stream, &bytes(100_000)).await;
    let (_, read) = talk(&nodes, writes, async |mut stream| read_all(&mut stream).await).await;
    assert!(read == bytes(100_000));
}

async fn nothing_is_written_behind_the_end<E: Env>(nodes: Nodes<E>) {
    let ends = async |mut stream: StreamOf<E>| {
        stream.shutdown().await.unwrap();
        let late = stream.write_all(b"late").await;
        read_all(&mut stream).await;
        late
    };
    let (late, read) = talk(&nodes, ends, async |mut stream| read_all(&mut stream).await).await;
    assert_eq!((late.unwrap_err().kind(), read.len()), (ErrorKind::BrokenPipe, 0));
}

async fn ending_twice_is_ending<E: Env>(nodes: Nodes<E>) {
    let ends = async |mut stream: StreamOf<E>| {
        stream.shutdown().await.unwrap();
        stream.shutdown().await.unwrap();
        read_all(&mut stream).await
    };
    assert!(talk(&nodes, ends, async |mut stream| read_all(&mut stream).await).await.1.is_empty());
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}

/// Writes until that fails.
async fn write_in_vain(stream: &mut (impl AsyncWrite + Unpin)) -> io::Error {
    loop {
        if let Err(error) = stream.write_all(b"is anybody there?").await {
            return error;
        }
        // The answer of the other side's machine takes a moment.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

async fn writing_to_one_who_is_gone_fails<E: Env>(nodes: Nodes<E>) {
    let writes = async |mut stream: StreamOf<E>| write_in_vain(&mut stream).await;
    let (error, ()) = talk(&nodes, writes, async |stream| drop(stream)).await;
    assert!(is_gone(&error), "{error:?}");
}

async fn who_drops_a_stream_with_unread_bytes_ends_it<E: Env>(nodes: Nodes<E>) {
    let reads_one = async |mut stream: StreamOf<E>| hear::<1>(&mut stream).await;
    let writes = async |mut stream: StreamOf<E>| {
        say(&mut stream, b"more than one").await;
        // An end or a reset, as the world likes.
        stream.read(&mut [0; 8]).await
    };
    let (ended, _) = talk(&nodes, writes, reads_one).await;
    assert!(ended.as_ref().map_or_else(is_gone, |read| *read == 0), "{ended:?}");
}

async fn a_writer_is_ahead_of_its_reader_by_no_more_than_buffers_hold<E: Env>(nodes: Nodes<E>) {
    let written = Rc::new(Cell::new(0));
    let seen = Rc::clone(&written);
    let writes = async move |mut stream: StreamOf<E>| {
        let piece = bytes(1 << 16);
        while written.get() < MUCH_BYTES {
            written.set(written.get() + stream.write(&piece).await.unwrap());
        }
        stream.shutdown().await.unwrap();
    };
    let reads = async move |mut stream: StreamOf<E>| {
        let (mut read, mut piece) = (0, vec![0; 1 << 16]);
        loop {
            assert!(seen.get() <= read + BUFFERED_BYTES_MAX, "{} written, {read} read", seen.get());
            match stream.read(&mut piece).await.unwrap() {
                0 => return read == seen.get(),
                length => read += length,
            }
        }
    };
    assert!(talk(&nodes, writes, reads).await.1);
}

async fn a_writer_that_waits_learns_that_its_reader_is_gone<E: Env>(nodes: Nodes<E>) {
    let (full, is_full) = oneshot::channel();
    let writes = async move |mut stream: StreamOf<E>| {
        let (piece, mut full) = (bytes(1 << 16), Some(full));
        loop {
            let mut write = Box::pin(stream.write(&piece));
            if poll_immediate(&mut write).await.is_none() {
                full.take().into_iter().for_each(|full| full.send(()).unwrap());
            }
            if let Err(error) = write.await {
                return error;
            }
        }
    };
    let leaves = async move |stream: StreamOf<E>| {
        is_full.await.unwrap();
        drop(stream);
    };
    let (error, ()) = talk(&nodes, writes, leaves).await;
    assert!(is_gone(&error), "{error:?}");
}

async fn a_reader_half_that_is_dropped_leaves_the_writer_half_whole<E: Env>(nodes: Nodes<E>) {
    let writes = async |stream: StreamOf<E>| {
        let (reader, mut writer) = split(stream);
        drop(reader);
        say(&mut writer, b"still here").await;
        writer.shutdown().await.unwrap();
    };
    assert_eq!(talk(&nodes, writes, async |mut stream| read_all(&mut stream).await).await.1, b"still here");
}

async fn a_writer_half_that_is_dropped_leaves_the_reader_half_whole<E: Env>(nodes: Nodes<E>) {
    let reads = async |stream: StreamOf<E>| {
        let (mut reader, writer) = split(stream);
        drop(writer);
        read_all(&mut reader).await
    };
    let writes = async |mut stream: StreamOf<E>| {
        say(&mut stream, b"still here").await;
        stream.shutdown().await.unwrap();
    };
    assert_eq!(talk(&nodes, reads, writes).await.0, b"still here");
}

async fn flushing_an_idle_stream_is_done_at_once<E: Env>(nodes: Nodes<E>) {
    let flushes = async |mut stream: StreamOf<E>| poll_immediate(stream.flush()).await.is_some_and(|done| done.is_ok());
    assert!(talk(&nodes, flushes, async |mut stream| read_all(&mut stream).await).await.0);
}
