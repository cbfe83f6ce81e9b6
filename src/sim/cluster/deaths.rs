//! How nodes of a cluster die and come back, how packets between them are lost for a while, and how long nodes are paused.

use std::{
    rc::{Rc, Weak},
    time::Duration,
};

use tokio::time::sleep;

use super::{Cluster, Inner, host};
use crate::{
    check::{Death, Event, Fault, NodeIndex},
    sim::{
        choice::{Kind, PAUSE_BOUND, pause_ms},
        lives::Fates,
    },
};

/// How long packets are lost at least.
const PARTITION_MIN: Duration = Duration::from_secs(1);

/// How long a node is down at least.
const DOWNTIME_MIN: Duration = Duration::from_millis(1);

/// Whatever befalls a node befalls it in this cluster.
struct InCluster(Weak<Inner>);

impl InCluster {
    fn cluster(&self) -> Option<Cluster> {
        self.0.upgrade().map(Cluster)
    }
}

impl Fates for InCluster {
    fn die(&self, node: NodeIndex, death: Death) {
        if let Some(cluster) = self.cluster() {
            cluster.bury(node, death);
        }
    }

    fn lose_packets(&self, node: NodeIndex) {
        if let Some(cluster) = self.cluster() {
            cluster.lose_packets(node);
        }
    }

    fn pause(&self, node: NodeIndex) {
        if let Some(cluster) = self.cluster() {
            cluster.pause(node);
        }
    }
}

impl Cluster {
    /// Lets nodes die, as the choices say, and brings each back after its time down. For worlds that can.
    pub(in crate::sim) fn let_nodes_die(&self) {
        let world = &self.0.world;
        world.lives().watch(InCluster(Rc::downgrade(&self.0)));
        (0..self.nodes()).for_each(|node| world.begin_life(NodeIndex(node)));
    }

    /// A node dies at this moment, in the manner that the choice says. Nothing where nodes cannot die.
    pub fn crash(&self, node: NodeIndex) {
        if self.0.spawner.can_crash() {
            self.0.world.crash(node);
        }
    }

    /// A node dies at this moment, in this manner. Nothing where nodes cannot die.
    pub fn crash_by(&self, node: NodeIndex, death: Death) {
        if self.0.spawner.can_crash() {
            self.0.world.crash_by(node, death);
        }
    }

    /// A node has died: its tasks go, its door is closed, and after a while it starts again.
    fn bury(&self, node: NodeIndex, death: Death) {
        self.0.doors.borrow_mut()[usize::from(node.0)] = None;
        self.0.spawner.crash(node, death);
        if death == Death::PowerLoss {
            self.0.envs[usize::from(node.0)].lose_power();
        }
        let cluster = self.clone();
        let back = async move {
            cluster.time_down(node).await;
            cluster.restart(node);
        };
        self.0.spawner.start(None, format!("{node} comes back"), Box::pin(back)).detach();
    }

    /// Packets between a node and another are lost for a while, as the choices say.
    fn lose_packets(&self, node: NodeIndex) {
        let Inner { world, spawner, .. } = &*self.0;
        let others = self.others(node);
        let who = world.draw(Some(node), Kind::PartitionWho, 3 * others.len() as u32);
        let Some(other) = others.get(who as usize / 3).copied() else { return };
        let ways = [(node, other), (other, node)];
        let ways = match who % 3 {
            0 => &ways[..],
            1 => &ways[..1],
            _ => &ways[1..],
        }
        .to_vec();
        let time = PARTITION_MIN + world.draw_delay(node, Kind::PartitionTime).unwrap_or_default();
        for (from, to) in ways.clone() {
            world.record(Some(from), Event::Fault(Fault::Lost { to, ms: time.as_millis() as u64 }));
            spawner.lose(from, to, true);
        }
        let (world, mending) = (Rc::clone(world), Rc::clone(spawner));
        let mend = async move {
            tokio::select! {
                biased;
                () = world.lives().until_healed() => {}
                () = sleep(time) => {}
            }
            ways.into_iter().for_each(|(from, to)| mending.lose(from, to, false));
        };
        spawner.start(None, format!("packets of {node} get through"), Box::pin(mend)).detach();
    }

    /// A node is paused for as long as the choice says, or until it dies.
    fn pause(&self, node: NodeIndex) {
        let Inner { world, spawner, .. } = &*self.0;
        let life = world.lives().ended(node);
        let ms = pause_ms(world.draw(Some(node), Kind::PauseTime, PAUSE_BOUND));
        if !world.lives().is_alive(node) {
            // It died at this very step.
            return;
        }
        world.record(Some(node), Event::Fault(Fault::Paused { ms }));
        let world = Rc::clone(world);
        let resume = async move {
            tokio::select! {
                biased;
                () = world.lives().until_healed() => {}
                () = sleep(Duration::from_millis(ms)) => {}
            }
            if world.lives().ended(node) == life {
                world.lives().resume(node);
            }
        };
        spawner.start(None, format!("{node} goes on"), Box::pin(resume)).detach();
    }

    async fn time_down(&self, node: NodeIndex) {
        let world = &self.0.world;
        let down = world.draw_delay(node, Kind::Downtime).unwrap_or(DOWNTIME_MIN);
        tokio::select! {
            biased;
            () = world.lives().until_healed() => {}
            () = sleep(down) => {}
        }
    }

    fn restart(&self, node: NodeIndex) {
        let Inner { world, envs, spawner, doors, .. } = &*self.0;
        world.record(Some(node), Event::Restarted);
        spawner.revive(node);
        let env = &envs[usize::from(node.0)];
        env.reborn();
        world.begin_life(node);
        let (door, run) = host(env.clone());
        doors.borrow_mut()[usize::from(node.0)] = Some(door);
        spawner.start(Some(node), "node".to_owned(), Box::pin(run)).detach();
    }
}
