//! Which package manager a node takes, and what is told of it.

use std::{io, time::Duration};

use drydock::{
    check::{Event, NodeIndex, Trace},
    env::{Command, ExitStatus},
    sim::{
        choice::{Calm, Choices, Kind, Label, Replay},
        cluster::{Answer, Cluster},
        process::Script,
        scripts,
    },
};
use serde_json::{Value, json};

use crate::story::{cluster_of, tell};

const ORIGIN: NodeIndex = NodeIndex(0);

/// A node that has these programs, each in this version.
type Has = &'static [(&'static str, &'static str)];

fn script(has: Has, command: &Command) -> io::Result<Script> {
    let (_, version) = has.iter().find(|(name, _)| *name == command.program).ok_or(io::ErrorKind::NotFound)?;
    let printed = if command.args == ["--version"] { *version } else { "done" };
    let line = format!("{printed}\n");
    Ok(scripts::printing(&[line.as_bytes()], ExitStatus::Code(0)))
}

/// Deploys on one node that `has` these programs a component that asks for `managers`.
fn deploy(has: Has, managers: Value) -> (Answer, Vec<String>, Vec<String>) {
    let story = async move |cluster: Cluster| {
        cluster.script(move |_, command| script(has, command));
        let deploy = cluster.component().with_manifest("devEngines", json!({ "packageManager": managers }));
        let answer = cluster.deploy(ORIGIN, deploy).await;
        cluster.settle().await;
        answer
    };
    let (answer, report) = tell(&cluster_of(1), Calm, story);
    assert_eq!(report.violation().map(ToString::to_string), None);
    (answer, ran(&report.trace), warned(&report.trace))
}

fn ran(trace: &Trace) -> Vec<String> {
    let started = trace.entries().iter().filter_map(|entry| match &entry.event {
        Event::ProcessStarted { command, .. } => Some(command.to_string()),
        _ => None,
    });
    started.collect()
}

fn warned(trace: &Trace) -> Vec<String> {
    let seen = trace.entries().iter().filter_map(|entry| match &entry.event {
        Event::ClientSaw { event, data, .. } if event == "warning" => data["message"].as_str().map(str::to_owned),
        _ => None,
    });
    seen.collect()
}

#[test]
fn the_first_manager_that_is_there_installs() {
    let (answer, ran, warned) = deploy(
        &[("npm", "11.0.0"), ("yarn", "4.1.0")],
        json!([{ "name": "pnpm" }, { "name": "yarn" }, { "name": "npm" }]),
    );
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!((ran, warned), (vec!["yarn install".to_owned()], vec![]));
}

#[test]
fn a_manager_of_another_version_is_passed_over() {
    let managers = json!([{ "name": "pnpm", "version": "^9" }, { "name": "yarn", "version": "4.x" }]);
    let (answer, ran, _) = deploy(&[("pnpm", "8.15.9"), ("yarn", "4.1.0")], managers);
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(ran, ["pnpm --version", "yarn --version", "yarn install"]);
}

#[test]
fn without_a_usable_manager_on_fail_decides() {
    let asked = |on_fail: Value| json!({ "name": "pnpm", "version": "^9", "onFail": on_fail });
    let has: Has = &[("npm", "11.0.0"), ("pnpm", "8.15.9")];
    let (answer, ran, warned) = deploy(has, asked(json!("warn")));
    assert!(answer.is_ok() && warned[0].contains("8.15.9, not `^9`"), "{answer:?} {warned:?}");
    assert_eq!(ran, ["pnpm --version", "npm install"]);

    let (answer, ran, warned) = deploy(has, asked(json!("ignore")));
    assert!(answer.is_ok() && warned.is_empty(), "{answer:?} {warned:?}");
    assert_eq!(ran, ["pnpm --version", "npm install"]);

    for on_fail in [json!("error"), json!("download"), json!(null)] {
        let (answer, ran, _) = deploy(has, asked(on_fail));
        let failure = answer.unwrap_err();
        assert_eq!((&failure["code"], &failure["phase"]), (&json!("install_failed"), &json!("install")));
        assert!(failure["message"].as_str().unwrap().contains("pnpm: its version is 8.15.9, not `^9`"), "{failure}");
        assert_eq!(ran, ["pnpm --version"]);
    }
}

/// What comes of a `pnpm` that is there and fails: the answer, what ran, and the warnings.
fn deploy_with_failing_pnpm(on_fail: &'static str) -> (Answer, Vec<String>, Vec<String>) {
    let story = async move |cluster: Cluster| {
        cluster.script(|_, command| match &*command.program {
            "pnpm" => Ok(scripts::printing(&[b"no space left\n"], ExitStatus::Code(3))),
            _ => Ok(scripts::printing(&[], ExitStatus::Code(0))),
        });
        let managers = json!({ "packageManager": { "name": "pnpm", "onFail": on_fail } });
        cluster.deploy(ORIGIN, cluster.component().with_manifest("devEngines", managers)).await
    };
    let (answer, report) = tell(&cluster_of(1), Calm, story);
    (answer, ran(&report.trace), warned(&report.trace))
}

#[test]
fn a_manager_that_fails_has_failed_for_good_only_if_on_fail_says_so() {
    let (answer, ran, _) = deploy_with_failing_pnpm("error");
    let message = answer.unwrap_err()["message"].to_string();
    assert!(message.contains("`pnpm install` failed with exit code 3: no space left"), "{message}");
    assert_eq!(ran, ["pnpm install"]);

    let (answer, ran, warned) = deploy_with_failing_pnpm("warn");
    assert!(
        answer.is_ok() && warned[0].contains("pnpm: `pnpm install` failed with exit code 3"),
        "{answer:?} {warned:?}"
    );
    assert_eq!(ran, ["pnpm install", "npm install"]);

    let (answer, ran, warned) = deploy_with_failing_pnpm("ignore");
    assert!(answer.is_ok() && warned.is_empty(), "{answer:?} {warned:?}");
    assert_eq!(ran, ["pnpm install", "npm install"]);
}

#[test]
fn a_manifest_may_say_much_beside_its_managers() {
    let story = async move |cluster: Cluster| {
        let managers = json!({ "packageManager": { "name": "yarn" }, "why": "x".repeat(512 * 1024) });
        cluster.deploy(ORIGIN, cluster.component().with_manifest("devEngines", managers)).await
    };
    let (answer, report) = tell(&cluster_of(1), Calm, story);
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(ran(&report.trace), ["yarn install"]);
}

#[test]
fn a_custom_command_runs_in_a_shell_and_is_told_by_its_program() {
    let story = async move |cluster: Cluster| {
        cluster.deploy(ORIGIN, cluster.component().with("install_command", "CI=1 /opt/bin/yarn --immutable")).await
    };
    let (answer, report) = tell(&cluster_of(1), Calm, story);
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(ran(&report.trace), ["sh -c CI=1 /opt/bin/yarn --immutable"]);
    let managers = report.trace.entries().iter().filter_map(|entry| match &entry.event {
        Event::ClientSaw { event, data, .. } if event == "install" => data["manager"].as_str(),
        _ => None,
    });
    assert_eq!(managers.collect::<Vec<_>>(), ["yarn"]);
}

#[test]
fn a_manager_that_is_there_and_cannot_be_started_is_not_taken_for_one_that_is_not_there() {
    let story = async move |cluster: Cluster| {
        cluster.script(|_, command| match &*command.program {
            "pnpm" => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(scripts::printing(&[], ExitStatus::Code(0))),
        });
        let managers = json!({ "packageManager": { "name": "pnpm", "onFail": "warn" } });
        cluster.deploy(ORIGIN, cluster.component().with_manifest("devEngines", managers)).await
    };
    let (answer, report) = tell(&cluster_of(1), Calm, story);
    let message = answer.unwrap_err()["message"].to_string();
    assert!(message.contains("`pnpm install` cannot be run: permission denied"), "{message}");
    assert!(ran(&report.trace).is_empty());
}

/// What comes of a package whose packer takes so long; two minutes are given to it.
fn deploy_package_that_takes(seconds: u64) -> Answer {
    let story = async move |cluster: Cluster| {
        let archive = cluster.next_archive();
        cluster.script(move |_, command| {
            let mut script = scripts::printing(&[], ExitStatus::Code(0));
            if command.args.first().is_some_and(|arg| arg == "pack") {
                script.last_pause = Duration::from_secs(seconds);
                script.files = vec![("left-pad-1.3.0.tgz".to_owned(), archive.clone())];
            }
            Ok(script)
        });
        let package = cluster.component().packed("left-pad", 1).with("install_timeout", 120_000);
        cluster.deploy(ORIGIN, package).await
    };
    tell(&cluster_of(1), Calm, story).0
}

#[test]
fn a_packer_has_the_time_that_an_install_has() {
    let answer = deploy_package_that_takes(119);
    assert!(answer.is_ok(), "{answer:?}");
    let message = deploy_package_that_takes(121).unwrap_err()["message"].to_string();
    assert!(message.contains("was ended at its time limit of 120 s"), "{message}");
}

/// Deploys a component whose installer prints two lines and has ten seconds, while these choices befall it.
fn deploy_amid(faults: &[(Kind, u32)]) -> (Answer, Trace) {
    let label = |kind| Label { kind, node: Some(ORIGIN), occurrence: 0 };
    let choices: Choices = faults.iter().map(|(kind, value)| (label(*kind), *value)).collect();
    let story = async move |cluster: Cluster| {
        cluster.script(|_, _| Ok(scripts::printing(&[b"one\n", b"two\n"], ExitStatus::Code(0))));
        let answer = cluster.deploy(ORIGIN, cluster.component().with("install_timeout", 10_000)).await;
        cluster.settle().await;
        answer
    };
    let (answer, report) = tell(&cluster_of(1), Replay(choices), story);
    assert_eq!(report.violation().map(ToString::to_string), None);
    (answer, report.trace)
}

#[test]
fn an_installer_that_fares_badly_is_told_by_what_became_of_it() {
    const HANGS: (Kind, u32) = (Kind::ProcessFails, 3);
    for (faults, told) in [
        (&[(Kind::ProcessFails, 1)][..], "failed with exit code 1"),
        (&[(Kind::ProcessFails, 2)], "failed with signal 9"),
        (&[HANGS], "was ended at its time limit of 10 s"),
        (&[(Kind::OutputFails, 1)], "cannot be read: the pipe is broken"),
        // That the end of its group cannot be told hides nothing.
        (&[HANGS, (Kind::GroupEndFails, 1)], "was ended at its time limit of 10 s"),
        (&[(Kind::OutputFails, 1), (Kind::GroupEndFails, 1)], "cannot be read: the pipe is broken"),
    ] {
        let (answer, _) = deploy_amid(faults);
        let failure = answer.unwrap_err();
        assert_eq!((&failure["code"], &failure["phase"]), (&json!("install_failed"), &json!("install")));
        assert!(failure["message"].as_str().unwrap().contains(told), "{faults:?}: {failure}");
    }
}

#[test]
fn a_deploy_is_not_over_before_its_installers_are_gone() {
    let (answer, trace) = deploy_amid(&[(Kind::ProcessFails, 3), (Kind::GroupEnd, 15)]);
    answer.unwrap_err();
    let at_ms = |wanted: fn(&Event) -> bool| trace.entries().iter().find(|entry| wanted(&entry.event)).unwrap().at_ms;
    let (gone, told) = (
        at_ms(|event| matches!(event, Event::ProcessExited { status: ExitStatus::Signal(9), .. })),
        at_ms(|event| matches!(event, Event::DeployAnswered { .. })),
    );
    assert!(gone >= 13_000 && told >= gone, "gone at {gone} ms, told at {told} ms");
}
