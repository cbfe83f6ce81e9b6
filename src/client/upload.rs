//! A `multipart/form-data` upload: the fields, then the payload, streamed.

use std::{cell::RefCell, io, pin::Pin, rc::Rc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::{Body, Frame};
use serde_json::{Map, Value};

use super::Component;
use crate::api::PAYLOAD;

/// An upload that has not been sent yet.
pub struct Upload {
    fields: Map<String, Value>,
    component: Component,
    boundary: String,
    failure: Failure,
}

/// What kept an upload from being read to its end.
#[derive(Clone, Default)]
pub(super) struct Failure(Rc<RefCell<Option<String>>>);

impl Failure {
    /// What, for people.
    pub(super) fn told(&self) -> Option<String> {
        self.0.borrow().clone()
    }
}

impl Upload {
    /// An upload of `component` with these fields. The boundary between the parts is random: no file holds it by chance.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn new(fields: Map<String, Value>, component: Component) -> io::Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let boundary = format!("drydock-{:032x}", u128::from_ne_bytes(random));
        Ok(Self { fields, component, boundary, failure: Failure::default() })
    }

    pub(super) fn failure(&self) -> Failure {
        self.failure.clone()
    }

    pub(super) fn media_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// What comes before the payload.
    fn opening(&self) -> String {
        let boundary = &self.boundary;
        let fields = self.fields.iter().map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
        });
        let payload = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{PAYLOAD}\"; filename=\"{PAYLOAD}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        fields.chain([payload]).collect()
    }

    pub(super) fn into_body(self) -> Pin<Box<dyn Body<Data = Bytes, Error = io::Error>>> {
        let (opening, closing) = (self.opening(), format!("\r\n--{}--\r\n", self.boundary));
        let failure = self.failure;
        let payload = self
            .component
            .stream()
            .map(move |piece| piece.inspect_err(|error| *failure.0.borrow_mut() = Some(error.to_string())));
        let text = |text: String| stream::iter([Ok(Bytes::from(text))]);
        let body = text(opening).chain(payload).chain(text(closing));
        Box::pin(StreamBody::new(body.map(|piece| piece.map(Frame::data))))
    }
}
