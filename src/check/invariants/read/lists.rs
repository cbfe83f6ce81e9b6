//! A list, against what its node shows.

use std::{cmp::Reverse, collections::BTreeSet};

use serde_json::Value;

use super::{
    asks::{Ask, visible, was_refused},
    rows::wrong_row,
};
use crate::check::invariants::{
    facts::{Facts, Shown},
    verdict::{Finding, said},
};

/// How many rows a list holds that does not say (spec 10).
const LIMIT_DEFAULT: u64 = 100;

/// A row that a list may have to hold.
struct Candidate<'a> {
    shown: &'a Shown,
    /// It fits at every instant in which the list may have looked.
    surely: bool,
}

/// Judges the answer to a `list_deployments`.
pub(super) fn wrong<'a>(facts: &Facts<'_>, ask: &Ask<'_>) -> Option<Finding<'a>> {
    let answer = match ask.answer {
        Ok(answer) => answer,
        Err(failure) if failure["code"] == "store_refused" && was_refused(facts, ask.node, &ask.window) => return None,
        Err(failure) => return Some(ask.finding("a list is not told", format!("it is told: {failure}"))),
    };
    let candidates = candidates(facts, ask);
    let listed = wrong_total(ask, answer, &candidates)
        .map(|why| ("a list counts wrongly", why))
        .or_else(|| wrong_order(ask).map(|why| ("a list is out of order", why)))
        .or_else(|| wrong_page(ask, answer, &candidates).map(|why| ("a list holds other rows", why)));
    if let Some((kind, why)) = listed {
        return Some(ask.finding(kind, why));
    }
    ask.told().iter().find_map(|row| wrong_row(facts, ask.node, &ask.window, row))
}

/// The rows that fit, newest first.
fn candidates<'a>(facts: &'a Facts<'_>, ask: &Ask<'_>) -> Vec<Candidate<'a>> {
    let here = facts.shown.iter().filter(|shown| shown.node == ask.node && shown.at < ask.window.end);
    let keys: BTreeSet<&str> = here.map(|shown| &*shown.record.key).collect();
    let mut candidates: Vec<_> = keys.into_iter().filter_map(|key| candidate(facts, ask, key)).collect();
    candidates.sort_by_key(|candidate| Reverse(age(candidate.shown)));
    candidates
}

fn age(shown: &Shown) -> (u64, u64) {
    (shown.row.started_at, shown.row.stamp)
}

fn candidate<'a>(facts: &'a Facts<'_>, ask: &Ask<'_>, key: &str) -> Option<Candidate<'a>> {
    let versions = visible(facts, ask.node, key, &ask.window);
    // What is under way on its origin is told from memory, which may be ahead.
    let ahead = |shown: &&&Shown| {
        !shown.row.is_terminal()
            && shown.row.origin_node.as_str() == ask.node.to_string()
            && ask.request["status"].is_string()
    };
    let fits = |shown: &&&Shown| fits(ask.request, shown);
    let may = versions.iter().find(|shown| fits(shown) || (ahead(shown) && fits_but_status(ask.request, shown)))?;
    let known = versions.first().is_some_and(|first| first.at <= ask.window.start);
    let surely = known && versions.iter().all(|shown| fits(&shown)) && !versions.iter().any(|shown| ahead(&shown));
    Some(Candidate { shown: may, surely })
}

fn fits(request: &Value, shown: &Shown) -> bool {
    request["status"].as_str().is_none_or(|status| shown.row.status == status) && fits_but_status(request, shown)
}

fn fits_but_status(request: &Value, shown: &Shown) -> bool {
    let begun = shown.row.started_at;
    request["project"].as_str().is_none_or(|project| shown.row.project == project)
        && request["since"].as_u64().is_none_or(|since| begun >= since)
        && request["until"].as_u64().is_none_or(|until| begun <= until)
}

/// The total counts all that fits, and not what the page holds.
fn wrong_total(ask: &Ask<'_>, answer: &Value, candidates: &[Candidate<'_>]) -> Option<String> {
    let least = candidates.iter().filter(|candidate| candidate.surely).count();
    let total = answer["total"].as_u64();
    let right = total.is_some_and(|total| (least as u64..=candidates.len() as u64).contains(&total));
    let most = candidates.len();
    (!right).then(|| {
        format!(
            "it is told a total of {}, and {} has {} that fit",
            said(total),
            ask.node,
            if least == most { most.to_string() } else { format!("{least} to {most}") }
        )
    })
}

/// Newest first, none twice.
fn wrong_order(ask: &Ask<'_>) -> Option<String> {
    let begun: Vec<_> = ask.told().iter().map(|row| row["started_at"].as_u64()).collect();
    let ids: BTreeSet<_> = ask.told().iter().filter_map(|row| row["deployment_id"].as_str()).collect();
    let right = begun.is_sorted_by(|newer, older| newer >= older) && ids.len() == begun.len();
    (!right).then(|| format!("it holds {} deployments, begun at {begun:?}", ids.len()))
}

/// The page holds the rows that its place in the whole list says.
fn wrong_page(ask: &Ask<'_>, answer: &Value, candidates: &[Candidate<'_>]) -> Option<String> {
    let (offset, limit) =
        (ask.request["offset"].as_u64().unwrap_or(0), ask.request["limit"].as_u64().unwrap_or(LIMIT_DEFAULT));
    let total = answer["total"].as_u64().unwrap_or(0);
    let told = ask.told();
    let due = total.saturating_sub(offset).min(limit);
    if told.len() as u64 != due {
        return Some(format!("it holds {} rows where {due} of {total} are due", told.len()));
    }
    let id = |row: &Value| row["deployment_id"].as_str().map(str::to_owned);
    let find =
        |row: &Value| candidates.iter().find(|candidate| Some(&*candidate.shown.record.key) == id(row).as_deref());
    if let Some(stranger) = told.iter().find(|row| find(row).is_none()) {
        return Some(format!("it holds {}, which does not fit", stranger["deployment_id"]));
    }
    // The place of each is certain only when it is certain which rows there are.
    let certain = candidates.iter().all(|candidate| candidate.surely);
    let ages = told.iter().filter_map(find).map(|candidate| age(candidate.shown));
    let due = candidates.iter().skip(offset as usize).take(told.len()).map(|candidate| age(candidate.shown));
    (certain && !ages.eq(due)).then(|| format!("it holds {:?}", told.iter().filter_map(id).collect::<Vec<_>>()))
}
