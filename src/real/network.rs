//! TCP between the members of a cluster, each connection behind a handshake.

use std::{collections::BTreeMap, io, net::SocketAddr, rc::Rc};

use futures_util::{
    StreamExt,
    future::{AbortHandle, LocalBoxFuture, abortable},
    stream::FuturesUnordered,
};
use tokio::net::{TcpListener, TcpStream};

use super::{
    env::Member,
    handshake,
    secret::Secret,
    stream::{Link, Links, RealStream},
    trace::Recorder,
};
use crate::check::Event;
use crate::env::{Accepted, Listener, Network, NodeName, Port};

/// Connections that may be under way to prove who they are. One more takes the place of the oldest, so that strangers who
/// say nothing keep no member out.
const UNPROVEN_MAX: usize = 64;

/// What a node needs to connect and to be connected to.
#[derive(Clone)]
pub struct RealNetwork(Rc<Shared>);

struct Shared {
    node: NodeName,
    secret: Secret,
    members: BTreeMap<NodeName, Member>,
    recorder: Recorder,
    links: Links,
}

impl RealNetwork {
    pub(super) fn new(node: NodeName, secret: Secret, members: BTreeMap<NodeName, Member>, recorder: Recorder) -> Self {
        Self(Rc::new(Shared { node, secret, members, recorder, links: Links::default() }))
    }

    async fn call(&self, node: &NodeName, port: Port) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address(node, port)?).await?;
        stream.set_nodelay(true)?;
        handshake::call(&mut stream, &self.0.secret, port, &self.0.node, node).await?;
        Ok(stream)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &NodeName> {
        self.0.members.keys()
    }

    fn address(&self, node: &NodeName, port: Port) -> io::Result<SocketAddr> {
        let member = self.0.members.get(node);
        let member = member.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{node} is no member")))?;
        Ok(match port {
            Port::Rows => member.rows,
            Port::Operations => member.operations,
        })
    }
}

impl Network for RealNetwork {
    type Stream = RealStream;
    type Listener = RealListener;

    async fn connect(&self, node: &NodeName, port: Port) -> io::Result<RealStream> {
        let Shared { recorder, links, .. } = &*self.0;
        let to = recorder.index_of(node);
        if let Some(to) = to {
            recorder.record(&Event::Connecting { to, port });
        }
        let called = self.call(node, port).await;
        if let (Some(to), Err(error)) = (to, &called) {
            recorder.broke("connect", error);
            recorder.record(&Event::ConnectFailed { to, port, error: error.to_string() });
        }
        let link = to.filter(|_| port == Port::Rows).map(|to| links.made(to));
        Ok(RealStream::new(called?, link.map_or(Link::Other, Link::Subscriber), recorder.clone()))
    }

    async fn listen(&self, port: Port) -> io::Result<RealListener> {
        let listener = TcpListener::bind(self.address(&self.0.node, port)?).await?;
        self.0.recorder.record(&Event::Listening { port });
        Ok(RealListener {
            listener,
            port,
            network: self.clone(),
            proving: FuturesUnordered::new(),
            unproven: BTreeMap::new(),
            count: 0,
        })
    }
}

/// What came of a handshake, by its number.
type Proven = (u64, Option<Accepted<TcpStream>>);

/// A bound port, and those who are about to prove who they are.
pub struct RealListener {
    listener: TcpListener,
    port: Port,
    network: RealNetwork,
    proving: FuturesUnordered<LocalBoxFuture<'static, Proven>>,
    unproven: BTreeMap<u64, AbortHandle>,
    count: u64,
}

impl RealListener {
    /// Begins a handshake, in the place of the oldest one if there are too many.
    fn begin(&mut self, stream: TcpStream) {
        if self.unproven.len() >= UNPROVEN_MAX
            && let Some((_, oldest)) = self.unproven.pop_first()
        {
            oldest.abort();
        }
        self.count += 1;
        let number = self.count;
        let (proving, hold) = abortable(prove(self.network.clone(), self.port, stream));
        self.unproven.insert(number, hold);
        // One that gave way has proven nothing.
        self.proving.push(Box::pin(async move { (number, proving.await.ok().flatten()) }));
    }
}

/// Who a stranger is; `None` for one who cannot prove to be anybody.
async fn prove(network: RealNetwork, port: Port, mut stream: TcpStream) -> Option<Accepted<TcpStream>> {
    let Shared { node, secret, .. } = &*network.0;
    stream.set_nodelay(true).ok()?;
    let peer = handshake::answer(&mut stream, secret, port, node).await.ok()?;
    Some(Accepted { peer, stream })
}

impl RealListener {
    /// One who has proven who it is, on a stream that is recorded.
    fn let_in(&self, Accepted { peer, stream }: Accepted<TcpStream>) -> Accepted<RealStream> {
        let Shared { recorder, links, .. } = &*self.network.0;
        let subscriber = recorder.index_of(&peer).filter(|_| self.port == Port::Rows);
        let link = subscriber.map_or(Link::Other, |with| Link::Sender(links.taken(with)));
        Accepted { peer, stream: RealStream::new(stream, link, recorder.clone()) }
    }
}

impl Listener for RealListener {
    type Stream = RealStream;

    async fn accept(&mut self) -> io::Result<Accepted<RealStream>> {
        loop {
            tokio::select! {
                biased;
                Some((number, proven)) = self.proving.next() => {
                    self.unproven.remove(&number);
                    if let Some(accepted) = proven {
                        return Ok(self.let_in(accepted));
                    }
                }
                connected = self.listener.accept() => {
                    let (stream, _) = connected?;
                    self.begin(stream);
                }
            }
        }
    }
}
