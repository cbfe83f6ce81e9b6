//! Exhibits: bugs as small edits of the sound code.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

use crate::search::{capsule::toml_error, seed::Seed};

/// A bug in the museum.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exhibit {
    /// Its name: a number, and what it is about.
    pub name: String,
    /// What went wrong, and why.
    pub story: String,
    /// Where it comes from.
    pub source: String,
    /// The invariants that must catch it; any one will do.
    #[serde(deserialize_with = "one_or_many")]
    pub invariant: Vec<String>,
    /// How it is put back.
    #[serde(rename = "edit")]
    pub edits: Vec<Edit>,
}

/// A change of one file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The file, from the crate's root.
    pub file: String,
    /// The exact text to find, once in the file.
    pub find: String,
    /// The text to put there.
    pub replace: String,
}

/// Why exhibits cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ExhibitError {
    /// The folder or a file cannot be read.
    #[error("cannot read `{}`: {cause}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// There is none.
    #[error("there is no exhibit in `{}`: an exhibit is a .toml file", .0.display())]
    Empty(PathBuf),
    /// There is none of that name.
    #[error("there is no exhibit `{only}`: choose one of {}", names.join(", "))]
    Unknown {
        /// What was asked for.
        only: String,
        /// What there is.
        names: Vec<String>,
    },
    /// A file is no exhibit.
    #[error("`{}` is no exhibit: {cause}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The sound code has changed since.
    #[error("the exhibit `{name}` no longer applies: {cause}; bring its edit up to date")]
    Stale {
        /// Which exhibit.
        name: String,
        /// Why.
        cause: String,
    },
}

/// Changed files: their paths from the crate's root, and their new text.
pub type Changes = BTreeMap<String, String>;

impl Exhibit {
    /// The number in the name: what stands before the first hyphen.
    pub fn number(&self) -> &str {
        self.name.split('-').next().unwrap_or(&self.name)
    }

    /// Works the edits out; `read` gives a file of the sound code.
    ///
    /// # Errors
    /// When a text to find is not there exactly once.
    pub fn apply(&self, read: impl Fn(&str) -> io::Result<String>) -> Result<Changes, ExhibitError> {
        let mut changes = Changes::new();
        for edit in &self.edits {
            let text = changes.get(&edit.file).cloned().map_or_else(|| read(&edit.file), Ok);
            let text = text.map_err(|error| self.stale(format!("cannot read `{}`: {error}", edit.file)))?;
            match text.matches(&edit.find).count() {
                1 => changes.insert(edit.file.clone(), text.replacen(&edit.find, &edit.replace, 1)),
                times => return Err(self.stale(edit.mismatch(times))),
            };
        }
        Ok(changes)
    }

    fn stale(&self, cause: String) -> ExhibitError {
        ExhibitError::Stale { name: self.name.clone(), cause }
    }

    /// What is wrong with it, whatever the code: `invariants` are those that can catch anything.
    fn fault(&self, invariants: &[&str]) -> Option<String> {
        if self.name.is_empty() || self.name.contains(char::is_whitespace) {
            return Some("its name must be one word".to_owned());
        }
        if let Some(unknown) = self.invariant.iter().find(|name| !invariants.contains(&name.as_str())) {
            return Some(format!("there is no invariant `{unknown}`: see `drydock invariants`"));
        }
        if self.invariant.is_empty() || self.edits.is_empty() {
            return Some("it needs an invariant and an edit".to_owned());
        }
        self.edits.iter().find_map(Edit::fault)
    }
}

impl Edit {
    fn fault(&self) -> Option<String> {
        let inside = Path::new(&self.file).components().all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            return Some(format!("`{}` is not a path inside the crate", self.file));
        }
        let changes = !self.find.is_empty() && self.find != self.replace;
        (!changes).then(|| format!("an edit of `{}` changes nothing", self.file))
    }

    fn mismatch(&self, times: usize) -> String {
        let line = self.find.trim().lines().next().unwrap_or_default();
        let found = if times == 0 { "not".to_owned() } else { format!("{times} times") };
        format!("the text that begins with `{line}` is {found} in `{}`, where it must be once", self.file)
    }
}

/// Reads one file.
fn parse(text: &str, path: &Path, invariants: &[&str]) -> Result<Exhibit, ExhibitError> {
    let malformed = |cause| ExhibitError::Malformed { path: path.to_owned(), cause };
    let exhibit: Exhibit = toml::from_str(text).map_err(|error| malformed(toml_error(text, &error)))?;
    match exhibit.fault(invariants) {
        None => Ok(exhibit),
        Some(fault) => Err(malformed(fault)),
    }
}

/// Reads every exhibit in `folder`, in the order of their names; only the one whose name or number is `only`, if given.
///
/// # Errors
/// When there is none, or one cannot be read.
pub fn load(folder: &Path, only: Option<&str>, invariants: &[&str]) -> Result<Vec<Exhibit>, ExhibitError> {
    let mut exhibits: Vec<_> =
        files(folder)?.iter().map(|path| parse(&read(path)?, path, invariants)).collect::<Result<_, ExhibitError>>()?;
    exhibits.sort_by(|one, other| one.name.cmp(&other.name));
    if exhibits.is_empty() {
        return Err(ExhibitError::Empty(folder.to_owned()));
    }
    match only {
        Some(only) => pick(exhibits, only),
        None => Ok(exhibits),
    }
}

fn pick(exhibits: Vec<Exhibit>, only: &str) -> Result<Vec<Exhibit>, ExhibitError> {
    let names = exhibits.iter().map(|exhibit| exhibit.name.clone()).collect();
    let picked: Vec<_> =
        exhibits.into_iter().filter(|exhibit| exhibit.name == only || exhibit.number() == only).collect();
    if picked.is_empty() { Err(ExhibitError::Unknown { only: only.to_owned(), names }) } else { Ok(picked) }
}

/// So many of the exhibits, which depend on the seed and their names alone, in their order.
pub fn sample(mut exhibits: Vec<Exhibit>, size: usize, seed: Seed) -> Vec<Exhibit> {
    exhibits.sort_by_cached_key(|exhibit| seed.child(&exhibit.name).0);
    exhibits.truncate(size);
    exhibits.sort_by(|one, other| one.name.cmp(&other.name));
    exhibits
}

fn read(path: &Path) -> Result<String, ExhibitError> {
    fs::read_to_string(path).map_err(|cause| ExhibitError::Unreadable { path: path.to_owned(), cause })
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, ExhibitError> {
    let unreadable = |cause| ExhibitError::Unreadable { path: folder.to_owned(), cause };
    let entries = fs::read_dir(folder).map_err(unreadable)?;
    let paths: Vec<_> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>().map_err(unreadable)?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect())
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Names::deserialize(deserializer)? {
        Names::One(name) => vec![name],
        Names::Many(names) => names,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
name = "R06-late-peer-after-finish"
story = "A late answer changed the row."
source = "HarperFast/harper #760"
invariant = "ONETERM"

[[edit]]
file = "src/deploy/recorder/mod.rs"
find = '''
if finished { return; }
'''
replace = ""
"#;

    fn exhibit(edits: &[(&str, &str, &str)]) -> Exhibit {
        let edit = |&(file, find, replace): &(&str, &str, &str)| Edit {
            file: file.to_owned(),
            find: find.to_owned(),
            replace: replace.to_owned(),
        };
        Exhibit { edits: edits.iter().map(edit).collect(), ..parse(TEXT, Path::new("x"), &["ONETERM"]).unwrap() }
    }

    fn sound(file: &str) -> io::Result<String> {
        match file {
            "a.rs" => Ok("one two three two".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    #[test]
    fn an_exhibit_names_one_invariant_or_several() {
        let several = TEXT.replace("\"ONETERM\"", "[\"ONETERM\", \"MONO\"]");
        assert_eq!(parse(TEXT, Path::new("x"), &["ONETERM"]).unwrap().invariant, ["ONETERM"]);
        assert_eq!(parse(&several, Path::new("x"), &["ONETERM", "MONO"]).unwrap().invariant, ["ONETERM", "MONO"]);
    }

    #[test]
    fn edits_of_one_file_build_on_each_other() {
        let changes = exhibit(&[("a.rs", "one", "1"), ("a.rs", "1 two", "12")]).apply(sound).unwrap();
        assert_eq!(changes, Changes::from([("a.rs".to_owned(), "12 three two".to_owned())]));
    }

    #[test]
    fn what_is_wrong_with_an_exhibit_is_told_in_one_line() {
        let stale = [[("a.rs", "two", "2")], [("a.rs", "four\nfive", "4")], [("b.rs", "two", "2")]];
        let stale = stale.map(|edits| exhibit(&edits).apply(sound).unwrap_err().to_string());
        let edits = [
            ("src/deploy/recorder/mod.rs", "../recorder.rs"),
            ("ONETERM", "ONCE"),
            ("if finished { return; }\n", ""),
            ("story = \"A late answer changed the row.\"", ""),
            ("late-peer", "late peer"),
        ];
        let malformed = edits.map(|(find, replace)| {
            parse(&TEXT.replace(find, replace), Path::new("x.toml"), &["ONETERM"]).unwrap_err().to_string()
        });
        insta::assert_snapshot!([&stale[..], &malformed[..]].concat().join("\n"));
    }

    #[test]
    fn an_exhibit_is_picked_by_its_name_or_number() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("r06.toml"), TEXT).unwrap();
        fs::write(folder.path().join("README.md"), "not an exhibit").unwrap();
        let names =
            |only| load(folder.path(), only, &["ONETERM"]).map(|found| found.len()).map_err(|error| error.to_string());
        assert_eq!(names(None), Ok(1));
        assert_eq!(names(Some("R06")), Ok(1));
        assert_eq!(names(Some("R06-late-peer-after-finish")), Ok(1));
        assert!(names(Some("R07")).unwrap_err().contains("choose one of R06"));
    }

    #[test]
    fn an_empty_folder_and_a_missing_one_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(load(folder.path(), None, &[]), Err(ExhibitError::Empty(_))));
        assert!(matches!(load(&folder.path().join("gone"), None, &[]), Err(ExhibitError::Unreadable { .. })));
    }

    #[test]
    fn a_sample_is_another_with_another_seed_and_the_same_with_the_same() {
        let all: Vec<_> = (0..9)
            .map(|number| Exhibit {
                name: format!("R0{number}"),
                ..parse(TEXT, Path::new("x.toml"), &["ONETERM"]).unwrap()
            })
            .collect();
        let names_of = |all: Vec<Exhibit>, seed| -> Vec<_> {
            sample(all, 3, Seed(seed)).into_iter().map(|one| one.name).collect()
        };
        let names = |seed| names_of(all.clone(), seed);
        let backwards: Vec<_> = all.iter().rev().cloned().collect();
        assert_eq!((names(1).len(), names(1)), (3, names_of(backwards, 1)));
        assert!(names(1).is_sorted());
        assert!((2..9).any(|seed| names(seed) != names(1)));
        assert_eq!(sample(all.clone(), 20, Seed(1)), all);
    }
}
