//! EXIT: a client that goes by its exit code is right.

use super::{
    facts::{At, Deploy, Facts},
    verdict::{Finding, Inquiry},
};
use crate::check::{Event, Invariant, Judgement};

/// See [`Invariant::sentence`].
pub(super) const EXIT: Invariant = Invariant {
    name: "EXIT",
    sentence: "a client's exit code is 0 exactly when its deployment succeeded, by its answer and by its row; one that lost \
               its node before the end does not take that for success; the stream's last event says what the answer says",
    check,
};

fn check(facts: &Facts<'_>) -> Judgement {
    let mut inquiry = Inquiry::new(facts, EXIT.name);
    for (at, entry) in facts.between(0, facts.end()) {
        let Event::ClientExited { deploy, code } = entry.event else { continue };
        let Some(of) = facts.deploys.get(deploy as usize) else { continue };
        inquiry.look(|| wrong_code(facts, of, at, code));
        inquiry.look(|| wrong_last_event(facts, of, at));
        inquiry.look(|| ends_otherwise(facts, of, at, code));
    }
    inquiry.done()
}

/// The end of the stream as the client saw it.
fn end_of<'f>(facts: &'f Facts<'_>, of: &Deploy, at: At) -> Option<(At, &'f str, &'f serde_json::Value)> {
    facts.between(of.requested, at).rev().find_map(|(seen, entry)| match &entry.event {
        Event::ClientSaw { deploy, event, data } if *deploy == of.asked.deploy => Some((seen, event.as_ref(), data)),
        _ => None,
    })
}

fn wrong_code<'a>(facts: &Facts<'_>, of: &Deploy, at: At, code: u8) -> Option<Finding<'a>> {
    let told_success = match &of.answer {
        Some((_, answer)) => answer.is_ok(),
        // It lost its node: what it had been told before stands.
        None => end_of(facts, of, at).is_some_and(|(_, event, _)| event == "done"),
    };
    ((code == 0) != told_success).then(|| Finding {
        kind: "a client's exit code is wrong",
        at,
        node: Some(of.origin),
        why: format!(
            "the client ends with {code}, but {}",
            match (&of.answer, told_success) {
                (Some(_), true) => "was told success",
                (Some(_), false) => "was told failure",
                (None, _) => "lost its node before it was told how the deploy ended",
            }
        ),
        witnesses: vec![of.requested],
    })
}

fn wrong_last_event<'a>(facts: &Facts<'_>, of: &Deploy, at: At) -> Option<Finding<'a>> {
    let (_, answer) = of.answer.as_ref()?;
    let end = end_of(facts, of, at);
    let agrees = match (answer, end) {
        (Ok(told), Some((_, "done", data))) => data["result"] == *told,
        (Err(told), Some((_, "error", data))) => data == told,
        _ => false,
    };
    (!agrees).then(|| Finding {
        kind: "the stream does not end as the answer says",
        at,
        node: Some(of.origin),
        why: format!(
            "the stream ended with {:?}, and the answer is {answer:?}",
            end.map(|(_, event, data)| (event, data))
        ),
        witnesses: end.map(|(seen, ..)| seen).into_iter().collect(),
    })
}

/// The row is what everybody else goes by. It may end later than a failure is told, but never otherwise.
fn ends_otherwise<'a>(facts: &Facts<'_>, of: &Deploy, at: At, code: u8) -> Option<Finding<'a>> {
    let key = of.key()?;
    // A client that was told nothing says nothing of the row.
    end_of(facts, of, at).filter(|(_, event, _)| ["done", "error"].contains(event))?;
    let until = if code == 0 { at } else { facts.end() };
    let row = facts.row_at(of.origin, &key, until)?;
    let succeeded = row.row.status == "success";
    ((code == 0) != succeeded).then(|| Finding {
        kind: "the row ends otherwise than the client was told",
        at,
        node: Some(of.origin),
        why: format!("the client ends with {code}, and the row's status is `{}`", row.row.status),
        witnesses: vec![row.at],
    })
}
