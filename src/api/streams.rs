//! Answers that last: the events of a deploy, the tail of a deployment, and the bytes of a payload.

use std::{convert::Infallible, rc::Rc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use hyper::header::CONTENT_LENGTH;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use super::{
    answer::{Answer, BrokenOff, Refusal, stream_answer},
    events::{self, EventSource},
    form::{self, Form},
    limits::ALIVE_EVERY,
    share::Place,
    sse::{ALIVE, Message},
};
use crate::{
    deploy::{
        blob_stream::BlobReadError,
        event::Event,
        node::Node,
        reading::{
            payload::Payload,
            tail::{Tail, TailItem},
        },
        row::{Deployment, Status},
    },
    env::Env,
    real::RealEnv,
};

const EVENT_STREAM: &str = "text/event-stream";

/// Deploys, and answers with the deploy's events as they come. A request that the logic does not take gets a plain refusal:
/// no stream has begun then.
pub(super) async fn deploy(env: &RealEnv, node: &Rc<Node<RealEnv>>, form: Form) -> Result<Answer, Refusal> {
    let (sink, mut source) = events::channel();
    let Form { fields, upload, .. } = form;
    let client = env.client_asks(&fields);
    let hint = form::hint(&upload);
    let upload = upload.map(|upload| client.upload(upload));
    let (sink, deploying) = (Rc::new(sink), Rc::clone(node));
    // A task of its own: a client that disconnects cancels nothing (spec 5).
    let deploy = async move {
        let (seeing, telling) = (client.clone(), Rc::clone(&sink));
        let see = move |event: &Event| {
            if telling.push(event) {
                seeing.sees(event);
            }
        };
        let answer = deploying.deploy_component(fields, upload, see).await;
        if sink.is_heard() {
            client.answered(&answer);
        }
        Ok::<(), Infallible>(())
    };
    env.spawn_background("deploy for a stream", deploy);
    match source.next().await {
        Ok(Some(first)) if first.name() == "error" && first.data()["phase"] == "validate" => {
            Err(Refusal::of_deploy(first.data().clone(), hint))
        }
        // A stream that has broken off breaks off behind its head.
        first => Ok(event_stream(deploy_messages(first.transpose(), source))),
    }
}

fn deploy_messages(
    first: Option<Result<Event, BrokenOff>>,
    source: EventSource,
) -> impl Stream<Item = Result<Message, BrokenOff>> {
    let rest =
        stream::try_unfold(source, |mut source| async move { Ok(source.next().await?.map(|event| (event, source))) });
    stream::iter(first).chain(rest).map_ok(|event| message(event.name(), event.data(), None))
}

fn message(event: &str, data: &Value, id: Option<u64>) -> Message {
    Message { event: event.to_owned(), data: data.to_string(), id }
}

/// Messages as a stream that says that it is alive while nothing comes.
fn event_stream(messages: impl Stream<Item = Result<Message, BrokenOff>> + 'static) -> Answer {
    let bytes = stream::try_unfold(messages.boxed_local(), |mut messages| async move {
        let text = match timeout(ALIVE_EVERY, messages.next()).await {
            Ok(None) => return Ok(None),
            Ok(Some(message)) => message?.write(),
            Err(_) => ALIVE.to_owned(),
        };
        Ok(Some((Bytes::from(text), messages)))
    });
    stream_answer(bytes, EVENT_STREAM)
}

/// Answers with a deployment's log, then what comes, then how it ended. The place is given back when the answer is over.
pub(super) fn tail<E: Env>(tail: Tail<E>, place: Place) -> Answer {
    let messages = stream::try_unfold((tail, place), |(mut tail, place)| async move {
        let item = tail.next().await.map_err(|error| BrokenOff::from(error.to_string()))?;
        Ok(item.map(|item| (tail_message(&item), (tail, place))))
    });
    event_stream(messages)
}

fn tail_message(item: &TailItem) -> Message {
    match item {
        TailItem::Entry(entry) => message(&entry.event, &entry.data, Some(entry.seq)),
        TailItem::End(row) if row.status == Status::Success => {
            message("done", &json!({ "result": row.to_public() }), None)
        }
        TailItem::End(row) => message("error", &failure(row), None),
    }
}

/// The failure of a deployment, as the client of its deploy was told.
fn failure(row: &Deployment) -> Value {
    let mut told =
        json!({ "message": format!("the deployment is {}", row.status), "deployment_id": row.deployment_id });
    if let Some(error) = &row.error {
        told["message"] = json!(error.message);
        told["phase"] = json!(error.phase);
        if let Some(code) = &error.code {
            told["code"] = json!(code);
        }
    }
    let failed: Vec<_> = row.peer_results.iter().filter(|peer| !peer.is_success()).collect();
    if !failed.is_empty() {
        told["failed_peers"] = json!(failed);
    }
    told
}

/// Answers with a payload's bytes. What cannot be read from the start gets a plain refusal.
pub(super) async fn payload<E: Env>(env: &E, payload: Payload<E>) -> Result<Answer, Refusal> {
    let bytes = payload.bytes;
    // One chunk waits for the client: it reads at its own pace.
    let (tx, mut rx) = mpsc::channel(1);
    env.spawn_background("payload for a client", async move {
        tokio::select! {
            () = pump(&payload, &tx) => {}
            () = tx.closed() => {}
        }
        Ok::<(), Infallible>(())
    });
    let first = rx.recv().await;
    if let Some(Err(error)) = &first {
        return Err(Refusal::of(json!({ "message": error.to_string(), "code": code_of(error) })));
    }
    let rest = stream::unfold(rx, |mut rx| async move { Some((rx.recv().await?, rx)) });
    let chunks = stream::iter(first).chain(rest).map(|chunk| chunk.map_err(BrokenOff::from));
    let mut answer = stream_answer(chunks, "application/octet-stream");
    answer.headers_mut().extend(bytes.map(|bytes| (CONTENT_LENGTH, bytes.into())));
    Ok(answer)
}

async fn pump<E: Env>(payload: &Payload<E>, tx: &mpsc::Sender<Result<Bytes, BlobReadError>>) {
    let mut stream = payload.stream();
    while let Some(chunk) = stream.next().await.transpose() {
        let broken = chunk.is_err();
        if tx.send(chunk).await.is_err() || broken {
            return;
        }
    }
}

fn code_of(error: &BlobReadError) -> &'static str {
    match error {
        BlobReadError::Unavailable { .. } => "payload_unavailable",
        BlobReadError::Incomplete { .. } => "payload_incomplete",
        BlobReadError::Gone { .. } => "payload_gone",
    }
}
