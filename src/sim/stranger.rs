//! A stranger: a host that is no member of the cluster, and connects to a node all the same.
//!
//! The design claims that such a host gets nothing but a refusal, whatever it says and whenever it comes: it is not asked what
//! it wants before it is known who it is, no operation of its is carried out, no row of the cluster goes to it, and none of its
//! comes in. Nor does it hold anything up: what it does not say, nobody waits for.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncWriteExt, split},
    time::{sleep, timeout},
};
use uuid::{Builder, Uuid};
use xxhash_rust::xxh3::xxh3_128;

use super::{
    choice::{DELAY_BOUND, Kind, delay_ms},
    component::Component,
    network::{Fabric, RawStream, number},
    world::World,
};
use crate::{
    check::{Event, NodeIndex},
    deploy::{
        operation::{CarriedPayload, Operation, PeerDeploy, PeerRestart},
        slots::ProjectName,
    },
    env::{Port, Position},
    replication::frame::{self, Frame, FrameError, FrameReader, FrameWriter, PROTOCOL},
};

/// The host's name.
pub(super) const STRANGER: &str = "stranger";

/// How long it listens for an answer: longer than any silence that the logic allows.
const LISTENS: Duration = Duration::from_secs(130);

/// The most frames that it takes.
const FRAMES_MAX: usize = 8;

/// What it says, in the order of the choice.
const WORDS: [Words; 8] = [
    Words::Subscribe,
    Words::Deploy,
    Words::DeployWithPayload,
    Words::Restart,
    Words::Noise,
    Words::HalfAFrame,
    Words::TooLongAFrame,
    Words::Nothing,
];

#[derive(Clone, Copy)]
enum Words {
    Subscribe,
    Deploy,
    DeployWithPayload,
    Restart,
    Noise,
    HalfAFrame,
    TooLongAFrame,
    Nothing,
}

impl Words {
    fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "a subscription",
            Self::Deploy => "a deploy",
            Self::DeployWithPayload => "a deploy with its payload",
            Self::Restart => "a restart",
            Self::Noise => "noise",
            Self::HalfAFrame => "half a frame",
            Self::TooLongAFrame => "the length of a frame that is too long",
            Self::Nothing => "nothing",
        }
    }
}

/// A stranger on its way to a node.
pub(super) struct Stranger {
    world: Rc<World>,
    fabric: Rc<dyn Fabric>,
    component: Component,
    late: Duration,
    to: NodeIndex,
    port: Port,
    words: Words,
}

impl Stranger {
    /// The stranger of this run, if one comes.
    pub(super) fn draw(world: &Rc<World>, fabric: &Rc<dyn Fabric>, component: &Component) -> Option<Self> {
        if world.draw(None, Kind::Stranger, 2) == 0 {
            return None;
        }
        let late = Duration::from_millis(delay_ms(world.draw(None, Kind::StrangerAt, DELAY_BOUND)));
        let door = world.draw(None, Kind::StrangerTo, 2 * world.cluster().len() as u32);
        Some(Self {
            world: Rc::clone(world),
            fabric: Rc::clone(fabric),
            component: component.clone(),
            late,
            to: NodeIndex((door / 2) as u8),
            port: if door.is_multiple_of(2) { Port::Operations } else { Port::Rows },
            words: WORDS[world.draw(None, Kind::StrangerSays, WORDS.len() as u32) as usize],
        })
    }

    /// Comes, says its words, and takes what it gets for them.
    pub(super) async fn come(self) {
        sleep(self.late).await;
        let port = number(self.port, self.world.lives().ended(self.to));
        let name = &self.world.cluster()[usize::from(self.to.0)];
        // A node that is down is none to be visited.
        let Ok(stream) = self.fabric.connect(name, port).await else { return };
        self.record(Event::StrangerSpeaks { port: self.port, says: self.words.as_str().into() });
        self.talk(stream).await;
    }

    fn record(&self, event: Event) {
        self.world.record(Some(self.to), event);
    }

    async fn talk(&self, stream: RawStream) {
        let (reader, mut writer) = split(stream);
        let listens = async {
            let mut reader = FrameReader::new(reader);
            for _ in 0..FRAMES_MAX {
                let Ok(Ok(bytes)) = timeout(LISTENS, reader.next()).await else { return };
                let what = frame::decode(&bytes).map_or("noise", |frame| name_of(&frame));
                self.record(Event::StrangerTold { port: self.port, what: what.into() });
            }
        };
        tokio::select! {
            biased;
            () = listens => {}
            // What cannot be said any more was refused.
            _ = async { let _ = self.say(&mut writer).await; sleep(LISTENS).await } => {}
        }
    }

    async fn say<W: tokio::io::AsyncWrite + Unpin>(&self, writer: &mut W) -> Result<(), FrameError> {
        match self.words {
            Words::Subscribe => {
                let hello = Frame::Subscribe { protocol: PROTOCOL, after: Position::default() };
                FrameWriter::new(writer).send(frame::encode(&hello)).await
            }
            Words::Deploy => ask(writer, &self.deploy(None).to_bytes()).await,
            Words::DeployWithPayload => {
                let Component { payload, payload_bytes, hash, .. } = &self.component;
                let carried = CarriedPayload { hash: hash.clone(), bytes: *payload_bytes, stamp: u64::MAX };
                ask(writer, &self.deploy(Some(carried)).to_bytes_with(payload)).await
            }
            Words::Restart => {
                let restart = PeerRestart { deployment_id: made_up(), project: self.project() };
                ask(writer, &Operation::RestartComponent(restart).to_bytes()).await
            }
            Words::Noise => Ok(writer.write_all(&noise()).await?),
            Words::HalfAFrame => Ok(writer.write_all(&[0, 0, 1, 0, 1, 2, 3]).await?),
            Words::TooLongAFrame => Ok(writer.write_all(&u32::MAX.to_be_bytes()).await?),
            Words::Nothing => Ok(()),
        }
    }

    fn project(&self) -> ProjectName {
        ProjectName::parse(&self.component.name).expect("a component's name is a project's")
    }

    fn deploy(&self, payload: Option<CarriedPayload>) -> Operation {
        Operation::DeployComponent(PeerDeploy {
            deployment_id: made_up(),
            project: self.project(),
            install_command: None,
            install_timeout: 60_000,
            deployment_timeout: 1_000,
            payload,
        })
    }
}

/// An id that no node gave.
fn made_up() -> Uuid {
    Builder::from_random_bytes(xxh3_128(b"made up").to_le_bytes()).into_uuid()
}

fn noise() -> Vec<u8> {
    (0..64u8).flat_map(|number| xxh3_128(&[number]).to_le_bytes()).collect()
}

async fn ask<W: tokio::io::AsyncWrite + Unpin>(writer: W, operation: &Bytes) -> Result<(), FrameError> {
    let mut writer = FrameWriter::new(writer);
    let begin = Frame::Operation { protocol: PROTOCOL, bytes: operation.len() as u64 };
    let parts = operation.chunks(frame::CHUNK_BYTES_MAX).map(Frame::OperationPart);
    for frame in std::iter::once(begin).chain(parts) {
        writer.send(frame::encode(&frame)).await?;
    }
    Ok(())
}

fn name_of(frame: &Frame<'_>) -> &'static str {
    match frame {
        Frame::Closing(_) => "refusal",
        Frame::Row { .. } => "row",
        Frame::BlobBegin(_) | Frame::BlobChunk { .. } | Frame::BlobEnd { .. } | Frame::BlobFailed { .. } => "blob",
        Frame::Ping => "sign of life",
        Frame::Note { .. } => "note",
        Frame::Answer(_) => "answer",
        Frame::Subscribe { .. } | Frame::Operation { .. } | Frame::OperationPart(_) => "question",
    }
}
