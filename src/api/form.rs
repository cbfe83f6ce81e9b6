//! What a request asks for: a JSON object, or an upload whose last part is the payload.
//!
//! The fields are held, within their bound; the payload is a stream, which the deploy reads at its own pace.

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use hyper::{Request, StatusCode, header::CONTENT_TYPE};
use multer::{Field, Multipart};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{
    PAYLOAD,
    answer::Refusal,
    body::{self, Allowance, BodyError, Incoming},
    limits::{FIELDS_BYTES_MAX, FIELDS_MAX, FIELDS_WITHIN, FRAMING_BYTES_MAX, PAYLOAD_BYTES_MAX},
};
use crate::deploy::recorder::{Upload, UploadError};

/// What a client must know whose fields come behind its payload.
pub(super) const PAYLOAD_LAST: &str = "fields behind `payload` are not read; send `payload` as the last part";

/// What is said too when an upload's fields are not taken.
pub(super) fn hint(upload: &Option<Upload>) -> Option<&'static str> {
    upload.is_some().then_some(PAYLOAD_LAST)
}

/// A request as it was read.
pub struct Form {
    /// Its fields, as the logic parses them.
    pub fields: Value,
    /// The payload that follows them.
    pub upload: Option<Upload>,
    /// What the client did wrong behind its fields, once the deploy had begun.
    pub fault: Fault,
}

/// The client's own fault in an upload that was under way: its status is not that of a failed deploy.
#[derive(Clone, Default)]
pub struct Fault(Rc<RefCell<Option<StatusCode>>>);

impl Fault {
    /// The status that tells of it.
    pub fn status(&self) -> Option<StatusCode> {
        *self.0.borrow()
    }

    fn set(&self, status: StatusCode) {
        *self.0.borrow_mut() = Some(status);
    }
}

/// Reads a request up to its payload.
///
/// # Errors
/// When it cannot be read, or brings more than [`super::limits`] take.
pub async fn read(request: Request<impl Incoming>) -> Result<Form, Refusal> {
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_form = media_type.trim_start().to_ascii_lowercase().starts_with("multipart/");
    let boundary = is_form.then(|| multer::parse_boundary(media_type).map_err(unreadable)).transpose()?;
    let read = async {
        match boundary {
            Some(boundary) => read_parts(request.into_body(), boundary).await,
            None => read_json(request.into_body()).await,
        }
    };
    timeout(FIELDS_WITHIN, read).await.unwrap_or_else(|_| {
        let message = format!("the request did not come within {} s; send it again", FIELDS_WITHIN.as_secs());
        Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message))
    })
}

fn too_large() -> Refusal {
    Refusal::too_large(format!("a request without its payload has {FIELDS_BYTES_MAX} bytes at most"))
}

fn payload_too_large() -> Refusal {
    Refusal::too_large(format!("a payload has {PAYLOAD_BYTES_MAX} bytes at most"))
}

fn of_body(error: &BodyError) -> Refusal {
    match error {
        BodyError::TooLarge => too_large(),
        BodyError::Silent => Refusal::new(StatusCode::REQUEST_TIMEOUT, "too_slow", error.to_string()),
        BodyError::Broken(cause) => Refusal::bad(format!("the body ends in the middle: {cause}")),
    }
}

async fn read_json(body: impl Incoming) -> Result<Form, Refusal> {
    if body.size_hint().lower() > FIELDS_BYTES_MAX {
        return Err(too_large());
    }
    let bytes = body::whole(body, FIELDS_BYTES_MAX).await.map_err(|error| of_body(&error))?;
    let fields: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad(format!("the body must be a JSON object with an `operation`: {error}")))?;
    if !fields.is_object() {
        return Err(Refusal::bad("the body must be a JSON object with an `operation`"));
    }
    if !fields[PAYLOAD].is_null() {
        return Err(Refusal::bad("`payload` comes as the last part of a multipart/form-data upload, not in JSON"));
    }
    Ok(Form { fields, upload: None, fault: Fault::default() })
}

/// What multer says, told in a line.
fn unreadable(error: multer::Error) -> Refusal {
    match broken(&error) {
        Some(cause) => of_body(cause),
        None => Refusal::bad(format!("the upload cannot be read: {error}")),
    }
}

/// The body's own error in one of multer's.
fn broken(error: &multer::Error) -> Option<&BodyError> {
    match error {
        multer::Error::StreamReadFailed(cause) => cause.downcast_ref(),
        _ => None,
    }
}

async fn read_parts(body: impl Incoming, boundary: String) -> Result<Form, Refusal> {
    if body.size_hint().lower() > FIELDS_BYTES_MAX + PAYLOAD_BYTES_MAX + FRAMING_BYTES_MAX {
        return Err(payload_too_large());
    }
    let allowance = Allowance::of(FIELDS_BYTES_MAX);
    let mut parts = Multipart::new(body::chunks(body, allowance.clone()), boundary);
    let mut fields = Map::new();
    while let Some(part) = parts.next_field().await.map_err(unreadable)? {
        let name = part.name().unwrap_or_default().to_owned();
        if name == PAYLOAD {
            let fault = Fault::default();
            let upload = payload(Parts { parts, allowance, fault: fault.clone() }, part).boxed_local();
            return Ok(Form { fields: Value::Object(fields), upload: Some(upload), fault });
        }
        if name.is_empty() || fields.len() >= FIELDS_MAX || fields.contains_key(&name) {
            return Err(Refusal::bad(format!("part `{name}` comes twice, has no name, or is one of too many")));
        }
        let text = part.text().await.map_err(unreadable)?;
        let value = value_of(&name, text);
        fields.insert(name, value);
    }
    Ok(Form { fields: Value::Object(fields), upload: None, fault: Fault::default() })
}

/// A part is a text; where the logic wants a flag or a number, it is read as one.
fn value_of(name: &str, text: String) -> Value {
    const NOT_TEXTS: [&str; 9] = [
        "replicated",
        "ignore_replication_errors",
        "restart",
        "deployment_timeout",
        "install_timeout",
        "since",
        "until",
        "limit",
        "offset",
    ];
    let parsed = NOT_TEXTS.contains(&name).then(|| serde_json::from_str(text.trim()).ok()).flatten();
    parsed.filter(|value: &Value| value.is_number() || value.is_boolean()).unwrap_or(Value::String(text))
}

/// What is left of an upload.
struct Parts {
    parts: Multipart<'static>,
    allowance: Allowance,
    fault: Fault,
}

/// The payload's bytes; the last thing that comes is an error when anything follows them.
fn payload(rest: Parts, part: Field<'static>) -> impl Stream<Item = Result<Bytes, UploadError>> {
    rest.allowance.set(PAYLOAD_BYTES_MAX);
    stream::try_unfold(Some((rest, part)), |state| async move {
        let Some((mut rest, mut part)) = state else { return Ok(None) };
        match part.chunk().await.map_err(|error| rest.told(&error))? {
            Some(bytes) => Ok(Some((bytes, Some((rest, part))))),
            None => {
                drop(part);
                rest.end().await?;
                // The end is told by the next call; an empty piece is none that counts.
                Ok(Some((Bytes::new(), None)))
            }
        }
    })
}

impl Parts {
    /// Nothing may follow the payload: what does was not read before the deploy began.
    async fn end(&mut self) -> Result<(), UploadError> {
        self.allowance.set(FRAMING_BYTES_MAX);
        let Some(part) = self.parts.next_field().await.map_err(|error| self.told(&error))? else { return Ok(()) };
        self.fault.set(StatusCode::BAD_REQUEST);
        let name = part.name().unwrap_or_default();
        Err(format!("part `{name}` comes after `{PAYLOAD}`: send `{PAYLOAD}` as the last part").into())
    }

    fn told(&self, error: &multer::Error) -> UploadError {
        match broken(error) {
            Some(BodyError::TooLarge) => {
                self.fault.set(StatusCode::PAYLOAD_TOO_LARGE);
                format!("a payload has {PAYLOAD_BYTES_MAX} bytes at most").into()
            }
            Some(cause) => cause.to_string().into(),
            None => {
                self.fault.set(StatusCode::BAD_REQUEST);
                error.to_string().into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_flags_and_numbers_only_where_the_logic_wants_them() {
        let read = |name, text: &str| value_of(name, text.to_owned());
        assert_eq!(read("replicated", "false"), json!(false));
        assert_eq!(read("deployment_timeout", " 5000 "), json!(5_000));
        assert_eq!(read("restart", "rolling"), json!("rolling"));
        assert_eq!(read("project", "42"), json!("42"));
        assert_eq!(read("deployment_timeout", "soon"), json!("soon"));
    }
}
