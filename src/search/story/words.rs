//! Choices in plain words.

use crate::sim::choice::{CUT_BOUND, Choices, Effect, Kind, Label, delay_ms};

/// What the choices are, in at most `lines_max` lines and one above them. Orders of tasks are told as one.
pub(super) fn choices(choices: &Choices, lines_max: usize) -> Vec<String> {
    let orders = choices.keys().filter(|label| label.kind.effect() == Effect::Order).count();
    let others = choices.iter().filter(|(label, _)| label.kind.effect() != Effect::Order);
    let mut told: Vec<_> = others.map(|(label, value)| format!("  {}", choice(*label, *value))).collect();
    if orders > 0 {
        told.push(format!("  the scheduler lets another ready task go first, {}", times(orders)));
    }
    if told.len() > lines_max {
        let rest = told.len() - (lines_max - 1);
        told.truncate(lines_max - 1);
        told.push(format!("  and {rest} more, all in the capsule"));
    }
    told.insert(0, format!("It takes {}{}", count(choices), if told.is_empty() { "." } else { ":" }));
    told
}

/// How many choices.
pub(super) fn count(choices: &Choices) -> String {
    match choices.len() {
        0 => "no fault at all".to_owned(),
        1 => "1 choice".to_owned(),
        many => format!("{many} choices"),
    }
}

/// One choice.
fn choice(label: Label, value: u32) -> String {
    let which = nth(label.occurrence);
    let what = subject(label.kind).replace("{}", &which);
    let what = match label.node {
        Some(node) => format!("{node}: {what}"),
        None => what,
    };
    match label.kind.effect() {
        Effect::Delay => format!("{what} takes {} ms longer", delay_ms(value)),
        Effect::Cut => format!("{what} hands on {value}/{CUT_BOUND} of the bytes, then the rest"),
        Effect::Failure | Effect::Refusal | Effect::Condition | Effect::Death => what,
        Effect::Order | Effect::Workload => format!("{what}: {value}"),
    }
}

/// What a kind is about; `{}` stands for the how-manieth.
fn subject(kind: Kind) -> String {
    let words = match kind {
        Kind::PutStart => "the start of the {} put",
        Kind::PutCommit => "the commit of the {} put",
        Kind::PutLogged => "the {} commit on its way to the log",
        Kind::PutRefused => "the {} put is refused",
        Kind::Get => "the {} read of the table",
        Kind::GetRefused => "the {} read of the table fails",
        Kind::CursorSave => "the {} saving of a cursor",
        Kind::Apply => "the commit of the {} replicated row",
        Kind::ApplyRefused => "the {} replicated row is refused",
        Kind::CursorRefused => "the {} saving of a cursor fails",
        Kind::PutAnswer => "the news that the {} put is committed",
        Kind::GetAnswer => "what the {} read of the table found",
        Kind::Connect => "the {} connection",
        Kind::RowsReset => "its {} connection for rows breaks",
        Kind::OperationReset => "its {} connection for operations breaks",
        Kind::ResetAt => "the step of the {} break of a connection",
        Kind::FirstWords => "what its {} subscriber says first",
        Kind::RowsDelay => "the {} packet of rows and chunks",
        Kind::OperationDelay => "the {} packet of an operation",
        Kind::AnswerDelay => "the {} packet of an answer",
        Kind::ReadCut => "the {} read from a stream",
        Kind::WriteCut => "the {} write to a stream",
        Kind::BlobAppend => "the {} write to a blob",
        Kind::BlobComplete => "the completion of the {} blob",
        Kind::BlobRead | Kind::BlobCut => "the {} read of a blob",
        Kind::Disk => "the {} file operation",
        Kind::DiskFails => "the {} file operation fails",
        Kind::BlobFails => "the {} blob operation fails",
        Kind::BlobDamaged => "the {} blob is damaged at rest",
        Kind::BlobDamagedAt => "before which read the {} blob is damaged",
        Kind::SpawnFails => "the {} program cannot be started",
        Kind::ProcessFails => "its {} process fares otherwise than its script says",
        Kind::OutputFails => "the {} read of a process's output fails",
        Kind::GroupEnd => "the end of its {} process group that is killed",
        Kind::GroupEndFails => "the end of its {} process group that is killed cannot be told",
        Kind::OutputCut | Kind::OutputDelay => "the {} piece of a process's output",
        Kind::LoadRefused => "the {} build that is tried out is refused",
        Kind::Switch => "the {} switch to another build",
        Kind::SwitchRefused => "the {} switch to another build fails",
        Kind::SwitchStale => "the {} switch to another build is told, and does not happen",
        Kind::Crash => "it dies in its {} life",
        Kind::CrashAt => "the step of its {} death",
        Kind::CrashHow => "the manner of its {} death",
        Kind::LostNames => "the share of names that its {} loss of power takes",
        Kind::LostBytes => "the share of bytes that its {} loss of power takes",
        Kind::Downtime => "its {} time down",
        Kind::Partition => "it loses packets in its {} life",
        Kind::PartitionAt => "the step of its {} loss of packets",
        Kind::PartitionWho => "whose packets are lost the {} time",
        Kind::PartitionTime => "the {} loss of packets",
        Kind::Pause => "it is paused in its {} life",
        Kind::PauseAt => "the step of its {} pause",
        Kind::PauseTime => "how long its {} pause is",
        Kind::ClockSkew => "its clock is wrong from the beginning of its {} life on",
        Kind::ClockJump => "its clock jumps in its {} life",
        Kind::ClockJumpAt => "the step of the {} jump of its clock",
        Kind::MembersLate => "its {} piece of news of who is in the cluster",
        Kind::LeaverLate => "its {} piece of news that it has left the cluster",
        Kind::Stranger => "a stranger comes, for the {} time",
        Kind::StrangerAt => "the moment of the {} stranger",
        Kind::StrangerTo => "the door of the {} stranger",
        Kind::StrangerSays => "the words of the {} stranger",
        Kind::UploadDelay | Kind::UploadCut => "the {} piece of an upload",
        Kind::Nodes => "another number of nodes than was asked for, by the {} choice",
        Kind::Workload => "the scenario's {} open question is answered",
        _ => return format!("the {{}} {kind}"),
    };
    words.to_owned()
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        many => format!("{many} times"),
    }
}

/// The ordinal of an index that starts at 0.
fn nth(index: u32) -> String {
    let number = u64::from(index) + 1;
    let suffix = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::NodeIndex;

    #[test]
    fn ordinals_are_english() {
        let told: Vec<_> = [0, 1, 2, 3, 10, 11, 12, 20, 110].into_iter().map(nth).collect();
        assert_eq!(told, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "111th"]);
    }

    #[test]
    fn every_kind_has_its_words() {
        let told = Kind::ALL.iter().map(|&kind| choice(Label { kind, node: Some(NodeIndex(1)), occurrence: 3 }, 1));
        insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn many_choices_are_told_in_few_lines() {
        let many = (0..30).map(|occurrence| (Label { kind: Kind::Disk, node: None, occurrence }, 2)).collect();
        let told = choices(&many, 5);
        assert_eq!(told.len(), 6);
        assert_eq!(told.last().unwrap(), "  and 26 more, all in the capsule");
    }
}
