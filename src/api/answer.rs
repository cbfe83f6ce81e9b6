//! Answers: bodies, status codes, and refusals that say what to do.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body_util::{Full, StreamBody};
use hyper::{
    Response, StatusCode,
    body::{Body, Frame},
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};

/// What breaks an answer off behind its head.
pub(super) type BrokenOff = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub(super) type AnswerBody = Pin<Box<dyn Body<Data = Bytes, Error = BrokenOff>>>;

/// An answer.
pub(super) type Answer = Response<AnswerBody>;

/// A request that is not carried out: a status, and an error object.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    status: StatusCode,
    error: Value,
}

impl Refusal {
    /// A refusal of the API's own.
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, error: json!({ "message": message.into(), "code": code }) }
    }

    /// A bad request, which names the field where there is one.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", format!("bad request: {}", message.into()))
    }

    /// More came than is taken.
    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// Too much is under way.
    pub(super) fn too_many(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    /// What the logic refused to read or to do.
    pub(super) fn of(error: Value) -> Self {
        Self { status: status_of(&error), error }
    }

    /// What came of a deploy that did not succeed: the logic's status codes are those of a request that it would not take,
    /// and a deploy that has begun fails with 500 (`vectors/README.md`). `hint` is said too of a bad request.
    pub(super) fn of_deploy(mut error: Value, hint: Option<&str>) -> Self {
        if error["phase"] != "validate" {
            return Self { status: StatusCode::INTERNAL_SERVER_ERROR, error };
        }
        if let (Some(message), Some("bad_request"), Some(hint)) =
            (error["message"].as_str(), error["code"].as_str(), hint)
        {
            error["message"] = json!(format!("{message} ({hint})"));
        }
        Self { status: status_of(&error), error }
    }

    /// The same error under another status.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn answer(self) -> Answer {
        let mut answer = json_answer(self.status, &self.error);
        let hint = match self.status {
            StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer")),
            StatusCode::METHOD_NOT_ALLOWED => Some((ALLOW, "POST")),
            _ => None,
        };
        answer.headers_mut().extend(hint.map(|(name, value)| (name, HeaderValue::from_static(value))));
        answer
    }
}

/// The status of an error that the logic tells, by its word for programs.
fn status_of(error: &Value) -> StatusCode {
    match error["code"].as_str() {
        Some("bad_request" | "other_project" | "not_a_success") => StatusCode::BAD_REQUEST,
        Some("deployment_not_found" | "payload_gone") => StatusCode::NOT_FOUND,
        Some("deployment_under_way") => StatusCode::CONFLICT,
        Some(
            "payload_unavailable"
            | "store_refused"
            | "connect_failed"
            | "connection_silent"
            | "connection_broken"
            | "no_answer",
        ) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A whole object.
pub(super) fn json_answer(status: StatusCode, value: &Value) -> Answer {
    let body = Full::new(Bytes::from(format!("{value}\n")));
    let body: AnswerBody = Box::pin(http_body_util::BodyExt::map_err(body, |never| match never {}));
    let mut answer = with_type(body, "application/json");
    *answer.status_mut() = status;
    answer
}

/// Bytes as they come.
pub(super) fn stream_answer(
    bytes: impl Stream<Item = Result<Bytes, BrokenOff>> + 'static,
    media_type: &'static str,
) -> Answer {
    with_type(Box::pin(StreamBody::new(bytes.map(|bytes| bytes.map(Frame::data)))), media_type)
}

fn with_type(body: AnswerBody, media_type: &'static str) -> Answer {
    let mut answer = Response::new(body);
    let headers: [(HeaderName, &str); 2] = [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "no-store")];
    answer.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deploy_that_has_begun_fails_with_500_whatever_its_code() {
        let failure = |phase| json!({ "message": "gone", "code": "payload_gone", "phase": phase });
        assert_eq!(Refusal::of_deploy(failure("extract"), None).status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(Refusal::of_deploy(failure("validate"), None).status, StatusCode::NOT_FOUND);
    }

    #[test]
    fn a_node_that_cannot_be_asked_is_no_fault_of_this_one() {
        for code in ["connect_failed", "connection_silent", "connection_broken", "no_answer"] {
            let refusal = Refusal::of(json!({ "message": "n2 did not answer", "code": code }));
            assert_eq!(refusal.status, StatusCode::SERVICE_UNAVAILABLE, "{code}");
        }
    }

    #[test]
    fn a_refusal_tells_what_would_be_taken() {
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", "send POST").answer();
        assert_eq!(refusal.headers()[ALLOW], "POST");
    }
}
