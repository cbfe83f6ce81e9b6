//! The simulated network's fabric: `turmoil-net`, the turmoil project's socket stack, driven by our executor.
//!
//! Each packet takes 1 ms. Everything less regular (delays, cuts) is a choice, and is made where a node reads and writes
//! its streams (`network.rs`), so that it is the same in every simulated world.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;
use turmoil_net::{
    EnterGuard, HostId, KernelConfig, Net, Packet, Transport,
    shim::tokio::net::{TcpListener, TcpStream},
};

use super::{
    network::{Fabric, READ_BYTES_MAX, RawListener, RawStream},
    stranger::STRANGER,
};
use crate::{
    check::NodeIndex,
    env::{Accepted, NodeName},
};

const LATENCY: Duration = Duration::from_millis(1);

/// One segment holds what the TCP window allows.
const MTU_BYTES: u32 = 65_536 + 40;

/// All hosts' network stacks, and the packets between them. One at a time on a thread.
pub struct Wire {
    guard: Rc<EnterGuard>,
    hosts: Vec<HostId>,
    in_flight: VecDeque<(Instant, Packet)>,
    outgoing: Vec<Packet>,
    addresses: Vec<IpAddr>,
    /// Nodes from and to which no packet gets through.
    silent: Vec<NodeIndex>,
    /// Ways on which packets are lost: from, to.
    lossy: Vec<(NodeIndex, NodeIndex)>,
    /// Something has happened since the hosts were last asked what they send.
    stirred: bool,
}

impl Wire {
    /// A host for each node, and behind them one for a stranger; the harness itself acts as the first.
    pub fn new(cluster: &[NodeName]) -> Self {
        // Retransmission counts egress passes, not time, and nothing is ever lost: keep it out of the way.
        let config = KernelConfig::default()
            .mtu(MTU_BYTES)
            .recv_buf_cap(READ_BYTES_MAX)
            .retx_threshold(u32::MAX)
            .retx_max(u32::MAX);
        let mut net = Net::with_config(config);
        let names = || cluster.iter().map(NodeName::as_str).chain([STRANGER]);
        let hosts = names().map(|name| net.add_host(name)).collect();
        let addresses = names().map(|name| net.lookup(name)).collect();
        Self {
            guard: Rc::new(net.enter()),
            hosts,
            in_flight: VecDeque::new(),
            outgoing: Vec::new(),
            addresses,
            silent: Vec::new(),
            lossy: Vec::new(),
            stirred: true,
        }
    }

    /// Connections between the hosts of `cluster`, which this wire was made for.
    pub fn fabric(&self, cluster: &[NodeName]) -> WireFabric {
        let names = cluster.iter().cloned().chain([STRANGER.into()]);
        WireFabric { names: Rc::new(self.addresses.iter().copied().zip(names).collect()) }
    }

    /// From now on no packet from or to `node` gets through; what it has sent is on its way.
    pub fn silence(&mut self, node: NodeIndex) {
        self.collect(Instant::now());
        self.silent.push(node);
        self.stirred = true;
    }

    /// What `node` says now as its connections close, it says as resets.
    pub fn reset(&mut self, node: NodeIndex) {
        let sent = self.in_flight.len();
        self.stirred = true;
        self.collect(Instant::now());
        let address = self.addresses[usize::from(node.0)];
        let last = self.in_flight.iter_mut().skip(sent).map(|(_, packet)| packet);
        for packet in last.filter(|packet| packet.src == address) {
            if let Transport::Tcp(segment) = &mut packet.payload {
                segment.flags.rst = true;
                segment.payload.clear();
            }
        }
    }

    /// Packets from and to `node` get through again. What its last life still had to say is lost.
    pub fn revive(&mut self, node: NodeIndex) {
        self.collect(Instant::now());
        self.silent.retain(|silent| *silent != node);
    }

    /// From now on packets of `from` to `to` are lost, or get through again.
    pub fn lose(&mut self, from: NodeIndex, to: NodeIndex, lost: bool) {
        self.collect(Instant::now());
        self.lossy.retain(|way| *way != (from, to));
        if lost {
            self.lossy.push((from, to));
        }
    }

    fn is_lost(&self, packet: &Packet) -> bool {
        let address = |node: &NodeIndex| self.addresses[usize::from(node.0)];
        self.silent.iter().any(|node| packet.src == address(node) || packet.dst == address(node))
            || self.lossy.iter().any(|(from, to)| packet.src == address(from) && packet.dst == address(to))
    }

    /// What happens next happens on `node`.
    pub fn enter(&mut self, node: Option<NodeIndex>) {
        self.stirred = true;
        self.guard.set_current(self.hosts[node.map_or(0, |node| usize::from(node.0))]);
    }

    /// Delivers the packets that have arrived by `now`.
    pub fn deliver(&mut self, now: Instant) {
        while let Some((_, packet)) = self.in_flight.pop_front_if(|(at, _)| *at <= now) {
            self.stirred = true;
            let lost = self.silent.iter().any(|node| packet.dst == self.addresses[usize::from(node.0)]);
            if !lost {
                self.guard.deliver(packet);
            }
        }
    }

    /// Takes what the hosts have sent on its way; false when there was nothing.
    pub fn collect(&mut self, now: Instant) -> bool {
        if !std::mem::take(&mut self.stirred) {
            return false;
        }
        self.guard.egress_all(&mut self.outgoing);
        let any = !self.outgoing.is_empty();
        for packet in std::mem::take(&mut self.outgoing) {
            if !self.is_lost(&packet) {
                self.in_flight.push_back((now + LATENCY, packet));
            }
        }
        any
    }

    /// When the next packet arrives.
    pub fn next_delivery(&self) -> Option<Instant> {
        self.in_flight.front().map(|(at, _)| *at)
    }
}

/// Connections over the wire.
pub struct WireFabric {
    /// Whose address is whose.
    names: Rc<BTreeMap<IpAddr, NodeName>>,
}

impl Fabric for WireFabric {
    fn connect(&self, to: &NodeName, port: u16) -> LocalBoxFuture<'static, io::Result<RawStream>> {
        let address = format!("{to}:{port}");
        Box::pin(async move { Ok(Box::new(TcpStream::connect(address).await?) as RawStream) })
    }

    fn listen(&self, port: u16) -> LocalBoxFuture<'static, io::Result<Box<dyn RawListener>>> {
        let names = Rc::clone(&self.names);
        Box::pin(async move {
            let listener = TcpListener::bind(format!("0.0.0.0:{port}")).await?;
            Ok(Box::new(WireListener { listener, names }) as Box<dyn RawListener>)
        })
    }
}

struct WireListener {
    listener: TcpListener,
    names: Rc<BTreeMap<IpAddr, NodeName>>,
}

impl RawListener for WireListener {
    fn accept(&mut self) -> LocalBoxFuture<'_, io::Result<Accepted<RawStream>>> {
        Box::pin(async move {
            let (stream, address) = self.listener.accept().await?;
            let peer = self.names.get(&address.ip()).expect("every host on the wire has a name").clone();
            Ok(Accepted { peer, stream: Box::new(stream) as RawStream })
        })
    }
}
