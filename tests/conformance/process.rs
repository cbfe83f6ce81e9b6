//! What a child process tells of itself. Simulated ones do what their script says; the real ones are shells that do the same.

use std::{io, path::Path, rc::Rc, time::Duration};

use bytes::Bytes;
use drydock::{
    env::{Child, Command, Disk, Env, ExitStatus, Output, OutputStream, Processes},
    sim::process::{Script, Scripts},
};
use futures_util::future::poll_immediate;

use crate::stage::{self, Nodes};

stage::claims! {
    a_child_that_says_nothing_ends;
    a_child_that_fails_tells_its_code;
    all_output_comes_before_the_end;
    both_streams_are_told_apart;
    output_comes_while_the_child_runs;
    a_child_that_hangs_is_ended_with_its_group;
    a_child_that_is_dropped_is_gone;
    who_gives_up_waiting_loses_no_output;
    what_a_child_leaves_is_there_when_it_has_ended;
    a_program_that_is_not_there_cannot_be_started;
    children_run_beside_each_other;
}

const SILENT: &str = "true";
const FAILS: &str = "exit 3";
const TALKS: &str = "printf 'one\\n'; printf 'two\\n'";
const BOTH: &str = "printf out; printf err >&2";
const TALKS_AND_HANGS: &str = "printf 'here\\n'; exec sleep 1000";
const LEAVES: &str = "printf words > left.txt";

fn scripts() -> Rc<Scripts> {
    Rc::new(|_, command| match (command.program.as_str(), command.args.last().map(String::as_str)) {
        ("sh", Some(script)) => Ok(script_of(script)),
        _ => Err(io::ErrorKind::NotFound.into()),
    })
}

/// What a shell does with one of the scripts above.
fn script_of(script: &str) -> Script {
    let say = |stream, words: &'static str| (Duration::ZERO, stream, Bytes::from_static(words.as_bytes()));
    let ends = |code| Script { exit: Some(ExitStatus::Code(code)), ..Script::default() };
    use OutputStream::{Stderr, Stdout};
    match script {
        SILENT => ends(0),
        FAILS => ends(3),
        TALKS => Script { writes: vec![say(Stdout, "one\n"), say(Stdout, "two\n")], ..ends(0) },
        BOTH => Script { writes: vec![say(Stdout, "out"), say(Stderr, "err")], ..ends(0) },
        TALKS_AND_HANGS => Script { writes: vec![say(Stdout, "here\n")], ..Script::default() },
        LEAVES => Script { files: vec![("left.txt".to_owned(), vec![Bytes::from_static(b"words")])], ..ends(0) },
        other => unreachable!("no claim runs {other}"),
    }
}

type ChildOf<E> = <<E as Env>::Processes as Processes>::Child;

fn shell(script: &str) -> Command {
    Command { program: "sh".to_owned(), args: vec!["-c".to_owned(), script.to_owned()], directory: "d".into() }
}

async fn here<E: Env>(nodes: &Nodes<E>, claim: impl AsyncFnOnce(E) + 'static) {
    nodes
        .on(0, async move |env: E| {
            env.disk().create_dir_all(Path::new("d")).await.unwrap();
            claim(env).await;
        })
        .await;
}

async fn start<E: Env>(env: &E, script: &str) -> ChildOf<E> {
    env.processes().spawn(&shell(script)).await.unwrap()
}

/// All that a child says on its two streams, and how it ends.
async fn all(child: &mut impl Child) -> (String, String, ExitStatus) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match child.next().await.unwrap() {
            Output::Chunk(OutputStream::Stdout, bytes) => out.extend_from_slice(&bytes),
            Output::Chunk(OutputStream::Stderr, bytes) => err.extend_from_slice(&bytes),
            Output::Exit(status) => {
                return (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), status);
            }
        }
    }
}

async fn ends<E: Env>(env: &E, script: &str) -> (String, String, ExitStatus) {
    all(&mut start(env, script).await).await
}

async fn a_child_that_says_nothing_ends<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        assert_eq!(ends(&env, SILENT).await, (String::new(), String::new(), ExitStatus::Code(0)));
    })
    .await;
}

async fn a_child_that_fails_tells_its_code<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| assert_eq!(ends(&env, FAILS).await.2, ExitStatus::Code(3))).await;
}

async fn all_output_comes_before_the_end<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| assert_eq!(ends(&env, TALKS).await.0, "one\ntwo\n")).await;
}

async fn both_streams_are_told_apart<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        assert_eq!(ends(&env, BOTH).await, ("out".to_owned(), "err".to_owned(), ExitStatus::Code(0)));
    })
    .await;
}

async fn output_comes_while_the_child_runs<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut child = start(&env, TALKS_AND_HANGS).await;
        assert_eq!(child.next().await.unwrap(), Output::Chunk(OutputStream::Stdout, "here\n".into()));
    })
    .await;
}

async fn a_child_that_hangs_is_ended_with_its_group<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut child = start(&env, TALKS_AND_HANGS).await;
        child.next().await.unwrap();
        child.kill_group().await.unwrap();
    })
    .await;
}

async fn a_child_that_is_dropped_is_gone<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        drop(start(&env, TALKS_AND_HANGS).await);
        assert_eq!(ends(&env, SILENT).await.2, ExitStatus::Code(0));
    })
    .await;
}

async fn who_gives_up_waiting_loses_no_output<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut child = start(&env, TALKS).await;
        let early = match poll_immediate(Box::pin(child.next())).await {
            Some(Ok(Output::Chunk(_, bytes))) => String::from_utf8(bytes.to_vec()).unwrap(),
            Some(other) => panic!("{other:?}"),
            None => String::new(),
        };
        assert_eq!(early + &all(&mut child).await.0, "one\ntwo\n");
    })
    .await;
}

async fn what_a_child_leaves_is_there_when_it_has_ended<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        ends(&env, LEAVES).await;
        assert_eq!(env.disk().read_file(Path::new("d/left.txt"), 100).await.unwrap(), "words");
    })
    .await;
}

async fn a_program_that_is_not_there_cannot_be_started<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let command =
            Command { program: "drydock-has-no-such-program".to_owned(), args: vec![], directory: "d".into() };
        let refused = env.processes().spawn(&command).await.map(drop);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NotFound);
    })
    .await;
}

async fn children_run_beside_each_other<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut hanging = start(&env, TALKS_AND_HANGS).await;
        assert_eq!(ends(&env, TALKS).await.0, "one\ntwo\n");
        assert_eq!(hanging.next().await.unwrap(), Output::Chunk(OutputStream::Stdout, "here\n".into()));
    })
    .await;
}
