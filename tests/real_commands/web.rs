//! HTTP by hand, so that a test says what stands on the wire.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use drydock::api::sse::{Message, Reader};
use serde_json::{Value, json};

use super::nodes::{PATIENCE, TOKEN};

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = &bytes[end + 4..];
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Self { status, head, body: if is_chunked { joined(body) } else { body.to_vec() } }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("an object, not {self:?}"))
    }

    /// Its code, and what it says.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["message"].as_str().unwrap().to_owned())
    }

    pub(crate) fn messages(&self) -> Vec<Message> {
        let mut messages = Vec::new();
        Reader::default().push(&self.body, |message| messages.push(message)).unwrap();
        messages
    }
}

/// Chunks put together, up to where they break off.
fn joined(mut body: &[u8]) -> Vec<u8> {
    let mut joined = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        let Some(chunk) = body.get(end + 2..end + 2 + size) else { break };
        joined.extend_from_slice(chunk);
        body = body.get(end + 4 + size..).unwrap_or_default();
    }
    joined
}

pub(crate) fn connect(api: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(api).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All that comes until the node closes.
pub(crate) fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset behind the answer takes nothing of it back.
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

/// Sends bytes as they are, and reads the answer.
pub(crate) fn exchange(api: SocketAddr, bytes: &[u8]) -> Response {
    let mut stream = connect(api);
    // A node that refuses early may stop to read.
    let _ = stream.write_all(bytes);
    Response::parse(&read_all(&mut stream))
}

/// Sends the beginning of something, says that no more comes, and leaves.
pub(crate) fn leave_behind(api: SocketAddr, bytes: &[u8]) {
    let mut stream = connect(api);
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    read_all(&mut stream);
}

pub(crate) fn head(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {TOKEN}\r\n{headers}\r\n")
}

pub(crate) fn json_request(request: &Value, accept: &str) -> Vec<u8> {
    let body = request.to_string();
    let headers = format!("Accept: {accept}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    (head("POST", "/", &headers) + &body).into_bytes()
}

pub(crate) fn ask(api: SocketAddr, request: &Value, accept: &str) -> Response {
    exchange(api, &json_request(request, accept))
}

/// Does a node answer?
pub(crate) fn answers(api: SocketAddr) -> bool {
    TcpStream::connect(api).is_ok() && ask(api, &json!({ "operation": "list_deployments" }), "*/*").status == 200
}

/// The parts of an upload, in this order.
pub(crate) fn upload_request(parts: &[(&str, &[u8])], accept: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in parts {
        body.extend(format!("--cut\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").bytes());
        body.extend_from_slice(bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--cut--\r\n");
    let headers = format!(
        "Accept: {accept}\r\nContent-Type: multipart/form-data; boundary=cut\r\nContent-Length: {}\r\n",
        body.len()
    );
    [head("POST", "/", &headers).into_bytes(), body].concat()
}

pub(crate) fn deploy(api: SocketAddr, project: &str, payload: &[u8], accept: &str) -> Response {
    let parts = [("operation", &b"deploy_component"[..]), ("project", project.as_bytes()), ("payload", payload)];
    exchange(api, &upload_request(&parts, accept))
}
