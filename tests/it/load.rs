//! The load check, against components on a simulated disk.

use std::path::Path;

use bytes::Bytes;
use drydock::{
    check::NodeIndex,
    deploy::{load, slots::ProjectName},
    env::{Disk, Env, File},
    sim::{choice::Calm, cluster::Cluster},
};

use crate::story::{cluster_of, tell};

/// What stands in a component: a file's text, or where a link leads.
#[derive(Clone, Copy)]
enum Held {
    Text(&'static str),
    Link(&'static str),
}
use Held::{Link, Text};

type Files = &'static [(&'static str, Held)];

async fn lay_out(disk: &impl Disk, root: &Path, files: Files) {
    for (path, held) in files {
        let path = root.join(path);
        disk.create_dir_all(path.parent().unwrap()).await.unwrap();
        match held {
            Text(text) => {
                let mut file = disk.create_file(&path, 0o644).await.unwrap();
                file.write(Bytes::from_static(text.as_bytes())).await.unwrap();
            }
            Link(target) => disk.symlink(Path::new(target), &path).await.unwrap(),
        }
    }
}

/// What the load check says of a component.
fn check(files: Files) -> Result<(), String> {
    let story = async move |cluster: Cluster| {
        let env = cluster.env(NodeIndex(0));
        let root = Path::new("staging/it");
        lay_out(env.disk(), root, files).await;
        load::load(&env, &ProjectName::parse("hello").unwrap(), root).await.map_err(|error| error.to_string())
    };
    tell(&cluster_of(1), Calm, story).0
}

fn refused(files: Files, why: &str) {
    let told = check(files).unwrap_err();
    assert!(told.contains(why), "{told}");
}

#[test]
fn a_component_without_a_manifest_loads() {
    assert_eq!(check(&[("data.bin", Text("1"))]), Ok(()));
    assert_eq!(check(&[("package.json/readme", Text("a directory"))]), Ok(()));
}

#[test]
fn main_is_found_as_require_finds_it() {
    const PLAIN: &str = r#"{"main":"./lib/index.js"}"#;
    const SHORT: &str = r#"{"main":"lib"}"#;
    assert_eq!(check(&[("package.json", Text(PLAIN)), ("lib/index.js", Text(""))]), Ok(()));
    assert_eq!(check(&[("package.json", Text(SHORT)), ("lib.js", Text(""))]), Ok(()));
    assert_eq!(check(&[("package.json", Text(SHORT)), ("lib/index.json", Text("{}"))]), Ok(()));
    assert_eq!(check(&[("package.json", Text(r#"{"main":"./"}"#)), ("index.js", Text(""))]), Ok(()));
    assert_eq!(
        check(&[("package.json", Text(r#"{"main":"lib/../index.js"}"#)), ("lib/a", Text("")), ("index.js", Text(""))]),
        Ok(())
    );
}

#[test]
fn what_is_named_and_not_there_is_told_with_where_it_is_named() {
    refused(
        &[("package.json", Text(r#"{"main":"lib"}"#)), ("lib/other.js", Text(""))],
        "`lib`, which `main` in package.json names",
    );
    refused(
        &[("package.json", Text(r#"{"exports":{".":{"import":"./i.mjs"}}}"#))],
        "`./i.mjs`, which `exports[\".\"].import`",
    );
    refused(&[("config.yaml", Text("jsResource:\n  files: resources.js\n"))], "`jsResource.files` in config.yaml");
    refused(&[("package.json", Text(r#"{"main":"index.js/more"}"#)), ("index.js", Text(""))], "is not there");
}

#[test]
fn what_leads_out_of_the_component_is_refused() {
    const LINKED: Held = Text(r#"{"main":"lib/index.js"}"#);
    refused(&[("package.json", Text(r#"{"main":"../other/index.js"}"#))], "leaves the component");
    refused(&[("package.json", Text(r#"{"main":"/etc/passwd"}"#))], "leaves the component");
    refused(&[("package.json", LINKED), ("lib", Link("../elsewhere"))], "leaves the component");
    refused(&[("package.json", LINKED), ("lib", Link("/srv"))], "leaves the component");
    refused(&[("package.json", LINKED), ("lib", Link("lib"))], "is not there");
    const SHORT: Held = Text(r#"{"main":"lib"}"#);
    refused(&[("package.json", SHORT), ("lib.js", Link("../elsewhere.js"))], "leaves the component");
    assert_eq!(
        check(&[
            ("package.json", LINKED),
            ("lib", Link("dist/../src")),
            ("dist/a", Text("")),
            ("src/index.js", Text(""))
        ]),
        Ok(())
    );
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let chain = |links: usize| -> Files {
        let link = |number: usize| -> (&'static str, Held) {
            let name = |number: usize| if number == 0 { "end.js".to_owned() } else { format!("l{number}") };
            (name(number).leak(), Link(name(number - 1).leak()))
        };
        let main = format!(r#"{{"main":"l{links}"}}"#).leak();
        let fixed = [("package.json", Text(main)), ("end.js", Text(""))];
        fixed.into_iter().chain((1..=links).map(link)).collect::<Vec<_>>().leak()
    };
    assert_eq!([1, 39, 40].map(|links| check(chain(links))), [Ok(()), Ok(()), Ok(())]);
    refused(chain(41), "is not there");
}

#[test]
fn a_manifest_has_a_mebibyte_at_most() {
    let manifest = |bytes: usize| -> Files {
        let text = r#"{"name":"hello"}"#.to_owned();
        let spaces = " ".repeat(bytes - text.len());
        vec![("package.json", Text((text + &spaces).leak()))].leak()
    };
    assert_eq!(check(manifest(1 << 20)), Ok(()));
    refused(manifest((1 << 20) + 1), "package.json");
}

#[test]
fn a_manifest_that_cannot_be_understood_is_told() {
    refused(&[("package.json", Text("{"))], "package.json cannot be read");
    refused(&[("config.yaml", Text("jsResource: [\n"))], "config.yaml cannot be read");
}
