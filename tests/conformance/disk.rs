//! What a node's directory does, and what it refuses.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    rc::Rc,
};

use bytes::Bytes;
use drydock::{
    env::{Disk, EntryKind, Env, File, Metadata},
    sim::process::{Script, Scripts},
};

use crate::stage::{self, Nodes};

stage::claims! {
    directories_are_made_with_their_parents_and_twice_is_once;
    no_directory_is_made_where_a_file_stands;
    a_file_holds_what_is_written_to_it;
    a_file_is_made_once;
    a_file_needs_its_directory;
    a_file_that_is_removed_under_its_writer_takes_bytes_to_nowhere;
    a_file_that_is_moved_under_its_writer_takes_bytes_where_it_is;
    a_file_is_read_in_parts;
    a_file_that_is_too_long_is_not_read;
    what_is_no_file_is_not_read;
    a_link_holds_its_target_and_is_not_followed;
    what_is_no_link_is_not_read_as_one;
    what_stands_there_is_told_without_opening_it;
    names_are_listed_in_order_with_their_kinds;
    what_is_no_directory_is_not_listed;
    a_directory_is_moved_with_all_that_it_holds;
    a_file_or_link_takes_the_place_of_another;
    a_directory_takes_the_place_of_an_empty_one_only;
    files_and_directories_do_not_take_each_others_place;
    what_is_not_there_is_not_moved;
    nothing_is_moved_into_a_place_that_is_not_there;
    a_directory_is_removed_with_all_that_it_holds;
    a_link_is_removed_and_not_what_it_leads_to;
    removing_nothing_is_no_error;
    what_is_there_can_be_synced_and_what_is_not_cannot;
}

fn scripts() -> Rc<Scripts> {
    Rc::new(|_, _| Ok(Script::default()))
}

async fn here<E: Env>(nodes: &Nodes<E>, claim: impl AsyncFnOnce(E) + 'static) {
    nodes
        .on(0, async move |env: E| {
            env.disk().create_dir_all(Path::new("d")).await.unwrap();
            claim(env).await;
        })
        .await;
}

/// A path below a directory of the claim's own, which is the empty path.
fn path(text: &str) -> PathBuf {
    if text.is_empty() {
        return PathBuf::from("d");
    }
    Path::new("d").join(text)
}

async fn write<E: Env>(env: &E, text: &str, words: &'static str) {
    let mut file = env.disk().create_file(&path(text), 0o644).await.unwrap();
    file.write(words.into()).await.unwrap();
    file.sync().await.unwrap();
}

async fn mkdir<E: Env>(env: &E, text: &str) {
    env.disk().create_dir_all(&path(text)).await.unwrap();
}

async fn link<E: Env>(env: &E, target: &str, text: &str) {
    env.disk().symlink(Path::new(target), &path(text)).await.unwrap();
}

async fn read<E: Env>(env: &E, text: &str) -> Result<Bytes, ErrorKind> {
    env.disk().read_file(&path(text), 100).await.map_err(|error| error.kind())
}

async fn rename<E: Env>(env: &E, from: &str, to: &str) -> Result<(), ErrorKind> {
    env.disk().rename(&path(from), &path(to)).await.map_err(|error| error.kind())
}

async fn kind<E: Env>(env: &E, text: &str) -> Option<EntryKind> {
    env.disk().metadata(&path(text)).await.unwrap().map(|found| found.kind)
}

async fn directories_are_made_with_their_parents_and_twice_is_once<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        mkdir(&env, "a/b/c").await;
        mkdir(&env, "a/b/c").await;
        assert_eq!(kind(&env, "a/b/c").await, Some(EntryKind::Dir));
        assert_eq!(kind(&env, "a").await, Some(EntryKind::Dir));
    })
    .await;
}

async fn no_directory_is_made_where_a_file_stands<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        write(&env, "f", "words").await;
        let at = env.disk().create_dir_all(&path("f")).await.unwrap_err();
        let below = env.disk().create_dir_all(&path("f/a/b")).await.unwrap_err();
        assert_eq!((at.kind(), below.kind()), (ErrorKind::AlreadyExists, ErrorKind::NotADirectory));
    })
    .await;
}

async fn a_file_holds_what_is_written_to_it<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut file = env.disk().create_file(&path("f"), 0o644).await.unwrap();
        assert_eq!(read(&env, "f").await.unwrap(), "");
        for words in ["one, ", "", "two"] {
            file.write(words.into()).await.unwrap();
        }
        assert_eq!(read(&env, "f").await.unwrap(), "one, two");
    })
    .await;
}

async fn a_file_is_made_once<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        write(&env, "f", "words").await;
        mkdir(&env, "a").await;
        link(&env, "nowhere", "l").await;
        for taken in ["f", "a", "l"] {
            let error = env.disk().create_file(&path(taken), 0o644).await.map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{taken}");
        }
        let error = env.disk().symlink(Path::new("x"), &path("f")).await.unwrap_err();
        assert_eq!((error.kind(), read(&env, "f").await.unwrap()), (ErrorKind::AlreadyExists, "words".into()));
    })
    .await;
}

async fn a_file_needs_its_directory<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        write(&env, "f", "words").await;
        for (text, kind) in [("a/f", ErrorKind::NotFound), ("f/g", ErrorKind::NotADirectory)] {
            let error = env.disk().create_file(&path(text), 0o644).await.map(drop).unwrap_err();
            assert_eq!(error.kind(), kind, "{text}");
        }
    })
    .await;
}

async fn a_file_that_is_removed_under_its_writer_takes_bytes_to_nowhere<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut file = env.disk().create_file(&path("f"), 0o644).await.unwrap();
        env.disk().remove_all(&path("f")).await.unwrap();
        file.write("words".into()).await.unwrap();
        file.sync().await.unwrap();
        assert_eq!(kind(&env, "f").await, None);
    })
    .await;
}

async fn a_file_that_is_moved_under_its_writer_takes_bytes_where_it_is<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        let mut file = env.disk().create_file(&path("f"), 0o644).await.unwrap();
        file.write("one".into()).await.unwrap();
        rename(&env, "f", "g").await.unwrap();
        file.write(", two".into()).await.unwrap();
        assert_eq!(read(&env, "g").await.unwrap(), "one, two");
    })
    .await;
}

async fn a_file_is_read_in_parts<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        write(&env, "f", "abcdef").await;
        let at = async |offset, bytes_max| env.disk().read_at(&path("f"), offset, bytes_max).await.unwrap();
        assert_eq!((at(0, 2).await, at(4, 10).await), ("ab".into(), "ef".into()));
        assert!(at(6, 10).await.is_empty() && at(100, 10).await.is_empty());
    })
    .await;
}

async fn a_file_that_is_too_long_is_not_read<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        write(&env, "f", "abcdef").await;
        let error = env.disk().read_file(&path("f"), 5).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert_eq!(env.disk().read_file(&path("f"), 6).await.unwrap(), "abcdef");
    })
    .await;
}

async fn what_is_no_file_is_not_read<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        mkdir(&env, "a").await;
        write(&env, "f", "words").await;
        link(&env, "f", "l").await;
        for (text, kind) in [
            ("a", ErrorKind::InvalidInput),
            ("l", ErrorKind::InvalidInput),
            ("nothing", ErrorKind::NotFound),
            ("f/g", ErrorKind::NotADirectory),
        ] {
            assert_eq!(read(&env, text).await.unwrap_err(), kind, "{text}");
            let error = env.disk().read_at(&path(text), 0, 5).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{text}");
        }
    })
    .await;
}

async fn a_link_holds_its_target_and_is_not_followed<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        link(&env, "../d/nowhere", "l").await;
        assert_eq!(env.disk().read_link(&path("l")).await.unwrap(), Path::new("../d/nowhere"));
        assert_eq!(kind(&env, "l").await, Some(EntryKind::Symlink));
    })
    .await;
}

async fn what_is_no_link_is_not_read_as_one<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        write(&env, "f", "words").await;
        for (text, kind) in [("f", ErrorKind::InvalidInput), ("", ErrorKind::InvalidInput), ("x", ErrorKind::NotFound)]
        {
            assert_eq!(env.disk().read_link(&path(text)).await.unwrap_err().kind(), kind, "{text}");
        }
    })
    .await;
}

async fn what_stands_there_is_told_without_opening_it<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        write(&env, "f", "words").await;
        link(&env, "f", "l").await;
        let look = async |text| env.disk().metadata(&path(text)).await.unwrap();
        assert_eq!(look("f").await, Some(Metadata { kind: EntryKind::File, bytes: 5 }));
        assert_eq!(look("l").await, Some(Metadata { kind: EntryKind::Symlink, bytes: 0 }));
        assert_eq!(look("").await, Some(Metadata { kind: EntryKind::Dir, bytes: 0 }));
        assert_eq!((look("x").await, look("x/y").await, look("f/y").await), (None, None, None));
    })
    .await;
}

async fn names_are_listed_in_order_with_their_kinds<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        mkdir(&env, "b/below").await;
        write(&env, "c", "words").await;
        link(&env, "c", "a").await;
        let listed = env.disk().read_dir(Path::new("d")).await.unwrap();
        let expected = [("a", EntryKind::Symlink), ("b", EntryKind::Dir), ("c", EntryKind::File)];
        assert_eq!(listed, expected.map(|(name, kind)| (name.to_owned(), kind)));
    })
    .await;
}

async fn what_is_no_directory_is_not_listed<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        write(&env, "f", "words").await;
        for (text, kind) in [("f", ErrorKind::NotADirectory), ("x", ErrorKind::NotFound)] {
            assert_eq!(env.disk().read_dir(&path(text)).await.unwrap_err().kind(), kind, "{text}");
        }
    })
    .await;
}

async fn a_directory_is_moved_with_all_that_it_holds<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        mkdir(&env, "a/b").await;
        write(&env, "a/b/f", "words").await;
        rename(&env, "a", "z").await.unwrap();
        assert_eq!((kind(&env, "a").await, read(&env, "z/b/f").await.unwrap()), (None, "words".into()));
    })
    .await;
}

async fn a_file_or_link_takes_the_place_of_another<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        write(&env, "f", "old").await;
        write(&env, "g", "new").await;
        rename(&env, "g", "f").await.unwrap();
        assert_eq!((read(&env, "f").await.unwrap(), kind(&env, "g").await), ("new".into(), None));
        link(&env, "one", "l").await;
        link(&env, "two", "m").await;
        rename(&env, "m", "l").await.unwrap();
        assert_eq!(env.disk().read_link(&path("l")).await.unwrap(), Path::new("two"));
    })
    .await;
}

async fn a_directory_takes_the_place_of_an_empty_one_only<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        for text in ["a", "empty", "full"] {
            mkdir(&env, text).await;
        }
        write(&env, "a/f", "words").await;
        write(&env, "full/f", "words").await;
        assert_eq!(rename(&env, "a", "full").await, Err(ErrorKind::DirectoryNotEmpty));
        rename(&env, "a", "empty").await.unwrap();
        assert_eq!(read(&env, "empty/f").await.unwrap(), "words");
    })
    .await;
}

async fn files_and_directories_do_not_take_each_others_place<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        mkdir(&env, "a").await;
        write(&env, "f", "words").await;
        assert_eq!(rename(&env, "a", "f").await, Err(ErrorKind::NotADirectory));
        assert_eq!(rename(&env, "f", "a").await, Err(ErrorKind::IsADirectory));
        assert_eq!(rename(&env, "a", "a/b").await, Err(ErrorKind::InvalidInput));
    })
    .await;
}

async fn what_is_not_there_is_not_moved<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        assert_eq!(rename(&env, "x", "y").await, Err(ErrorKind::NotFound));
    })
    .await;
}

async fn nothing_is_moved_into_a_place_that_is_not_there<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        write(&env, "f", "words").await;
        assert_eq!(rename(&env, "f", "a/f").await, Err(ErrorKind::NotFound));
        assert_eq!(read(&env, "f").await.unwrap(), "words");
    })
    .await;
}

async fn a_directory_is_removed_with_all_that_it_holds<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        mkdir(&env, "a/b").await;
        write(&env, "a/b/f", "words").await;
        mkdir(&env, "ab").await;
        env.disk().remove_all(&path("a")).await.unwrap();
        assert_eq!((kind(&env, "a").await, kind(&env, "a/b/f").await), (None, None));
        assert_eq!(kind(&env, "ab").await, Some(EntryKind::Dir), "a name that begins the same is another");
    })
    .await;
}

async fn a_link_is_removed_and_not_what_it_leads_to<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        mkdir(&env, "a").await;
        write(&env, "a/f", "words").await;
        link(&env, "a", "l").await;
        env.disk().remove_all(&path("l")).await.unwrap();
        assert_eq!((kind(&env, "l").await, read(&env, "a/f").await.unwrap()), (None, "words".into()));
    })
    .await;
}

async fn removing_nothing_is_no_error<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        env.disk().remove_all(&path("x")).await.unwrap();
        env.disk().remove_all(&path("x/y")).await.unwrap();
    })
    .await;
}

async fn what_is_there_can_be_synced_and_what_is_not_cannot<E: Env>(nodes: Nodes<E>) {
    here(&nodes, async |env: E| {
        mkdir(&env, "a/b").await;
        write(&env, "a/b/f", "words").await;
        link(&env, "nowhere", "a/l").await;
        env.disk().sync_tree(&path("a")).await.unwrap();
        env.disk().sync_dir(&path("a")).await.unwrap();
        assert_eq!(env.disk().sync_tree(&path("x")).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(env.disk().sync_dir(&path("x")).await.unwrap_err().kind(), ErrorKind::NotFound);
    })
    .await;
}
