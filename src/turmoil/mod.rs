//! The second opinion: the same scenarios on the stock turmoil simulator.
//!
//! Its executor and its network under the table, blobs, disk and processes of [`crate::sim`]. Choices mean the same, but
//! for the order of tasks, which turmoil gives no hold on (each host polls its own in the order of their wake-ups).
//!
//! Known of turmoil 0.7.2: the end of a stream is lost when exactly `tcp_capacity` segments are unread as the FIN
//! arrives, so the capacity is far above what a link has under way; latencies are whole milliseconds, so each is 1 ms.

use std::{
    cell::{Cell, RefCell},
    io,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    time::{Duration, SystemTime},
};

use futures_util::future::LocalBoxFuture;
use turmoil::net::{TcpListener, TcpStream};

use crate::{
    check::{Death, Event, NodeIndex},
    env::{Accepted, Env, Kill, LocalFuture, NodeName},
    sim::{
        choice::{Calm, DecisionLog},
        env::SimEnv,
        network::{Fabric, RawListener, RawStream},
        panics,
        run::{Params, Report, Stage, assemble, story},
        scenario::Scenario,
        world::{Spawner, World},
    },
};

/// Virtual time after which a run is given up. Idle time costs a step a millisecond here, so it is shorter than the
/// event-driven world's.
const HORIZON: Duration = Duration::from_secs(90 * 60);

const TICK: Duration = Duration::from_millis(1);

/// Segments that a socket holds unread; far above what a link has under way.
const TCP_CAPACITY: usize = 16_384;

/// Runs `scenario` once on stock turmoil, and judges it.
pub(crate) fn run(scenario: &Scenario, params: &Params, log: DecisionLog) -> Report {
    let clock = Rc::new(Cell::new(Duration::ZERO));
    let shown = Rc::clone(&clock);
    let world = World::new(params.nodes, log, move || {
        if let Some(now) = turmoil::sim_elapsed() {
            shown.set(now);
        }
        shown.get()
    });
    let spawner: Rc<dyn Spawner> = Rc::new(HostTasks { world: Rc::clone(&world) });
    let (cluster, hosts) = assemble(&world, params, &spawner, Rc::new(TurmoilFabric));
    let mut sim = builder().build();
    for (name, host) in world.cluster().iter().zip(hosts) {
        let host = RefCell::new(Some(host));
        sim.host(name.as_str(), move || {
            let host = host.borrow_mut().take().expect("no host is bounced");
            async move {
                host.await;
                Ok(())
            }
        });
    }
    let told = Rc::new(Cell::new(false));
    let story = Box::pin(story(*scenario, cluster.clone(), told));
    let watched = watched(Rc::clone(&world), None, "scenario".to_owned(), story);
    sim.client("client", async move {
        watched.await;
        Ok(())
    });
    if let Err(error) = sim.run() {
        world.record(None, Event::Stuck { waiting: vec![format!("the scenario: {error}")] });
    }
    cluster.record_final();
    Report::of(&world, world.elapsed())
}

/// See [`crate::sim::run::play`].
pub(crate) fn play<H: Future<Output = ()> + 'static>(
    mut stage: Stage,
    host: impl Fn(SimEnv) -> H + 'static,
    story: impl Future<Output = ()> + 'static,
) -> bool {
    let source = std::mem::replace(&mut stage.source, Box::new(Calm));
    let world = World::new(stage.nodes, DecisionLog::new(source), || turmoil::sim_elapsed().unwrap_or_default());
    let spawner: Rc<dyn Spawner> = Rc::new(HostTasks { world: Rc::clone(&world) });
    let fabric: Rc<dyn Fabric> = Rc::new(TurmoilFabric);
    let mut sim = builder().build();
    for env in stage.envs(&world, &spawner, &fabric) {
        let name = env.node().as_str().to_owned();
        let host = RefCell::new(Some(Box::pin(host(env))));
        sim.host(name, move || {
            let host = host.borrow_mut().take().expect("no host is bounced");
            async move {
                host.await;
                Ok(())
            }
        });
    }
    sim.client("client", async move {
        story.await;
        Ok(())
    });
    sim.run().is_ok()
}

fn builder() -> turmoil::Builder {
    let mut builder = turmoil::Builder::new();
    builder
        .epoch(SystemTime::UNIX_EPOCH)
        .rng_seed(0)
        .simulation_duration(HORIZON)
        .tick_duration(TICK)
        .min_message_latency(TICK)
        .max_message_latency(TICK)
        .tcp_capacity(TCP_CAPACITY);
    builder
}

/// Starts tasks on the host that is running.
struct HostTasks {
    world: Rc<World>,
}

impl Spawner for HostTasks {
    #[expect(clippy::disallowed_methods, reason = "this is what `Env::spawn` is made of in this world")]
    fn start(&self, node: Option<NodeIndex>, name: String, future: LocalFuture) -> Box<dyn Kill> {
        let task = tokio::task::spawn_local(watched(Rc::clone(&self.world), node, name, future));
        Box::new(Handle(task.abort_handle()))
    }

    fn horizon(&self) -> Duration {
        HORIZON
    }

    fn can_crash(&self) -> bool {
        // A crash there looks like a clean close, and the host's tasks cannot be told from those of its next life.
        false
    }

    fn crash(&self, _: NodeIndex, _: Death) {
        unreachable!("no life is cut short where nodes cannot crash");
    }

    fn revive(&self, _: NodeIndex) {
        unreachable!("no node dies where nodes cannot crash");
    }

    fn lose(&self, _: NodeIndex, _: NodeIndex, _: bool) {
        unreachable!("no packet is lost where nodes cannot crash");
    }
}

struct Handle(tokio::task::AbortHandle);

impl Kill for Handle {
    fn kill(&self) {
        self.0.abort();
    }
}

/// The task, whose panic is an event of the run.
async fn watched(world: Rc<World>, node: Option<NodeIndex>, task: String, mut future: LocalFuture) {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        task::Poll,
    };
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled,
        Err(panic) => {
            let event = Event::TaskPanicked { task: task.clone(), message: panics::message(&*panic) };
            world.record(node, event);
            Poll::Ready(())
        }
    })
    .await;
}

struct TurmoilFabric;

impl Fabric for TurmoilFabric {
    fn connect(&self, to: &NodeName, port: u16) -> LocalBoxFuture<'static, io::Result<RawStream>> {
        let to = to.to_string();
        Box::pin(async move { Ok(Box::new(TcpStream::connect((to, port)).await?) as RawStream) })
    }

    fn listen(&self, port: u16) -> LocalBoxFuture<'static, io::Result<Box<dyn RawListener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), port)).await?;
            Ok(Box::new(listener) as Box<dyn RawListener>)
        })
    }
}

impl RawListener for TcpListener {
    fn accept(&mut self) -> LocalBoxFuture<'_, io::Result<Accepted<RawStream>>> {
        Box::pin(async move {
            let (stream, address) = TcpListener::accept(self).await?;
            let peer = turmoil::reverse_lookup(address.ip()).expect("every host of the simulation has a name");
            Ok(Accepted { peer: peer.into(), stream: Box::new(stream) as RawStream })
        })
    }
}
