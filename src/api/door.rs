//! Who comes in: connections, how many there may be, and how long each may take.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    time::Duration,
};

use futures_util::FutureExt;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;

use super::{
    Token,
    answer::{Answer, Refusal},
    limits::{ANSWER_UNREAD_MAX, HEAD_BYTES_MAX, HEAD_WITHIN, HEADERS_MAX, LINGER_MAX, REQUESTS_MAX, UNPROVEN_MAX},
    service::Service,
    share::{Place, Share},
};
use crate::{
    deploy::node::Node,
    env::{Env, Task},
    real::RealEnv,
};

/// The pause before the next connection is taken when the system has none to give (too many open files).
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// What is read at a time from a client that still sends behind its answer.
const DISCARDED_BYTES: usize = 16 * 1024;

/// A connection that breaks when its client leaves an answer unread.
type Patient = Pin<Box<TimeoutStream<TcpStream>>>;

/// A bound API.
pub struct Door {
    listener: TcpListener,
    guests: Rc<Guests>,
}

/// Those who are in.
struct Guests {
    service: Service,
    /// Connections that have not shown the token yet, the oldest first.
    unproven: RefCell<BTreeMap<u64, Task<()>>>,
    /// For each connection whose request is carried out.
    requests: Share,
}

impl Door {
    /// Binds the API of a node.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(env: &RealEnv, node: Rc<Node<RealEnv>>, address: SocketAddr, token: Token) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let service = Service::new(env.clone(), node, token);
        let guests = Guests { service, unproven: RefCell::default(), requests: Share::of(REQUESTS_MAX) };
        Ok(Self { listener, guests: Rc::new(guests) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves for as long as it is polled. What is under way when it is dropped goes on.
    pub async fn serve(self) -> Infallible {
        for number in 0.. {
            let stream = loop {
                match self.listener.accept().await {
                    Ok((stream, _)) => break stream,
                    // One that broke off before it was taken, or no file left to take it with.
                    Err(_) => sleep(PAUSE_AFTER_FAILURE).await,
                }
            };
            self.guests.take(number, stream);
        }
        unreachable!("connections are counted in 64 bits")
    }
}

impl Guests {
    /// Takes a connection in, in the place of the oldest unproven one if there are too many.
    fn take(self: &Rc<Self>, number: u64, stream: TcpStream) {
        let guests = Rc::clone(self);
        let serving = self.service.env.spawn(format!("API connection {number}"), async move {
            guests.serve(number, stream).await;
            guests.unproven.borrow_mut().remove(&number);
        });
        let mut unproven = self.unproven.borrow_mut();
        unproven.insert(number, serving);
        if unproven.len() > UNPROVEN_MAX {
            unproven.pop_first();
        }
    }

    /// Serves a connection's request; there is one on each.
    async fn serve(self: &Rc<Self>, number: u64, stream: TcpStream) {
        // Small answers must not wait for more to come. A connection that broke is noticed when it is read.
        let _ = stream.set_nodelay(true);
        let mut connection = http1::Builder::new();
        connection
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .keep_alive(false)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX);
        // Under way until its client has all of the answer, or is gone.
        let under_way = Rc::new(Cell::new(None));
        let service = service_fn(|request: Request<Incoming>| {
            let (guests, under_way) = (Rc::clone(self), Rc::clone(&under_way));
            async move { Ok::<Answer, Infallible>(guests.answer(number, &under_way, request).await) }.boxed_local()
        });
        let served = connection.serve_connection(TokioIo::new(patient(stream)), service).without_shutdown();
        // A client that broke the rules or left is its own affair: it has been answered, or is gone.
        let served = served.await;
        drop(under_way.take());
        if let Ok(parts) = served {
            linger(parts.io.into_inner()).await;
        }
    }

    async fn answer(&self, number: u64, under_way: &Cell<Option<Place>>, request: Request<Incoming>) -> Answer {
        if self.service.is_proven(request.headers()) {
            // It has shown who it is: it gives way to nobody any more.
            if let Some(proven) = self.unproven.borrow_mut().remove(&number) {
                proven.detach();
            }
            let Some(place) = self.requests.take() else {
                let message = format!("{REQUESTS_MAX} requests are under way: try again when one of them is over");
                return self.service.refuse(Refusal::too_many("too_many_requests", message));
            };
            under_way.set(Some(place));
        }
        // Who does not show the token is refused there.
        self.service.answer(request).await
    }
}

fn patient(stream: TcpStream) -> Patient {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(ANSWER_UNREAD_MAX));
    Box::pin(stream)
}

/// Ends a connection so that a client that still sends can read its answer: closed with bytes unread, it would be reset.
async fn linger(mut stream: Patient) {
    let discard = async {
        let _ = stream.shutdown().await;
        let mut discarded = vec![0; DISCARDED_BYTES];
        while stream.read(&mut discarded).await.is_ok_and(|bytes| bytes > 0) {}
    };
    // Whoever sends on for longer does not listen.
    let _ = timeout(LINGER_MAX, discard).await;
}
