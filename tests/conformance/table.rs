//! What a node's table does with local puts, with the rows of others, and with those who watch.

use std::rc::Rc;

use drydock::{
    env::{BlobId, Changes, Draft, Env, Key, Position, Record, RowWatch, Table, Version},
    sim::process::{Script, Scripts},
};
use futures_util::future::poll_immediate;

use crate::stage::{self, Nodes, name};

stage::claims! {
    a_row_that_nobody_put_is_not_there;
    a_row_is_there_as_it_was_put;
    a_put_takes_its_snapshot_once;
    a_version_names_its_node_and_is_newer_than_every_one_before;
    a_fresh_stamp_is_newer_than_what_is_there_and_older_than_what_comes;
    the_last_of_several_puts_at_once_stays;
    rows_are_listed_in_the_order_of_their_keys;
    what_another_node_wrote_is_taken_under_its_own_version;
    what_is_not_accepted_changes_nothing;
    accepting_sees_what_stands_there;
    a_put_is_newer_than_the_newest_row_of_another_node;
    a_put_is_newer_than_a_row_of_another_node_that_was_not_taken;
    a_put_is_newer_than_a_row_of_another_node_whose_commit_nobody_waited_for;
    the_log_holds_local_puts_in_their_order_and_nothing_else;
    the_log_goes_on_from_a_position;
    who_is_at_the_end_of_the_log_waits_for_more;
    who_gives_up_waiting_for_the_log_misses_nothing;
    each_subscription_to_the_log_has_a_place_of_its_own;
    a_cursor_begins_at_the_start_and_is_kept_for_each_node;
    who_watches_a_row_sees_local_puts_and_those_of_others;
    who_watches_a_row_sees_no_other_row;
    a_change_before_the_wait_is_not_missed;
}

fn scripts() -> Rc<Scripts> {
    Rc::new(|_, _| Ok(Script::default()))
}

fn draft(value: &'static str) -> Draft {
    Draft { value: value.into(), blob: None }
}

fn key(text: &str) -> Key {
    text.into()
}

fn of_another(text: &str, stamp: u64, value: &'static str) -> Record {
    Record { key: key(text), version: Version { stamp, node: name(1) }, value: value.into(), blob: None }
}

/// A stamp of a day far ahead.
const FAR_AHEAD: u64 = 5_000_000_000_000 << 16;

async fn here<E: Env, T: 'static>(nodes: &Nodes<E>, claim: impl AsyncFnOnce(E) -> T + 'static) -> T {
    nodes.on(0, claim).await
}

async fn put<E: Env>(env: &E, text: &str, value: &'static str) -> Version {
    env.table().put(&key(text), || draft(value)).await.unwrap()
}

async fn value<E: Env>(env: &E, text: &str) -> Option<Rc<Record>> {
    env.table().get(&key(text)).await.unwrap()
}

async fn a_row_that_nobody_put_is_not_there<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| assert_eq!(value(&env, "a").await, None)).await;
}

async fn a_row_is_there_as_it_was_put<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let blob = Some(BlobId(env.fresh_id()));
        let version = env.table().put(&key("a"), || Draft { value: "row".into(), blob }).await.unwrap();
        let expected = Record { key: key("a"), version, value: "row".into(), blob };
        assert_eq!(*value(&env, "a").await.unwrap(), expected);
    })
    .await;
}

async fn a_put_takes_its_snapshot_once<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut taken = 0;
        let snapshot = || {
            taken += 1;
            draft("row")
        };
        env.table().put(&key("a"), snapshot).await.unwrap();
        assert_eq!(taken, 1);
    })
    .await;
}

async fn a_version_names_its_node_and_is_newer_than_every_one_before<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let versions = [put(&env, "a", "1").await, put(&env, "b", "2").await, put(&env, "a", "3").await];
        assert!(versions.iter().all(|version| version.node == name(0)));
        assert!(versions.is_sorted_by_key(|version| version.stamp) && versions[0].stamp < versions[1].stamp);
        assert!(versions[1].stamp < versions[2].stamp);
    })
    .await;
}

async fn a_fresh_stamp_is_newer_than_what_is_there_and_older_than_what_comes<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let before = put(&env, "a", "1").await.stamp;
        let fresh = env.table().fresh_stamp(0).await.unwrap();
        let again = env.table().fresh_stamp(0).await.unwrap();
        let later = again + (1 << 40);
        let told = env.table().fresh_stamp(later).await.unwrap();
        let after = put(&env, "a", "2").await.stamp;
        assert!(before < fresh && fresh < again && later < told && told < after);
    })
    .await;
}

async fn the_last_of_several_puts_at_once_stays<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let puts = ["1", "2", "3", "4"].map(|value| put(&env, "a", value));
        let versions = futures_util::future::join_all(puts).await;
        let stands = value(&env, "a").await.unwrap();
        assert_eq!(Some(&stands.version), versions.iter().max());
    })
    .await;
}

async fn rows_are_listed_in_the_order_of_their_keys<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        for text in ["b", "c", "a"] {
            put(&env, text, "row").await;
        }
        env.table().put_if(of_another("aa", 1, "row"), |_| true).await.unwrap();
        let keys: Vec<_> = env.table().scan().await.unwrap().iter().map(|record| record.key.to_string()).collect();
        assert_eq!(keys, ["a", "aa", "b", "c"]);
    })
    .await;
}

async fn what_another_node_wrote_is_taken_under_its_own_version<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let record = of_another("a", 7 << 16, "theirs");
        assert!(env.table().put_if(record.clone(), |_| true).await.unwrap());
        assert_eq!(*value(&env, "a").await.unwrap(), record);
    })
    .await;
}

async fn what_is_not_accepted_changes_nothing<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        put(&env, "a", "mine").await;
        assert!(!env.table().put_if(of_another("a", FAR_AHEAD, "theirs"), |_| false).await.unwrap());
        assert_eq!(value(&env, "a").await.unwrap().value, "mine");
    })
    .await;
}

async fn accepting_sees_what_stands_there<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut seen = Vec::new();
        let mut see = |current: Option<&Record>| {
            seen.push(current.map(|record| record.value.clone()));
            true
        };
        env.table().put_if(of_another("a", 1, "first"), &mut see).await.unwrap();
        env.table().put_if(of_another("a", 2, "second"), &mut see).await.unwrap();
        assert_eq!(seen, [None, Some("first".into())]);
    })
    .await;
}

async fn a_put_is_newer_than_the_newest_row_of_another_node<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        env.table().put_if(of_another("a", FAR_AHEAD, "theirs"), |_| true).await.unwrap();
        assert!(put(&env, "b", "mine").await.stamp > FAR_AHEAD);
    })
    .await;
}

async fn a_put_is_newer_than_a_row_of_another_node_that_was_not_taken<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        assert!(!env.table().put_if(of_another("a", FAR_AHEAD, "theirs"), |_| false).await.unwrap());
        assert!(put(&env, "a", "mine").await.stamp > FAR_AHEAD);
    })
    .await;
}

async fn a_put_is_newer_than_a_row_of_another_node_whose_commit_nobody_waited_for<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        // Whether it comes about is open.
        poll_immediate(env.table().put_if(of_another("a", FAR_AHEAD, "theirs"), |_| true)).await;
        let stamp = put(&env, "b", "mine").await.stamp;
        let is_there = env.table().get(&key("a")).await.unwrap().is_some();
        assert!(!is_there || stamp > FAR_AHEAD);
    })
    .await;
}

async fn next<C: Changes>(changes: &mut C) -> (Position, String) {
    let (position, record) = changes.next().await.unwrap();
    (position, String::from_utf8(record.value.to_vec()).unwrap())
}

async fn the_log_holds_local_puts_in_their_order_and_nothing_else<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        put(&env, "a", "1").await;
        env.table().put_if(of_another("b", 3, "theirs"), |_| true).await.unwrap();
        put(&env, "a", "2").await;
        put(&env, "c", "3").await;
        let mut changes = env.table().changes(Position::default());
        let logged = [next(&mut changes).await, next(&mut changes).await, next(&mut changes).await];
        assert_eq!(logged.each_ref().map(|(_, value)| value.as_str()), ["1", "2", "3"]);
        assert!(logged.is_sorted_by_key(|(position, _)| *position));
        assert!(poll_immediate(Box::pin(changes.next())).await.is_none());
    })
    .await;
}

async fn the_log_goes_on_from_a_position<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        for value in ["1", "2", "3"] {
            put(&env, "a", value).await;
        }
        let (first, _) = next(&mut env.table().changes(Position::default())).await;
        assert_eq!(next(&mut env.table().changes(first)).await.1, "2");
    })
    .await;
}

async fn who_is_at_the_end_of_the_log_waits_for_more<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut changes = env.table().changes(Position::default());
        let mut waits = Box::pin(next(&mut changes));
        assert!(poll_immediate(&mut waits).await.is_none());
        put(&env, "a", "1").await;
        assert_eq!(waits.await.1, "1");
    })
    .await;
}

async fn who_gives_up_waiting_for_the_log_misses_nothing<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut changes = env.table().changes(Position::default());
        assert!(poll_immediate(Box::pin(changes.next())).await.is_none());
        put(&env, "a", "1").await;
        assert_eq!(next(&mut changes).await.1, "1");
    })
    .await;
}

async fn each_subscription_to_the_log_has_a_place_of_its_own<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        put(&env, "a", "1").await;
        put(&env, "a", "2").await;
        let (mut one, mut other) = (env.table().changes(Position::default()), env.table().changes(Position::default()));
        assert_eq!((next(&mut one).await.1, next(&mut one).await.1), ("1".to_owned(), "2".to_owned()));
        assert_eq!(next(&mut other).await.1, "1");
    })
    .await;
}

async fn a_cursor_begins_at_the_start_and_is_kept_for_each_node<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        assert_eq!(env.table().cursor(&name(1)).await.unwrap(), Position::default());
        env.table().save_cursor(&name(1), Position(7)).await.unwrap();
        env.table().save_cursor(&name(2), Position(3)).await.unwrap();
        env.table().save_cursor(&name(1), Position(9)).await.unwrap();
        assert_eq!(env.table().cursor(&name(1)).await.unwrap(), Position(9));
        assert_eq!(env.table().cursor(&name(2)).await.unwrap(), Position(3));
    })
    .await;
}

async fn who_watches_a_row_sees_local_puts_and_those_of_others<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut watch = env.table().watch(&key("a"));
        assert!(poll_immediate(Box::pin(watch.changed())).await.is_none());
        put(&env, "a", "1").await;
        watch.changed().await;
        env.table().put_if(of_another("a", FAR_AHEAD, "theirs"), |_| true).await.unwrap();
        watch.changed().await;
        env.table().put_if(of_another("a", FAR_AHEAD, "theirs"), |_| false).await.unwrap();
        assert!(poll_immediate(Box::pin(watch.changed())).await.is_none(), "nothing was committed");
    })
    .await;
}

async fn who_watches_a_row_sees_no_other_row<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut watch = env.table().watch(&key("a"));
        put(&env, "b", "1").await;
        assert!(poll_immediate(Box::pin(watch.changed())).await.is_none());
    })
    .await;
}

async fn a_change_before_the_wait_is_not_missed<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut watch = env.table().watch(&key("a"));
        put(&env, "a", "1").await;
        put(&env, "a", "2").await;
        watch.changed().await;
        assert!(poll_immediate(Box::pin(watch.changed())).await.is_none(), "both were seen at once");
    })
    .await;
}
