//! A simulated node's network: raw streams of a fabric, with delays and cuts as choices.
//!
//! The design claims to survive any delay of any bytes (time-outs excepted, which are answers, not breaks), any cut of
//! reads and writes, and a connection that breaks at any of them. Delays are drawn by the reader when bytes reach it: to the
//! logic that is a slow network. Each fabric (turmoil-net, stock turmoil) only carries bytes.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    io, mem,
    ops::Range,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use futures_util::future::LocalBoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{
    choice::{Kind, step},
    world::World,
};
use crate::{
    check::{Event, Fault, NodeIndex},
    env::{Accepted, Duplex, Listener, Network, NodeName, Port},
};

/// A connection before choices are applied to it.
pub type RawStream = Box<dyn Duplex>;

/// Carries bytes between nodes; the node that acts is the one whose task runs.
pub trait Fabric {
    /// Connects to a node.
    fn connect(&self, to: &NodeName, port: u16) -> LocalBoxFuture<'static, io::Result<RawStream>>;
    /// Binds a port on every address of the acting node.
    fn listen(&self, port: u16) -> LocalBoxFuture<'static, io::Result<Box<dyn RawListener>>>;
}

/// A bound port of a fabric.
pub trait RawListener {
    /// The next connection, and who made it: by the address, which nobody can feign here.
    fn accept(&mut self) -> LocalBoxFuture<'_, io::Result<Accepted<RawStream>>>;
}

/// The most that one read takes from the fabric: all that a fabric's socket can hold unread. (turmoil-net 0.1 announces
/// a window that has opened only after a read of at least half of it; a reader that takes less could wait for ever. And the
/// side that accepts announces 65,535 bytes at first, whatever its socket can hold: what a smaller one does not hold is lost.)
pub const READ_BYTES_MAX: usize = 65_535;

/// Connections break at one of their first 144 reads and writes: those of a small deploy see not many more.
const RESET_AT_BOUND: u32 = 192;

/// Ports by purpose; another pair in each life, because the sockets of the last one may linger (a real node would set
/// `SO_REUSEADDR`).
pub(super) fn number(port: Port, lives_ended: u16) -> u16 {
    2 * lives_ended
        + match port {
            Port::Rows => 9925,
            Port::Operations => 9926,
        }
}

/// Which way bytes go that a node reads, and so which kind of delay they suffer.
fn delay_kind(port: Port, accepted: bool) -> Kind {
    match (port, accepted) {
        (Port::Rows, _) => Kind::RowsDelay,
        (Port::Operations, true) => Kind::OperationDelay,
        (Port::Operations, false) => Kind::AnswerDelay,
    }
}

/// A node's network; clones are handles to the same one.
#[derive(Clone)]
pub struct SimNetwork {
    world: Rc<World>,
    node: NodeIndex,
    fabric: Rc<dyn Fabric>,
    /// The subscriptions between this node and each other: those it made, and those it took.
    made: Subscriptions,
    taken: Subscriptions,
}

type Subscriptions = Rc<RefCell<BTreeMap<NodeIndex, Rc<Subscription>>>>;

/// All connections that ever were of one node's subscription to another, over all lives, on one side.
#[derive(Default)]
struct Subscription {
    links: Cell<u32>,
    /// The one in use: the last that a subscriber read from, or that was written to for one.
    used: Cell<u32>,
}

/// One of them.
struct SubscriptionLink {
    with: NodeIndex,
    number: u32,
    of: Rc<Subscription>,
}

impl SubscriptionLink {
    fn next(subscriptions: &Subscriptions, with: NodeIndex) -> Self {
        let of = Rc::clone(subscriptions.borrow_mut().entry(with).or_default());
        of.links.set(of.links.get() + 1);
        Self { with, number: of.links.get(), of }
    }

    /// Is it another one that is in use from now on?
    fn turns(&self) -> bool {
        self.of.used.replace(self.number) != self.number
    }
}

/// Which side of a subscription a stream is.
enum End {
    Subscriber(SubscriptionLink),
    Sender(SubscriptionLink),
    /// Of none.
    Other,
}

impl SimNetwork {
    /// The network of `node` over `fabric`.
    pub fn new(world: Rc<World>, node: NodeIndex, fabric: Rc<dyn Fabric>) -> Self {
        Self { world, node, fabric, made: Rc::default(), taken: Rc::default() }
    }

    fn stream(&self, raw: RawStream, delayed: Kind, end: End) -> SimStream {
        SimStream {
            raw,
            end,
            world: Rc::clone(&self.world),
            node: self.node,
            delayed,
            arrived: Arrived::empty(),
            under_way: None,
            ended: false,
            shut: false,
            breaks: None,
            has_first_words: false,
        }
    }

    /// Where a connection breaks that is made now, if it does.
    fn draw_break(&self, to: NodeIndex, port: Port) -> Option<Break> {
        let kind = match port {
            Port::Rows => Kind::RowsReset,
            Port::Operations => Kind::OperationReset,
        };
        let breaks = self.world.draw(Some(self.node), kind, 2) == 1;
        let left = || step(self.world.draw(Some(self.node), Kind::ResetAt, RESET_AT_BOUND));
        breaks.then(|| Break { to, port, left: left() })
    }
}

impl Network for SimNetwork {
    type Stream = SimStream;
    type Listener = SimListener;

    async fn connect(&self, node: &NodeName, port: Port) -> io::Result<SimStream> {
        let to = self.world.index_of(node).ok_or(io::ErrorKind::NotFound)?;
        self.world.record(Some(self.node), Event::Connecting { to, port });
        let breaks = self.draw_break(to, port);
        self.world.delay(self.node, Kind::Connect).await;
        let connected = self.fabric.connect(node, number(port, self.world.lives().ended(to))).await;
        if let Err(error) = &connected {
            self.world.record(Some(self.node), Event::ConnectFailed { to, port, error: error.to_string() });
        }
        let end = match port {
            Port::Rows => End::Subscriber(SubscriptionLink::next(&self.made, to)),
            Port::Operations => End::Other,
        };
        let mut stream = self.stream(connected?, delay_kind(port, false), end);
        stream.breaks = breaks;
        Ok(stream)
    }

    async fn listen(&self, port: Port) -> io::Result<SimListener> {
        let raw = self.fabric.listen(number(port, self.world.lives().ended(self.node))).await?;
        self.world.record(Some(self.node), Event::Listening { port });
        Ok(SimListener { raw, network: self.clone(), port })
    }
}

/// A bound port of a simulated node.
pub struct SimListener {
    raw: Box<dyn RawListener>,
    network: SimNetwork,
    port: Port,
}

impl Listener for SimListener {
    type Stream = SimStream;

    async fn accept(&mut self) -> io::Result<Accepted<SimStream>> {
        let Accepted { peer, stream } = self.raw.accept().await?;
        let subscriber = self.network.world.index_of(&peer).filter(|_| self.port == Port::Rows);
        let end = subscriber.map_or(End::Other, |with| End::Sender(SubscriptionLink::next(&self.network.taken, with)));
        let mut stream = self.network.stream(stream, delay_kind(self.port, true), end);
        stream.has_first_words = subscriber.is_some();
        Ok(Accepted { peer, stream })
    }
}

/// A connection as a simulated node sees it.
pub struct SimStream {
    raw: RawStream,
    end: End,
    world: Rc<World>,
    node: NodeIndex,
    delayed: Kind,
    /// Bytes that the fabric has delivered and the node has not read.
    arrived: Arrived,
    /// They may not be read before this is over.
    under_way: Option<Pin<Box<Sleep>>>,
    /// The end of the stream has been reached behind them.
    ended: bool,
    /// This side has ended its direction: to do so again is nothing.
    shut: bool,
    breaks: Option<Break>,
    /// A subscriber's first words are still to come.
    has_first_words: bool,
}

/// The break of a connection, on the side that made it.
struct Break {
    to: NodeIndex,
    port: Port,
    /// It comes with the last of so many reads and writes; 0 once it has.
    left: u32,
}

thread_local! {
    /// Buffers of connections that are closed: to clear a new one for each costs more than a small deploy.
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that have arrived and are not read.
struct Arrived {
    bytes: Vec<u8>,
    unread: Range<usize>,
}

impl Drop for Arrived {
    fn drop(&mut self) {
        BUFFERS.with_borrow_mut(|buffers| buffers.push(mem::take(&mut self.bytes)));
    }
}

impl Arrived {
    fn empty() -> Self {
        let used = BUFFERS.with_borrow_mut(Vec::pop);
        Self { bytes: used.unwrap_or_else(|| vec![0; READ_BYTES_MAX]), unread: 0..0 }
    }

    fn take(&mut self, length: usize) -> &[u8] {
        let start = self.unread.start;
        self.unread.start += length;
        &self.bytes[start..start + length]
    }
}

impl SimStream {
    /// Counts a read or write.
    ///
    /// # Errors
    /// Once the connection is broken: what is under way either way is lost.
    fn may_break(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(broken) = &mut self.breaks else { return Ok(()) };
        match broken.left {
            0 => {}
            // It was to come, and did not before all healed.
            _ if self.world.lives().healed() => return Ok(()),
            1 => {
                broken.left = 0;
                let fault = Fault::Reset { to: broken.to, port: broken.port };
                self.world.record(Some(self.node), Event::Fault(fault));
                // The other side sees an end, whatever comes of it here.
                let _ = Pin::new(&mut self.raw).poll_shutdown(cx);
            }
            _ => {
                broken.left -= 1;
                return Ok(());
            }
        }
        Err(io::ErrorKind::ConnectionReset.into())
    }

    /// Takes what the fabric has, and decides how long it was under way.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffer = ReadBuf::new(&mut self.arrived.bytes);
        ready!(Pin::new(&mut self.raw).poll_read(cx, &mut buffer))?;
        let length = buffer.filled().len();
        self.arrived.unread = 0..length;
        self.ended = length == 0;
        if let End::Subscriber(link) = &self.end
            && length > 0
            && link.turns()
        {
            self.world.record(Some(self.node), Event::Hears { of: link.with, link: link.number });
        }
        let first = mem::take(&mut self.has_first_words).then_some(Kind::FirstWords);
        let delays = first.into_iter().chain([self.delayed]);
        let delay = delays.filter_map(|kind| self.world.draw_delay(self.node, kind)).max();
        self.under_way = delay.map(|delay| Box::pin(sleep(delay)));
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for SimStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if me.arrived.unread.is_empty() && !me.ended {
            ready!(me.poll_fill(cx))?;
            me.may_break(cx)?;
        }
        if let Some(under_way) = &mut me.under_way {
            ready!(under_way.as_mut().poll(cx));
            me.under_way = None;
        }
        let offered = me.arrived.unread.len().min(buffer.remaining());
        let taken = me.world.draw_cut(me.node, Kind::ReadCut, offered);
        buffer.put_slice(me.arrived.take(taken));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        me.may_break(cx)?;
        let offered = me.world.draw_cut(me.node, Kind::WriteCut, bytes.len());
        let written = ready!(Pin::new(&mut me.raw).poll_write(cx, &bytes[..offered]))?;
        if let End::Sender(link) = &me.end
            && link.turns()
        {
            me.world.record(Some(me.node), Event::Speaks { to: link.with, link: link.number });
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().raw).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if !me.shut {
            ready!(Pin::new(&mut me.raw).poll_shutdown(cx))?;
            me.shut = true;
        }
        Poll::Ready(Ok(()))
    }
}
