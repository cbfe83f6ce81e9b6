//! Requests of the API: any body, cut anywhere, is the same form and payload or the same refusal, within the API's bounds;
//! and an upload of any bytes is read as it was sent. The first line of an input is the content type, the rest the body.

use drydock::api::{
    PAYLOAD,
    form::{Form, read},
    limits::FIELDS_MAX,
};
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::StreamBody;
use hyper::{
    Request,
    body::Frame,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::{Value, json};

use crate::pieces::{at_once, stream_of, whatever_the_cutting};

/// No byte of an input is its last one: a boundary of many cannot be hit by chance.
const BOUNDARY: &str = "it-is-not-in-the-payload-5d41402abc4b2a76b9719d911017c592";

pub(crate) fn check(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (media_type, body) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    if let Ok(media_type) = HeaderValue::from_bytes(media_type) {
        let asked = whatever_the_cutting(body, |pieces| ask(&media_type, pieces));
        is_within_its_bounds(&asked, body);
    }
    is_read_as_it_was_sent(bytes);
}

/// What a request comes to.
#[derive(Debug, PartialEq)]
struct Asked {
    fields: Value,
    payload: Option<Payload>,
}

#[derive(Debug, PartialEq)]
struct Payload {
    bytes: Vec<u8>,
    /// Why it broke off, and the status of a client's fault.
    ended: Result<(), (String, Option<u16>)>,
}

/// Asks with a body that comes in pieces; the error is a refusal's words.
fn ask(media_type: &HeaderValue, pieces: &[&[u8]]) -> Result<Asked, String> {
    let body = StreamBody::new(stream_of::<String>(pieces).map_ok(Frame::data));
    let mut request = Request::new(body);
    request.headers_mut().insert(CONTENT_TYPE, media_type.clone());
    at_once(async {
        let Form { fields, upload, fault } = read(request).await.map_err(|refusal| format!("{refusal:?}"))?;
        let Some(mut upload) = upload else { return Ok(Asked { fields, payload: None }) };
        let (mut bytes, mut ended) = (Vec::new(), Ok(()));
        while let Some(next) = upload.next().await {
            match next {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(error) => {
                    ended = Err((error.to_string(), fault.status().map(|status| status.as_u16())));
                    break;
                }
            }
        }
        // What broke off has no certain end: how much of it was handed on depends on how it came.
        if ended.is_err() {
            bytes.clear();
        }
        Ok(Asked { fields, payload: Some(Payload { bytes, ended }) })
    })
}

fn is_within_its_bounds(asked: &Result<Asked, String>, body: &[u8]) {
    let Ok(Asked { fields, payload }) = asked else { return };
    let fields = fields.as_object().expect("fields are an object");
    assert!(fields.get(PAYLOAD).is_none_or(Value::is_null), "a payload is a stream");
    if let Some(payload) = payload {
        assert!(fields.len() <= FIELDS_MAX);
        assert!(payload.bytes.len() < body.len());
        assert!(payload.bytes.is_empty() || contains(body, &payload.bytes), "a payload is what was sent, in one piece");
    }
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

fn is_read_as_it_was_sent(payload: &[u8]) {
    let project: String = payload.iter().map(|byte| char::from(b'a' + byte % 26)).collect();
    let head = |name: &str| format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
    let fields = format!("{}{project}\r\n{}", head("project"), head(PAYLOAD));
    let body = [fields.as_bytes(), payload, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat();
    let media_type = HeaderValue::from_str(&format!("multipart/form-data; boundary={BOUNDARY}"));
    let media_type = media_type.expect("a boundary of letters can stand in a header");
    let asked = whatever_the_cutting(&body, |pieces| ask(&media_type, pieces));
    let payload = Some(Payload { bytes: payload.to_vec(), ended: Ok(()) });
    assert_eq!(asked, Ok(Asked { fields: json!({ "project": project }), payload }));
}
