//! What stands in the directory of a node that has stopped.

use std::{collections::BTreeMap, io, path::Path};

use uuid::Uuid;

use super::{
    line::What,
    reading::LifeTrace,
    trees::{live_builds, names, target_of},
};
use crate::{
    check::{Event, NodeFinal},
    env::StoreError,
    real::{blobs::RealBlobs, database::rows_at},
};

/// Why it cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error(transparent)]
    Files(#[from] io::Error),
    #[error("{0} (stop the node first)")]
    Store(#[from] StoreError),
}

/// What `directory` holds; `last` is the node's last life.
pub(super) fn holdings(directory: &Path, last: &LifeTrace) -> Result<NodeFinal, Unread> {
    Ok(NodeFinal {
        rows: rows_at(&directory.join("store/rows.redb"))?,
        blobs: RealBlobs::states(&directory.join("store/blobs"))?,
        live: live_builds(directory)?,
        leftovers: leftovers(directory, last)?,
        processes: running(last),
        served: served(last),
    })
}

/// What is staged, links that never went live, and builds that no link leads to and that are not served.
pub(super) fn leftovers(directory: &Path, last: &LifeTrace) -> io::Result<Vec<String>> {
    let within = |folder: &str| -> io::Result<Vec<String>> {
        Ok(names(&directory.join(folder))?.into_iter().map(|name| format!("{folder}/{name}")).collect())
    };
    let links = within("components")?;
    let live: Vec<_> = links.iter().map(|link| target_of(directory, Path::new(link))).collect();
    let mut leftovers = within("staging")?;
    leftovers.extend(links.into_iter().filter(|link| link.starts_with("components/.")));
    let served = served(last);
    for project in within("builds")? {
        let is_served = |build: &str| served.values().any(|served| build.ends_with(&served.to_string()));
        let is_live = |build: &str| live.iter().any(|live| live == Path::new(build));
        leftovers.extend(within(&project)?.into_iter().filter(|build| !is_live(build) && !is_served(build)));
    }
    Ok(leftovers)
}

fn events(life: &LifeTrace) -> impl Iterator<Item = &Event> {
    life.lines.iter().filter_map(|(_, what)| match what {
        What::Event(event) => Some(&**event),
        _ => None,
    })
}

/// Processes whose end the node has not seen.
pub(super) fn running(life: &LifeTrace) -> Vec<u32> {
    let mut running = Vec::new();
    for event in events(life) {
        match event {
            Event::ProcessStarted { process, .. } => running.push(*process),
            Event::ProcessExited { process, .. } => running.retain(|known| known != process),
            _ => {}
        }
    }
    running
}

fn served(life: &LifeTrace) -> BTreeMap<String, Uuid> {
    let serves = events(life).filter_map(|event| match event {
        Event::Serves { project, build, .. } => Some((project.clone(), *build)),
        _ => None,
    });
    serves.collect()
}
