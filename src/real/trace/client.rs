//! Clients of a node, recorded where its door is: what they asked for, what they saw, how they were answered.

use std::{cell::RefCell, rc::Rc};

use futures_util::StreamExt;
use serde_json::Value;

use super::{
    line::{ClientAct, Stamp},
    recorder::Recorder,
};
use crate::{
    deploy::{client::ClientStream, event::Event, hashing::Hashing, recorder::Upload},
    real::RealEnv,
};

/// A client that asks for a deploy at a node's door; clones are handles to the same one. Once it is dropped without an
/// answer, the client is lost.
#[derive(Clone)]
pub struct ClientRecord(Rc<Client>);

struct Client {
    recorder: Recorder,
    number: u32,
    stream: RefCell<ClientStream>,
    answered: RefCell<bool>,
}

impl RealEnv {
    /// A client asks for a deploy now, with this request.
    pub fn client_asks(&self, request: &Value) -> ClientRecord {
        let recorder = self.recorder().clone();
        let number = recorder.next_client();
        let client = Client { recorder, number, stream: RefCell::default(), answered: RefCell::new(false) };
        client.did(ClientAct::Asked(request.clone()));
        ClientRecord(Rc::new(client))
    }
}

impl Client {
    fn did(&self, act: ClientAct) {
        self.recorder.client(Stamp::now(), self.number, act);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !*self.answered.borrow() {
            self.did(ClientAct::Lost);
        }
    }
}

impl ClientRecord {
    /// The client's upload, recorded as it is read.
    pub fn upload(&self, upload: Upload) -> Upload {
        let (client, mut hashing) = (self.clone(), Some(Hashing::default()));
        let recorded = upload.map(Some).chain(futures_util::stream::iter([None]));
        let recorded = recorded.filter_map(move |piece| {
            client.see_piece(&mut hashing, piece.as_ref());
            std::future::ready(piece)
        });
        Box::pin(recorded)
    }

    /// `None` is the end of the upload.
    fn see_piece(&self, hashing: &mut Option<Hashing>, piece: Option<&Piece>) {
        match (piece, hashing.as_mut()) {
            (Some(Ok(bytes)), Some(hashing)) => {
                hashing.update(bytes);
                self.0.did(ClientAct::Uploaded(bytes.len() as u64));
            }
            (Some(Err(error)), Some(_)) => {
                self.0.did(ClientAct::UploadAborted(error.to_string()));
                *hashing = None;
            }
            (None, Some(hashing)) => {
                self.0.did(ClientAct::UploadEnded { hash: hashing.hash(), bytes: hashing.bytes() });
            }
            (_, None) => {}
        }
    }

    /// The client sees an event of its stream.
    pub fn sees(&self, event: &Event) {
        self.0.stream.borrow_mut().see(event);
        self.0.did(ClientAct::Saw { event: event.name().to_owned(), data: event.data().clone() });
    }

    /// The client is answered; its command ends with the exit code that its stream means.
    pub fn answered(&self, answer: &Result<Value, Value>) {
        self.0.did(ClientAct::Answered(answer.clone()));
        self.0.answered.replace(true);
        self.0.did(ClientAct::Exited(self.0.stream.borrow().exit().code()));
    }
}

type Piece = <Upload as futures_util::Stream>::Item;
