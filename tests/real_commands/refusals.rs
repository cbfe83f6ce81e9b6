//! Those who break the rules: each gets a clear answer or none, the node serves on, and nothing is left on disk.

use std::{io::Write, net::TcpStream};

use serde_json::json;

use super::{
    nodes::{Nodes, archive},
    web::{self, exchange, head},
};

const OBJECT: &str = "application/json";

fn sound(body: &str) -> Vec<u8> {
    (head("POST", "/", &format!("Content-Length: {}\r\n", body.len())) + body).into_bytes()
}

/// A node that has served on, and has nothing left of what it was sent.
fn is_untouched(nodes: &Nodes) {
    assert_eq!(nodes.ask(1, &json!({ "operation": "list_deployments" })).status, 200);
    assert_eq!(nodes.remains(1), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn without_the_token_nothing_is_read_and_nothing_done() {
    let nodes = Nodes::start(1);
    let request = String::from_utf8(sound(r#"{"operation":"list_deployments"}"#)).unwrap();
    let token = format!("Authorization: Bearer {}\r\n", super::nodes::TOKEN);
    for other in [
        "",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer another-token-of-16\r\n",
        "Authorization: Basic x\r\n",
    ] {
        let answer = exchange(nodes.api(1), request.replace(&token, other).as_bytes());
        assert_eq!(answer.refusal().0, 401);
        assert!(answer.head.contains("www-authenticate: Bearer"));
    }
    // Who uploads gets the answer too, though nobody reads the upload.
    let payload = vec![7; 4 << 20];
    let parts: [(&str, &[u8]); 2] = [("operation", b"deploy_component"), ("payload", &payload)];
    let upload = web::upload_request(&parts, OBJECT);
    let at = upload.windows(token.len()).position(|bytes| bytes == token.as_bytes()).unwrap();
    let stripped = [&upload[..at], &upload[at + token.len()..]].concat();
    assert_eq!(exchange(nodes.api(1), &stripped).refusal().0, 401);
    is_untouched(&nodes);
}

#[test]
fn bad_requests_are_told_what_is_wrong_with_them() {
    let nodes = Nodes::start(1);
    let list = r#"{"operation":"list_deployments","limit":"all"}"#;
    let large = format!(r#"{{"operation":"{}"}}"#, "x".repeat(2 << 20));
    let unknown = r#"{"operation":"get_deployment","deployment_id":"6f1b2ad0-54b4-4f5e-8c2c-0a2f3f2f9f10"}"#;
    let requests: [(&str, Vec<u8>, u16, &str); 14] = [
        ("no JSON", sound("operation=list"), 400, "JSON object"),
        ("half of JSON", sound(r#"{"operation":"#), 400, "JSON object"),
        ("a list", sound("[]"), 400, "JSON object"),
        ("no operation", sound("{}"), 400, "`operation` is missing"),
        ("another operation", sound(r#"{"operation":"drop_table"}"#), 400, "drop_table"),
        ("a bad field", sound(list), 400, "`limit`"),
        ("no payload", sound(r#"{"operation":"deploy_component","project":"x"}"#), 400, "`payload` is missing"),
        ("a bad project", sound(r#"{"operation":"deploy_component","project":"../x"}"#), 400, "`project`"),
        ("a payload in JSON", sound(r#"{"operation":"deploy_component","payload":"x"}"#), 400, "multipart"),
        ("an unknown deployment", sound(unknown), 404, "does not exist"),
        ("too much JSON", sound(&large), 413, "bytes at most"),
        (
            "a huge payload",
            head("POST", "/", "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 99999999999\r\n")
                .into_bytes(),
            413,
            "bytes at most",
        ),
        ("another method", head("GET", "/", "").into_bytes(), 405, "send POST"),
        ("another path", head("POST", "/x", "Content-Length: 0\r\n").into_bytes(), 404, "no other path"),
    ];
    for (name, request, status, says) in requests {
        let answer = exchange(nodes.api(1), &request);
        let (told, message) = answer.refusal();
        assert!(told == status && message.contains(says), "{name}: {told} {message}");
    }
    // What is no HTTP, or too much of it, is answered by status alone.
    let many = head("POST", "/", &"X: y\r\n".repeat(200));
    let long = head("POST", "/", &format!("X: {}\r\n", "y".repeat(200_000)));
    for (request, status) in [(many, 431), (long, 431), ("nonsense\r\n\r\n".to_owned(), 400)] {
        assert_eq!(exchange(nodes.api(1), request.as_bytes()).status, status);
    }
    is_untouched(&nodes);
}

#[test]
fn uploads_that_break_the_rules_leave_a_failed_row_at_most() {
    let nodes = Nodes::start(1);
    let payload = archive(&[("index.js", "1;\n")]);
    let (operation, project) = (("operation", &b"deploy_component"[..]), ("project", &b"plain"[..]));
    let upload = |parts: &[(&str, &[u8])]| exchange(nodes.api(1), &web::upload_request(parts, OBJECT));

    let (status, message) = upload(&[operation, ("payload", &payload), project]).refusal();
    assert!(
        status == 400 && message.contains("`project` is missing") && message.contains("`payload` as the last part"),
        "what follows the payload is not read: {message}"
    );
    let (status, message) = upload(&[project, ("payload", &payload), operation]).refusal();
    assert!(status == 400 && message.contains("`operation` is missing"), "{message}");
    assert!(message.contains("`payload` as the last part"), "{message}");
    let late = upload(&[operation, project, ("payload", &payload), ("restart", b"true")]);
    let (status, message) = late.refusal();
    assert!(status == 400 && message.contains("`restart` comes after `payload`"), "{message}");
    assert_eq!(nodes.row(1, late.json()["deployment_id"].as_str().unwrap())["status"], "failed");
    let (status, message) = upload(&[operation, operation]).refusal();
    assert!(status == 400 && message.contains("comes twice"), "{message}");
    let (status, _) = upload(&[("operation", b"list_deployments"), ("payload", &payload)]).refusal();
    assert_eq!(status, 400);
    let (status, message) = upload(&[operation, ("project", &vec![b'x'; 2 << 20])]).refusal();
    assert!(status == 413, "{message}");

    // It leaves in the middle of its payload.
    let whole = web::upload_request(&[operation, project, ("payload", &payload)], OBJECT);
    web::leave_behind(nodes.api(1), &whole[..whole.len() - payload.len() / 2]);
    let list = || nodes.ask(1, &json!({ "operation": "list_deployments" })).json();
    super::nodes::eventually("the end of the upload that broke off", || {
        let rows = list();
        rows["total"] == 2 && rows["deployments"].as_array().unwrap().iter().all(|row| row["status"] == "failed")
    });
    is_untouched(&nodes);
}

#[test]
fn a_thousand_connections_and_halves_of_requests_keep_no_operator_out() {
    let nodes = Nodes::start(1);
    let request = sound(r#"{"operation":"list_deployments"}"#);
    let mut open: Vec<TcpStream> = Vec::new();
    for number in 0..1_000 {
        let mut stream = web::connect(nodes.api(1));
        // Some say nothing, others a part of something, or nonsense. A node may have closed already.
        let said: &[u8] = match number % 3 {
            0 => b"",
            1 => &request[..number % request.len()],
            _ => &[0xff; 64],
        };
        let _ = stream.write_all(said);
        open.push(stream);
    }
    assert_eq!(nodes.ask(1, &json!({ "operation": "list_deployments" })).status, 200);
    drop(open);
    is_untouched(&nodes);
}
