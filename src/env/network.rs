//! Streams between nodes.

use std::{future::Future, io};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

use super::NodeName;

/// What a node listens on, by purpose; a world maps it to its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Port {
    /// Subscriptions to a node's rows and blobs.
    Rows,
    /// Forwarded operations, one a connection.
    Operations,
}

/// A byte stream in both directions. Dropping it closes it.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + 'static> Duplex for T {}

/// Connections between members of the cluster. Bytes arrive in order; how they are cut into reads means nothing.
pub trait Network {
    /// A connection.
    type Stream: Duplex;
    /// A bound port.
    type Listener: Listener<Stream = Self::Stream>;

    /// Connects to `node`; fails as `TcpStream::connect` does.
    fn connect(&self, node: &NodeName, port: Port) -> impl Future<Output = io::Result<Self::Stream>>;
    /// Binds `port` on this node.
    fn listen(&self, port: Port) -> impl Future<Output = io::Result<Self::Listener>>;
}

/// A bound port.
pub trait Listener: 'static {
    /// A connection.
    type Stream: Duplex;

    /// The next connection, from whichever node.
    fn accept(&mut self) -> impl Future<Output = io::Result<Accepted<Self::Stream>>>;
}

/// A connection that another node made.
#[derive(Debug)]
pub struct Accepted<S> {
    /// Who made it: the world vouches for the name, so that nobody has to believe what a stream says of itself. Whether it
    /// is a member of the cluster is the logic's question.
    pub peer: NodeName,
    /// The connection.
    pub stream: S,
}
