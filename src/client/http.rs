//! Requests to a node.

use std::{fmt, io, pin::Pin, str::FromStr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Body, Incoming},
    client::conn::http1,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use super::{Follow, Upload, upload::Failure};
use crate::{api::NODE_HEADER, real::spawn};

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long a node may take for an answer that is no stream, and for the head of one that is.
const ANSWER_WITHIN: Duration = Duration::from_secs(90);

/// The most bytes of such an answer.
const ANSWER_BYTES_MAX: usize = 512 * 1024 * 1024;

/// A request's body.
type RequestBody = Pin<Box<dyn Body<Data = Bytes, Error = io::Error>>>;

/// Where a node's API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl FromStr for Address {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let what = "write it as http://HOST:PORT";
        let parsed: Uri = url.parse().map_err(|_| what.to_owned())?;
        match (parsed.scheme_str(), parsed.authority(), parsed.path()) {
            (Some("http"), Some(authority), "/" | "") if parsed.query().is_none() => {
                let port = authority.port_u16().unwrap_or(80);
                Ok(Self(format!("{}:{port}", authority.host())))
            }
            (Some("https"), ..) => Err(format!("a node speaks plain http, through a tunnel if need be: {what}")),
            _ => Err(what.to_owned()),
        }
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// Why a node was not asked, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It cannot be reached.
    #[error("cannot reach {address}: {cause}; is the node running?")]
    Connect {
        /// Where.
        address: Address,
        /// What the system says.
        cause: io::Error,
    },
    /// The connection broke.
    #[error("the connection to {address} broke: {cause}")]
    Broken {
        /// To where.
        address: Address,
        /// How.
        cause: String,
    },
    /// What was to be sent could not be read.
    #[error("{0}")]
    Upload(String),
    /// The token holds what no header can.
    #[error("the token must be of printable characters, without spaces")]
    Token,
    /// The node refused.
    #[error("{message}")]
    Refused {
        /// The status code.
        status: StatusCode,
        /// What it says, and what to do.
        message: String,
        /// The error object, if it is one.
        error: Value,
    },
}

/// A node's API as an operator uses it.
#[derive(Clone)]
pub struct Client {
    address: Address,
    token: String,
}

impl Client {
    /// A client that shows `token`.
    pub fn new(address: Address, token: impl Into<String>) -> Self {
        Self { address, token: token.into() }
    }

    /// Where it asks.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Asks for an object.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn ask(&self, request: &Value) -> Result<Value, ClientError> {
        let asked = async {
            let response = self.send(self.request(request, "application/json")?).await?;
            let bytes = self.read(self.accepted(response).await?).await?;
            serde_json::from_slice(&bytes).map_err(|error| self.broken(format!("its answer is no JSON: {error}")))
        };
        timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Err(self.silent()))
    }

    /// Asks for a stream of events.
    ///
    /// # Errors
    /// See [`ClientError`]; a node that refuses answers with no stream.
    pub async fn follow(&self, request: &Value) -> Result<Follow, ClientError> {
        self.followed(self.request(request, "text/event-stream")?, Failure::default()).await
    }

    /// Deploys an upload, and asks for the stream of its events.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn upload(&self, upload: Upload) -> Result<Follow, ClientError> {
        let failure = upload.failure();
        let request = self.head("text/event-stream").header(CONTENT_TYPE, upload.media_type());
        let request = request.body(upload.into_body()).map_err(|_| ClientError::Token)?;
        let followed = self.followed(request, failure.clone()).await;
        match failure.told() {
            Some(cause) => Err(ClientError::Upload(cause)),
            None => followed,
        }
    }

    async fn followed(&self, request: Request<RequestBody>, failure: Failure) -> Result<Follow, ClientError> {
        // A node tells that it has begun before it reads a payload: an upload may take longer than its answer's head.
        let accepted = async { self.accepted(self.send(request).await?).await };
        let response = timeout(ANSWER_WITHIN, accepted).await.unwrap_or_else(|_| Err(self.silent()))?;
        let node = response.headers().get(NODE_HEADER).and_then(|name| name.to_str().ok());
        let node = node.map_or_else(|| self.address.to_string(), str::to_owned);
        Ok(Follow::new(node, response.into_body(), failure))
    }

    fn head(&self, accept: &str) -> hyper::http::request::Builder {
        let head =
            Request::builder().method(Method::POST).uri("/").header(HOST, &self.address.0).header(ACCEPT, accept);
        head.header(AUTHORIZATION, format!("Bearer {}", self.token))
    }

    fn request(&self, request: &Value, accept: &str) -> Result<Request<RequestBody>, ClientError> {
        let body = Full::new(Bytes::from(request.to_string())).map_err(io::Error::other);
        let request = self.head(accept).header(CONTENT_TYPE, "application/json").body(Box::pin(body) as RequestBody);
        request.map_err(|_| ClientError::Token)
    }

    /// One request on a connection of its own.
    async fn send(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, ClientError> {
        let connected = timeout(CONNECT_WITHIN, TcpStream::connect(&self.address.0)).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = connected.map_err(|cause| ClientError::Connect { address: self.address.clone(), cause })?;
        let broken = |error: hyper::Error| self.broken(innermost(&error));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It moves bytes for as long as the answer is read. What breaks it the answer's reader hears.
        spawn(async move { drop(connection.await) });
        sender.send_request(request).await.map_err(broken)
    }

    fn silent(&self) -> ClientError {
        self.broken(format!(
            "no answer within {} s; look at the node, and ask it for its deployments",
            ANSWER_WITHIN.as_secs()
        ))
    }

    fn broken(&self, cause: String) -> ClientError {
        ClientError::Broken { address: self.address.clone(), cause }
    }

    /// The response, unless it is a refusal.
    async fn accepted(&self, response: Response<Incoming>) -> Result<Response<Incoming>, ClientError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = self.read(response).await.unwrap_or_default();
        let error: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let message = match error["message"].as_str() {
            Some(message) => message.to_owned(),
            None => format!("{} answers {status}: is it a node of drydock?", self.address),
        };
        Err(ClientError::Refused { status, message, error })
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let read = body.collect().await.map_err(|error| self.broken(innermost(&*error)))?;
        Ok(read.to_bytes())
    }
}

/// The cause at the bottom: what hyper wraps around it says less.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Time that is paused comes with the simulated world.
    #[cfg(feature = "sim")]
    #[test]
    fn a_node_that_takes_a_request_and_says_nothing_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let story = async {
            // The system accepts for it.
            let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = Client::new(silent.local_addr().unwrap().into(), "a-token-of-this-test");
            client.follow(&serde_json::json!({ "operation": "get_deployment" })).await.err().unwrap().to_string()
        };
        let told = tokio::task::LocalSet::new().block_on(&runtime, story);
        assert!(told.contains("no answer within 90 s"), "{told}");
    }

    #[test]
    fn an_address_is_a_plain_url_of_a_host() {
        let read = |url: &str| url.parse::<Address>().map(|address| address.to_string());
        assert_eq!(read("http://127.0.0.1:9925").unwrap(), "http://127.0.0.1:9925");
        assert_eq!(read("http://[::1]:9925/").unwrap(), "http://[::1]:9925");
        for url in ["127.0.0.1:9925", "https://node:9925", "http://node:9925/x", "http://", "", "a b"] {
            assert!(read(url).is_err(), "{url}");
        }
    }
}
