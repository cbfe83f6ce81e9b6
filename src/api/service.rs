//! One request: who asks, what is asked, and what the logic answers.

use std::rc::Rc;

use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue},
};
use serde_json::Value;

use super::{
    NODE_HEADER, PAYLOAD, Token,
    answer::{Answer, Refusal, json_answer},
    form::{self, Form},
    limits::TAILS_MAX,
    share::Share,
    streams,
};
use crate::{deploy::node::Node, env::Env, real::RealEnv};

/// What the API does for those who show the token.
pub(super) struct Service {
    pub(super) env: RealEnv,
    node: Rc<Node<RealEnv>>,
    token: Token,
    tails: Share,
}

/// Whether an answer is an object, or a stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Object,
    Events,
}

impl Service {
    pub(super) fn new(env: RealEnv, node: Rc<Node<RealEnv>>, token: Token) -> Self {
        Self { env, node, token, tails: Share::of(TAILS_MAX) }
    }

    /// Does the request show the token?
    pub(super) fn is_proven(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|shown| self.token.is(shown))
    }

    /// Carries a request out, and names this node in the answer.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        match self.carry_out(request).await {
            Ok(answer) => self.named(answer),
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// Refuses a request, in this node's name.
    pub(super) fn refuse(&self, refusal: Refusal) -> Answer {
        self.named(refusal.answer())
    }

    fn named(&self, mut answer: Answer) -> Answer {
        if let Ok(name) = HeaderValue::from_str(self.env.node().as_str()) {
            answer.headers_mut().insert(NODE_HEADER, name);
        }
        answer
    }

    async fn carry_out(&self, request: Request<Incoming>) -> Result<Answer, Refusal> {
        if !self.is_proven(request.headers()) {
            let message = "this API wants the node's token: send `Authorization: Bearer TOKEN`";
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message));
        }
        if request.uri().path() != "/" {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "no_such_path", "send POST to /: there is no other path"));
        }
        if request.method() != Method::POST {
            let message = format!("send POST, not {}", request.method());
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message));
        }
        let wanted = wanted(request.headers());
        let form = form::read(request).await?;
        self.operate(form, wanted).await
    }

    async fn operate(&self, form: Form, wanted: Wanted) -> Result<Answer, Refusal> {
        let operation = form.fields["operation"].clone();
        if form.upload.is_some() && operation != "deploy_component" {
            return Err(match operation {
                Value::Null => Refusal::bad(format!("`operation` is missing: {}", form::PAYLOAD_LAST)),
                _ => Refusal::bad(format!("`{PAYLOAD}` goes with `deploy_component` only")),
            });
        }
        match (operation.as_str(), wanted) {
            (Some("deploy_component"), Wanted::Events) => streams::deploy(&self.env, &self.node, form).await,
            (Some("deploy_component"), Wanted::Object) => self.deploy(form).await,
            (Some("get_deployment"), Wanted::Events) => self.tail(form).await,
            (Some("get_deployment"), Wanted::Object) => object(self.node.get_deployment(&form.fields).await),
            (Some("list_deployments"), _) => object(self.node.list_deployments(&form.fields).await),
            (Some("delete_deployment_payload"), _) => object(self.node.delete_deployment_payload(&form.fields).await),
            (Some("get_deployment_payload"), _) => {
                let payload = self.node.get_deployment_payload(&form.fields).await.map_err(Refusal::of)?;
                streams::payload(&self.env, payload).await
            }
            _ => Err(unknown(&operation)),
        }
    }

    async fn tail(&self, form: Form) -> Result<Answer, Refusal> {
        let Some(place) = self.tails.take() else {
            let message = format!("{TAILS_MAX} deployments are followed: try again later, or ask without a stream");
            return Err(Refusal::too_many("too_many_tails", message));
        };
        let tail = self.node.tail_deployment(&form.fields).await.map_err(Refusal::of)?;
        Ok(streams::tail(tail, place))
    }

    /// Deploys, and answers when the deploy is over. Who leaves meanwhile cancels nothing: the node runs it apart.
    async fn deploy(&self, form: Form) -> Result<Answer, Refusal> {
        let Form { fields, upload, fault } = form;
        let client = self.env.client_asks(&fields);
        let hint = form::hint(&upload);
        let (upload, seeing) = (upload.map(|upload| client.upload(upload)), client.clone());
        let deployed = self.node.deploy_component(fields, upload, move |event| seeing.sees(event)).await;
        client.answered(&deployed);
        deployed.map(|answer| json_answer(StatusCode::OK, &answer)).map_err(|failure| {
            let refusal = Refusal::of_deploy(failure, hint);
            match fault.status() {
                Some(status) => refusal.with_status(status),
                None => refusal,
            }
        })
    }
}

fn object(answer: Result<Value, Value>) -> Result<Answer, Refusal> {
    answer.map(|answer| json_answer(StatusCode::OK, &answer)).map_err(Refusal::of)
}

fn unknown(operation: &Value) -> Refusal {
    const KNOWN: &str = "deploy_component, get_deployment, list_deployments, get_deployment_payload or \
                         delete_deployment_payload";
    match operation {
        Value::Null => Refusal::bad(format!("`operation` is missing: send {KNOWN}")),
        other => Refusal::bad(format!("`operation` must be {KNOWN}, not {other}")),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn wanted(headers: &HeaderMap) -> Wanted {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    match accepted.any(|value| value.to_ascii_lowercase().contains("text/event-stream")) {
        true => Wanted::Events,
        false => Wanted::Object,
    }
}
