//! The operator's API of a node: HTTP/1.1, `POST /` with one operation a request, as the original's clients know it.
//!
//! This is a door and nothing more: it knows who may come in, reads what is asked, and tells what the logic answers; it decides
//! nothing about deployments. A request goes from [`door`] (connections) through [`service`] (one request) to `deploy::node`.
//! Payloads and answers are streams: memory stays that of a chunk, and every bound is named in [`limits`].

mod answer;
mod body;
mod door;
mod events;
pub mod form;
pub mod limits;
mod service;
mod share;
pub mod sse;
mod streams;
mod token;

pub use self::{
    door::Door,
    token::{Token, WeakToken},
};

/// The response header that names the node that answers.
pub const NODE_HEADER: &str = "drydock-node";

/// The part of an upload that holds the component's archive.
pub const PAYLOAD: &str = "payload";
