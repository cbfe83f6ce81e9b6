//! A stream of events as a client follows it.

use std::{collections::VecDeque, time::Duration};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::timeout;

use super::{http::innermost, upload::Failure};
use crate::{
    api::{
        limits::ALIVE_EVERY,
        sse::{Message, Reader},
    },
    deploy::client::{ClientExit, ClientStream},
};

/// A stream that says nothing for so long, not even that it is alive, has broken off.
const SILENCE_MAX: Duration = Duration::from_secs(4 * ALIVE_EVERY.as_secs());

/// What a stream told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The event's name.
    pub event: String,
    /// Its data.
    pub data: Value,
}

impl From<Message> for Told {
    /// What is no JSON is a text: whatever a node says can be shown.
    fn from(message: Message) -> Self {
        let data = serde_json::from_str(&message.data).unwrap_or(Value::String(message.data));
        Self { event: message.event, data }
    }
}

/// A stream of events, up to its end.
pub struct Follow {
    node: String,
    body: Incoming,
    reader: Reader,
    waiting: VecDeque<Told>,
    stream: ClientStream,
    /// Why it broke off.
    broken: Option<String>,
    failure: Failure,
}

impl Follow {
    pub(super) fn new(node: String, body: Incoming, failure: Failure) -> Self {
        Self {
            node,
            body,
            reader: Reader::default(),
            waiting: VecDeque::new(),
            stream: ClientStream::default(),
            broken: None,
            failure,
        }
    }

    /// The node that answers.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The next event; waits for it. `None` at the end, whichever it is.
    pub async fn next(&mut self) -> Option<Told> {
        while self.waiting.is_empty() && self.read().await {}
        let told = self.waiting.pop_front()?;
        self.stream.see_named(&told.event);
        Some(told)
    }

    /// How the command ends when nothing more comes.
    pub fn exit(&self) -> ClientExit {
        self.stream.exit()
    }

    /// Why the stream broke off, if it did.
    pub fn broken(&self) -> Option<String> {
        self.failure.told().or_else(|| self.broken.clone())
    }

    /// Reads on; false when nothing more comes.
    async fn read(&mut self) -> bool {
        let frame = match timeout(SILENCE_MAX, self.body.frame()).await {
            Ok(None) => return false,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return self.breaks(innermost(&error)),
            Err(_) => return self.breaks(format!("silent for {} s", SILENCE_MAX.as_secs())),
        };
        let bytes = frame.into_data().unwrap_or_default();
        let waiting = &mut self.waiting;
        match self.reader.push(&bytes, |message| waiting.push_back(message.into())) {
            Ok(()) => true,
            Err(error) => self.breaks(error.to_string()),
        }
    }

    fn breaks(&mut self, cause: String) -> bool {
        self.broken = Some(cause);
        false
    }
}
