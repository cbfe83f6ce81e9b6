//! HASH: the row tells the payload's hash and size.

use super::{
    facts::{Deploy, Facts, Shown},
    verdict::{Finding, Inquiry},
};
use crate::check::{Invariant, Judgement};

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
            inquiry.look(|| wrong_payload(deploy, shown));
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
