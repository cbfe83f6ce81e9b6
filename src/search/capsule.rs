//! Capsules: a run as a small readable file.
//!
//! A capsule holds the scenario, what all its runs have in common, and the choices that are not 0, by their labels. It
//! outlives unrelated edits of the code better than a seed does. People may edit one by hand; the last line tells that the
//! file is whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::setup::{Break, Setup};
use crate::{
    check::Violation,
    sim::{
        choice::Choices,
        component::{Component, ComponentError},
        run::{Params, WorldKind},
    },
    sims,
};

/// The format that this drydock writes and reads.
const FORMAT: i64 = 1;

/// The first line, for whoever opens the file.
const HEADER: &str = "# A run that breaks an invariant. To see it again: drydock replay THIS_FILE --trace\n\n";

/// The last line: a file without it has been cut.
const END: &str = "# end of capsule";

/// A capsule, larger than which no file is read, bytes.
const BYTES_MAX: u64 = 16 << 20;

/// A run, and what it broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capsule {
    format: i64,
    /// The scenario's name.
    pub scenario: String,
    /// Nodes in the cluster.
    pub nodes: u8,
    world: String,
    /// What was deployed.
    pub component: ComponentNote,
    /// What was broken.
    pub violation: ViolationNote,
    /// The choices that are not 0.
    #[serde(default)]
    pub choices: Choices,
}

/// Which component was deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentNote {
    /// Its name.
    pub name: String,
    /// Where it was read from; the built-in one has no path.
    pub path: Option<PathBuf>,
    /// The size that it was made to have, of one that is read from nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mib: Option<u32>,
    /// Its payload's hash.
    pub sha256: String,
}

/// What a run broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViolationNote {
    /// The invariant.
    pub invariant: String,
    /// How it was broken.
    pub fingerprint: String,
    /// Why, in plain words.
    pub why: String,
}

/// Why a capsule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CapsuleError {
    /// The file cannot be read.
    #[error("cannot read the capsule `{}`: {cause}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file's end is missing.
    #[error("the capsule `{}` is cut: its last line must be `{END}`; get a whole copy of it", .0.display())]
    Cut(PathBuf),
    /// The file is no capsule.
    #[error("`{}` is no capsule: {cause}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and in which line.
        cause: String,
    },
    /// Another version of drydock wrote it.
    #[error("the capsule `{}` has format {found}, and this drydock reads format {FORMAT}: use the version that wrote it", path.display())]
    OtherFormat {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// There is no such scenario.
    #[error("the capsule is for the scenario `{0}`, which this drydock does not have: see `drydock scenarios`")]
    UnknownScenario(String),
    /// A parameter is out of range.
    #[error("the capsule asks for {0}")]
    BadParameter(String),
    /// The component cannot be read.
    #[error("the capsule's component: {0}")]
    Component(#[from] ComponentError),
    /// The component is not the one that the capsule was made with.
    #[error(
        "the capsule was made with another `{name}`: its hash was {expected}, this one's is {found}; pass the right one with --component"
    )]
    OtherComponent {
        /// The component's name.
        name: String,
        /// The hash that the capsule names.
        expected: String,
        /// The hash found.
        found: String,
    },
}

impl Capsule {
    /// A capsule for a run of the setup's `scenario`-th scenario; `path` is where its component was read from.
    pub fn new(setup: &Setup, scenario: usize, path: Option<&Path>, violation: &Violation, choices: Choices) -> Self {
        let component = &setup.params.component;
        Self {
            format: FORMAT,
            scenario: setup.scenarios[scenario].name.to_owned(),
            nodes: setup.params.nodes,
            world: setup.world.to_string(),
            component: ComponentNote {
                name: component.name.clone(),
                path: path.map(Path::to_owned),
                mib: component.mib,
                sha256: component.hash.clone(),
            },
            violation: ViolationNote {
                invariant: violation.invariant.to_owned(),
                fingerprint: violation.fingerprint.clone(),
                why: violation.why.clone(),
            },
            choices,
        }
    }

    /// The violation that the run must show again.
    pub fn broken(&self) -> Break {
        Break { invariant: self.violation.invariant.clone(), fingerprint: self.violation.fingerprint.clone() }
    }

    /// What the run is made from, with its one scenario. `component` is read instead of the path that the capsule names.
    ///
    /// # Errors
    /// When this drydock does not have what the capsule names.
    pub fn setup(&self, world: Option<WorldKind>, component: Option<&Path>) -> Result<Setup, CapsuleError> {
        let scenario = sims::ALL.iter().find(|scenario| scenario.name == self.scenario);
        let scenario = scenario.ok_or_else(|| CapsuleError::UnknownScenario(self.scenario.clone()))?;
        let own_world = || self.world.parse().map_err(CapsuleError::BadParameter);
        let world = world.map_or_else(own_world, Ok)?;
        if !(1..=9).contains(&self.nodes) {
            return Err(CapsuleError::BadParameter(format!("{} nodes: it must be 1 to 9", self.nodes)));
        }
        let component = Arc::new(self.load_component(component)?);
        Ok(Setup { world, scenarios: vec![scenario], params: Params { nodes: self.nodes, component } })
    }

    fn load_component(&self, path: Option<&Path>) -> Result<Component, CapsuleError> {
        let found = match (path, self.component.mib) {
            (None, Some(mib)) => Component::large(mib),
            _ => Component::load(path.or(self.component.path.as_deref()))?,
        };
        if found.hash == self.component.sha256 {
            return Ok(found);
        }
        let (name, expected) = (self.component.name.clone(), self.component.sha256.clone());
        Err(CapsuleError::OtherComponent { name, expected, found: found.hash })
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let body = toml::to_string(self).expect("a capsule has nothing that TOML cannot say");
        format!("{HEADER}{body}\n{END}\n")
    }

    /// Reads a file's text; `path` is for the error.
    ///
    /// # Errors
    /// When it is not a whole capsule of this format.
    pub fn parse(text: &str, path: &Path) -> Result<Self, CapsuleError> {
        let malformed = |error| CapsuleError::Malformed { path: path.to_owned(), cause: toml_error(text, &error) };
        let is_whole = text.trim_end().ends_with(END);
        let table: toml::Table = text.parse().map_err(|error| match is_whole {
            true => malformed(error),
            false => CapsuleError::Cut(path.to_owned()),
        })?;
        match table.get("format").and_then(toml::Value::as_integer) {
            Some(FORMAT) if is_whole => toml::from_str(text).map_err(malformed),
            Some(FORMAT) => Err(CapsuleError::Cut(path.to_owned())),
            Some(found) => Err(CapsuleError::OtherFormat { path: path.to_owned(), found }),
            None => {
                Err(CapsuleError::Malformed { path: path.to_owned(), cause: "it does not say `format = 1`".to_owned() })
            }
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`Capsule::parse`], and when the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, CapsuleError> {
        let unreadable = |cause| CapsuleError::Unreadable { path: path.to_owned(), cause };
        if fs::metadata(path).map_err(unreadable)?.len() > BYTES_MAX {
            let cause = "it is too large for one".to_owned();
            return Err(CapsuleError::Malformed { path: path.to_owned(), cause });
        }
        Self::parse(&fs::read_to_string(path).map_err(unreadable)?, path)
    }

    /// Writes the capsule into `directory`, under a name made of its content: another capsule never has the same one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, directory: &Path) -> io::Result<PathBuf> {
        let text = self.render();
        let hash = xxh3_64(text.as_bytes()) as u32;
        let path = directory.join(format!("{}-{}-{hash:08x}.toml", self.scenario, self.violation.invariant));
        fs::create_dir_all(directory)?;
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// One line about an error in TOML.
pub fn toml_error(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', "; ");
    match error.span() {
        Some(span) => format!("line {}: {message}", 1 + text[..span.start.min(text.len())].matches('\n').count()),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        check::NodeIndex,
        sim::choice::{Kind, Label},
    };

    fn capsule(choices: Choices, why: &str) -> Capsule {
        Capsule {
            format: FORMAT,
            scenario: "calm".to_owned(),
            nodes: 3,
            world: "sim".to_owned(),
            component: ComponentNote { name: "hello".to_owned(), path: None, mib: None, sha256: "ab".repeat(32) },
            violation: ViolationNote {
                invariant: "PEERS".to_owned(),
                fingerprint: "outcome lost".to_owned(),
                why: why.to_owned(),
            },
            choices,
        }
    }

    fn two_choices() -> Choices {
        let label = |kind, node, occurrence| Label { kind, node, occurrence };
        [(label(Kind::PutCommit, Some(NodeIndex(1)), 3), 4), (label(Kind::Task, None, 17), 1)].into()
    }

    fn parse(text: &str) -> Result<Capsule, CapsuleError> {
        Capsule::parse(text, Path::new("it.toml"))
    }

    #[test]
    fn a_capsule_reads_like_a_note() {
        insta::assert_snapshot!(capsule(two_choices(), "n1's row lost the outcome of n2").render());
    }

    #[test]
    fn a_capsule_cut_anywhere_is_refused() {
        let text = capsule(two_choices(), "why").render();
        let last = text.trim_end().len();
        for end in 0..last {
            let refused = parse(&text[..end]).unwrap_err().to_string();
            assert!(!refused.contains('\n'), "one line: {refused}");
        }
        assert!(parse(&text[..last]).is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_told_in_one_line() {
        let text = capsule(two_choices(), "why").render();
        let edits = [
            ("format = 1", "format = 2"),
            ("format = 1", ""),
            ("n2 put-commit 3", "n2 put-comit 3"),
            ("n2 put-commit 3", "n0 put-commit 3"),
            ("nodes = 3", "nodes = \"three\""),
            ("nodes = 3", "knots = 3"),
            ("nodes = 3", "nodes ="),
        ];
        let told = edits.map(|(find, replace)| parse(&text.replace(find, replace)).unwrap_err().to_string());
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn a_capsule_for_an_unknown_scenario_points_to_the_list() {
        let unknown = Capsule { scenario: "gone".to_owned(), ..capsule(Choices::new(), "") };
        let error = unknown.setup(None, None).err().unwrap();
        assert!(error.to_string().contains("drydock scenarios"), "{error}");
    }

    #[test]
    fn saving_twice_keeps_one_file_and_another_capsule_gets_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (capsule(two_choices(), "one"), capsule(Choices::new(), "other"));
        let path = one.save(directory.path()).unwrap();
        assert_eq!(one.save(directory.path()).unwrap(), path);
        assert_ne!(other.save(directory.path()).unwrap(), path);
        assert_eq!(Capsule::load(&path).unwrap(), one);
    }

    fn labels() -> impl Strategy<Value = Label> {
        let kinds = proptest::sample::select(Kind::ALL);
        (kinds, proptest::option::of(0u8..9), any::<u32>()).prop_map(|(kind, node, occurrence)| Label {
            kind,
            node: node.map(NodeIndex),
            occurrence,
        })
    }

    fn regressions(path: &'static str) -> ProptestConfig {
        let keep = proptest::test_runner::FileFailurePersistence::Direct(path);
        ProptestConfig { failure_persistence: Some(Box::new(keep)), ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(regressions("fixtures/regressions/capsule.txt"))]

        #[test]
        fn a_label_is_read_as_it_was_written(label in labels()) {
            prop_assert_eq!(label.to_string().parse(), Ok(label));
        }

        #[test]
        fn a_capsule_is_read_as_it_was_written(
            choices in proptest::collection::btree_map(labels(), 1u32.., 0..20),
            why in any::<String>(),
        ) {
            let written = capsule(choices, &why);
            prop_assert_eq!(parse(&written.render()).unwrap(), written);
        }
    }
}
