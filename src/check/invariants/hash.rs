//! HASH: the row tells the payload's hash and size.

use super::{
    deletion::is_recorded,
    facts::{At, Deploy, Facts, Shown},
    verdict::{Finding, Inquiry},
};
use crate::check::{Event, Invariant, Judgement};

/// See [`Invariant::sentence`].
pub(super) const HASH: Invariant = Invariant {
    name: "HASH",
    sentence: "a row's hash and size are those of the whole upload, and it names no payload without them",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, HASH.name);
    for deploy in &facts.deploys {
        let Some(key) = deploy.key() else { continue };
        for shown in facts.shown.iter().filter(|shown| shown.local && shown.record.key == key) {
            inquiry.look(|| wrong_payload(deploy, shown).filter(|_| !let_go(facts, deploy, shown)));
        }
        for (at, entry) in facts.between(deploy.requested, facts.end()) {
            match &entry.event {
                Event::PayloadRead { key: read, got: Ok(got), .. } if *read == key => {
                    inquiry.look(|| wrong_download(deploy, at, got));
                }
                _ => {}
            }
        }
        if let Some((at, _)) = deploy.success() {
            let last = facts.row_at(deploy.origin, &key, at);
            inquiry.look(|| last.filter(|shown| shown.row.payload_hash.is_none()).map(|shown| finding(deploy, shown)));
        }
    }
    inquiry.done()
}

fn wrong_payload<'a>(deploy: &Deploy, shown: &Shown) -> Option<Finding<'a>> {
    let row = &shown.row;
    let asked = &deploy.asked;
    let whole = (row.payload_hash.as_deref(), row.payload_size, row.payload_blob.is_some())
        == (Some(asked.payload_hash.as_str()), Some(asked.payload_bytes), true);
    let none = row.payload_hash.is_none() && row.payload_size.is_none() && row.payload_blob.is_none();
    let right = none || (whole && deploy.aborted.is_none() && row.payload_blob == shown.record.blob);
    (!right).then(|| finding(deploy, shown))
}

/// A payload that was let go on record leaves its hash and size behind.
fn let_go(facts: &Facts<'_>, deploy: &Deploy, shown: &Shown) -> bool {
    let row = &shown.row;
    let known = (row.payload_hash.as_deref(), row.payload_size)
        == (Some(deploy.asked.payload_hash.as_str()), Some(deploy.asked.payload_bytes));
    known
        && row.payload_blob.is_none()
        && shown.record.blob.is_none()
        && is_recorded(facts, &shown.record.key, shown.at)
}

/// What a reader downloaded is what was uploaded.
fn wrong_download<'a>(deploy: &Deploy, at: At, got: &(String, u64)) -> Option<Finding<'a>> {
    let asked = &deploy.asked;
    ((asked.payload_hash.as_str(), asked.payload_bytes) != (got.0.as_str(), got.1)).then(|| Finding {
        kind: "a download is not the upload",
        at,
        node: None,
        why: format!(
            "a reader got hash {} over {} bytes, not {} over {}",
            got.0, got.1, asked.payload_hash, asked.payload_bytes
        ),
        witnesses: vec![deploy.requested],
    })
}

fn finding<'a>(deploy: &Deploy, shown: &Shown) -> Finding<'a> {
    let row = &shown.row;
    Finding {
        kind: "the row's payload is not the upload",
        at: shown.at,
        node: Some(shown.node),
        why: format!(
            "the upload has hash {} and {} bytes; the row says {:?} and {:?}",
            deploy.asked.payload_hash, deploy.asked.payload_bytes, row.payload_hash, row.payload_size
        ),
        witnesses: vec![deploy.requested],
    }
}
