//! One simulated node: the seam's devices, put together.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use serde_json::Value;
use uuid::{Builder, Uuid};
use xxhash_rust::xxh3::xxh3_128;

use super::{
    blobs::SimBlobs,
    disk::SimDisk,
    network::{Fabric, SimNetwork},
    process::{HANGS_TAKE, Scripts, SimProcesses},
    serving::SimServing,
    table::SimTable,
    world::{Spawner, World},
};
use crate::{
    check::{Event, NodeFinal, NodeIndex},
    env::{Beats, Env, Journal, Kill, LocalFuture, NodeName},
};

/// A simulated node; clones are handles to the same one.
#[derive(Clone)]
pub struct SimEnv(Rc<Node>);

struct Node {
    world: Rc<World>,
    index: NodeIndex,
    tasks: Rc<dyn Spawner>,
    network: SimNetwork,
    table: SimTable,
    blobs: SimBlobs,
    disk: SimDisk,
    processes: SimProcesses,
    serving: SimServing,
    ids: Cell<u32>,
    /// The most that each queue has held, over all lives.
    held: RefCell<BTreeMap<&'static str, usize>>,
}

impl SimEnv {
    /// A fresh node of `world`.
    pub fn new(
        world: &Rc<World>,
        index: NodeIndex,
        tasks: Rc<dyn Spawner>,
        fabric: Rc<dyn Fabric>,
        scripts: Rc<RefCell<Rc<Scripts>>>,
    ) -> Self {
        let disk = SimDisk::new(Rc::clone(world), index);
        Self(Rc::new(Node {
            index,
            network: SimNetwork::new(Rc::clone(world), index, fabric),
            table: SimTable::new(Rc::clone(world), index, Rc::clone(&tasks)),
            blobs: SimBlobs::new(Rc::clone(world), index),
            processes: SimProcesses::new(Rc::clone(world), index, disk.clone(), scripts, tasks.horizon() >= HANGS_TAKE),
            serving: SimServing::new(Rc::clone(world), index, disk.clone()),
            disk,
            world: Rc::clone(world),
            tasks,
            ids: Cell::new(0),
            held: RefCell::default(),
        }))
    }

    /// Its place in the cluster.
    pub fn index(&self) -> NodeIndex {
        self.0.index
    }

    /// A new life begins: memory is gone, what the devices took is there.
    pub fn reborn(&self) {
        self.0.serving.forget();
        self.0.table.reopen();
    }

    /// The power goes: of what no device had made durable, a part goes with it.
    pub fn lose_power(&self) {
        let loss = self.0.world.draw_loss(self.0.index);
        self.0.disk.lose_power(loss);
        self.0.blobs.lose_power(loss);
    }

    /// What it holds now.
    pub fn holdings(&self) -> NodeFinal {
        NodeFinal {
            rows: self.0.table.rows(),
            blobs: self.0.blobs.states(),
            live: self.0.disk.live_builds(),
            leftovers: self.leftovers(),
            processes: self.0.processes.running(),
            served: self.0.serving.all(),
        }
    }
}

impl SimEnv {
    /// What is staged, links that never went live, and builds that no link leads to and that are not served.
    fn leftovers(&self) -> Vec<String> {
        let disk = &self.0.disk;
        let links = self.within("components");
        let live: Vec<String> = links.iter().map(|link| disk.resolve(link)).collect();
        let builds = self.within("builds").into_iter().flat_map(|project| self.within(&project));
        let dead_links = links.into_iter().filter(|link| link.starts_with("components/."));
        let served = self.0.serving.all();
        let is_served = |build: &str| served.values().any(|served| build.ends_with(&served.to_string()));
        let unused = builds.filter(|build| !live.contains(build) && !is_served(build));
        self.within("staging").into_iter().chain(dead_links).chain(unused).collect()
    }

    fn within(&self, folder: &str) -> Vec<String> {
        self.0.disk.names(folder).into_iter().map(|name| format!("{folder}/{name}")).collect()
    }
}

impl Env for SimEnv {
    type Network = SimNetwork;
    type Table = SimTable;
    type Blobs = SimBlobs;
    type Disk = SimDisk;
    type Processes = SimProcesses;
    type Serving = SimServing;

    fn node(&self) -> &NodeName {
        &self.0.world.cluster()[usize::from(self.0.index.0)]
    }

    fn members(&self) -> Vec<NodeName> {
        let members = self.0.world.membership().known_to(self.0.index);
        self.0.world.record(Some(self.0.index), Event::MembersRead(members.clone()));
        members.into_iter().map(|member| self.0.world.cluster()[usize::from(member.0)].clone()).collect()
    }

    fn members_changed(&self) -> Beats {
        self.0.world.membership().watch(self.0.index)
    }

    fn setting(&self, name: &str) -> Option<Value> {
        self.0.world.setting(name)
    }

    fn wall_clock_ms(&self) -> u64 {
        self.0.world.wall_clock_ms(self.0.index)
    }

    fn fresh_id(&self) -> Uuid {
        let count = self.0.ids.replace(self.0.ids.get() + 1);
        let seed = [&[self.0.index.0][..], &count.to_le_bytes()].concat();
        Builder::from_random_bytes(xxh3_128(&seed).to_le_bytes()).into_uuid()
    }

    fn network(&self) -> &SimNetwork {
        &self.0.network
    }

    fn table(&self) -> &SimTable {
        &self.0.table
    }

    fn blobs(&self) -> &SimBlobs {
        &self.0.blobs
    }

    fn disk(&self) -> &SimDisk {
        &self.0.disk
    }

    fn processes(&self) -> &SimProcesses {
        &self.0.processes
    }

    fn serving(&self) -> &SimServing {
        &self.0.serving
    }

    fn journal(&self, entry: Journal) {
        self.0.world.record(Some(self.0.index), Event::Journal(entry));
    }

    fn holds(&self, queue: &'static str, bytes: usize, item_bytes: usize) {
        let mut held = self.0.held.borrow_mut();
        let most = held.entry(queue).or_default();
        if bytes > *most {
            *most = bytes;
            let event = Event::Holds { queue: queue.into(), bytes: bytes as u64, item_bytes: item_bytes as u64 };
            self.0.world.record(Some(self.0.index), event);
        }
    }

    fn start(&self, name: String, future: LocalFuture) -> Box<dyn Kill> {
        self.0.tasks.start(Some(self.0.index), name, future)
    }
}
