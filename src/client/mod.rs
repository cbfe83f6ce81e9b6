//! The operator's side of the API: asks a running node, uploads components, and follows streams of events.
//!
//! It lives on a `LocalSet`, as a node does. Memory stays that of a chunk: an upload is packed while it is sent. What a stream
//! means for a command's exit code is decided by `deploy::client`, not here.

mod archive;
mod follow;
mod http;
mod pack;
mod upload;

pub use self::{
    archive::{Component, ComponentError},
    follow::{Follow, Told},
    http::{Address, Client, ClientError},
    upload::Upload,
};
