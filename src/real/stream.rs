//! A connection of a real node, and which of several connections between two nodes are in use.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::trace::Recorder;
use crate::check::{Event, NodeIndex};

/// The subscriptions between a node and each other, in this life: those it made, and those it took.
#[derive(Default)]
pub(super) struct Links {
    made: Subscriptions,
    taken: Subscriptions,
}

type Subscriptions = RefCell<BTreeMap<NodeIndex, Rc<Subscription>>>;

/// All connections of one node's subscription to another, on one side.
#[derive(Default)]
struct Subscription {
    links: Cell<u32>,
    /// The last that a subscriber read from, or that was written to for one.
    used: Cell<u32>,
}

/// One of them.
pub(super) struct SubscriptionLink {
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

impl Links {
    pub(super) fn made(&self, with: NodeIndex) -> SubscriptionLink {
        SubscriptionLink::next(&self.made, with)
    }

    pub(super) fn taken(&self, with: NodeIndex) -> SubscriptionLink {
        SubscriptionLink::next(&self.taken, with)
    }
}

/// Which side of a subscription a connection is.
pub(super) enum Link {
    Subscriber(SubscriptionLink),
    Sender(SubscriptionLink),
    /// Of none.
    Other,
}

/// A connection between two members.
pub struct RealStream {
    stream: TcpStream,
    link: Link,
    recorder: Recorder,
}

impl RealStream {
    pub(super) fn new(stream: TcpStream, link: Link, recorder: Recorder) -> Self {
        Self { stream, link, recorder }
    }
}

impl AsyncRead for RealStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut me.stream).poll_read(cx, buffer))?;
        if let Link::Subscriber(link) = &me.link
            && buffer.filled().len() > before
            && link.turns()
        {
            me.recorder.record(&Event::Hears { of: link.with, link: link.number });
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RealStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let written = ready!(Pin::new(&mut me.stream).poll_write(cx, bytes))?;
        if let Link::Sender(link) = &me.link
            && link.turns()
        {
            me.recorder.record(&Event::Speaks { to: link.with, link: link.number });
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
