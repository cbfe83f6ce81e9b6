//! `devEngines.packageManager` of a `package.json`: which package managers a component asks for.
//!
//! An object or a list of objects `{name, version?, onFail?}`, as npm and the OpenJS Foundation define it. A list is one of
//! alternatives: the first that is usable is taken, and when none is, the `onFail` of the **last** entry decides, as in npm:
//! `ignore` takes npm, `warn` takes npm and says so, `error` (the default) fails the install. `download` is `error` here, as in
//! npm: nothing is downloaded to a node because a payload says so.
//!
//! `version` is a range as node-semver reads it (`>=9 <10 || ^11.2`, `9.x`, prereleases only where the range names one); what is
//! no range must equal the version that the manager tells. What is not understood is an error: npm would stop there too.

use nodejs_semver::{Range, Version as Semver};
use serde_json::Value;

/// The package managers that a component asks for, in its order, and what becomes of the install when none is usable.
#[derive(Debug, PartialEq)]
pub(super) struct Managers {
    pub(super) wanted: Vec<Wanted>,
    pub(super) on_fail: OnFail,
}

/// A package manager that a component asks for.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    /// Its program.
    pub(super) name: String,
    /// In which version; `None` for any.
    pub(super) version: Option<Version>,
}

/// What becomes of an install when no manager is usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnFail {
    /// The default manager installs.
    Ignore,
    /// The same, and it is said.
    Warn,
    /// It fails.
    Error,
}

/// A version that is asked for.
#[derive(Debug, PartialEq)]
pub(super) enum Version {
    Range(Box<Range>, String),
    /// Just this text.
    Exact(String),
}

impl Version {
    fn parse(text: &str) -> Self {
        match Range::parse(text) {
            Ok(range) => Self::Range(Box::new(range), text.to_owned()),
            Err(_) => Self::Exact(text.to_owned()),
        }
    }

    /// Why what a manager said of its version is not what is asked for. The first word that is a version counts:
    /// `9.1.0`, `v22.1.0`, `deno 2.1.4 (stable)`.
    pub(super) fn lacking_in<'a>(&self, lines: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
        let mut words = lines.flat_map(str::split_whitespace);
        match self {
            Self::Exact(wanted) => {
                let told = words.next().unwrap_or("nothing");
                (told != wanted).then(|| format!("its version is {told}, not `{wanted}`"))
            }
            Self::Range(range, wanted) => {
                let version = words.find_map(|word| Semver::parse(word.trim_start_matches('v')).ok());
                let Some(version) = version else { return Some("does not tell its version".to_owned()) };
                (!range.satisfies(&version)).then(|| format!("its version is {version}, not `{wanted}`"))
            }
        }
    }
}

/// What a `package.json` asks for; without `devEngines` nothing, and the default is taken.
///
/// # Errors
/// What is wrong with it.
pub(super) fn wanted_by(manifest: &Value) -> Result<Managers, String> {
    let entries = match &manifest["devEngines"]["packageManager"] {
        Value::Null => &[],
        Value::Array(entries) => entries.as_slice(),
        entry => std::slice::from_ref(entry),
    };
    let wanted = entries.iter().map(wanted).collect::<Result<_, _>>()?;
    let fails: Vec<OnFail> = entries.iter().map(on_fail).collect::<Result<_, _>>()?;
    Ok(Managers { wanted, on_fail: fails.last().copied().unwrap_or(OnFail::Ignore) })
}

fn wrong(what: &str) -> String {
    format!("devEngines.packageManager {what}")
}

fn wanted(entry: &Value) -> Result<Wanted, String> {
    let entry = entry.as_object().ok_or_else(|| wrong("must be an object, or a list of objects"))?;
    let name = entry.get("name").and_then(Value::as_str).filter(|name| is_program(name));
    let name = name.ok_or_else(|| wrong("needs a `name`: that of a program"))?.to_owned();
    let version = match entry.get("version") {
        None | Some(Value::Null) => None,
        Some(Value::String(version)) => Some(version.trim()).filter(|version| !version.is_empty()),
        Some(_) => return Err(wrong("has a `version` that is no text")),
    };
    Ok(Wanted { name, version: version.map(Version::parse) })
}

/// A name that the search path finds, rather than a path or an option.
fn is_program(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['-', '.'])
}

fn on_fail(entry: &Value) -> Result<OnFail, String> {
    match &entry["onFail"] {
        Value::Null => Ok(OnFail::Error),
        Value::String(text) => match text.as_str() {
            "ignore" => Ok(OnFail::Ignore),
            "warn" => Ok(OnFail::Warn),
            "error" | "download" => Ok(OnFail::Error),
            other => Err(wrong(&format!("has an `onFail` that is not known: `{other}`"))),
        },
        _ => Err(wrong("has an `onFail` that is no text")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(package_manager: Value) -> Result<(Vec<String>, OnFail), String> {
        let managers = wanted_by(&json!({ "devEngines": { "packageManager": package_manager } }))?;
        Ok((managers.wanted.into_iter().map(|wanted| wanted.name).collect(), managers.on_fail))
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn lacking(version: &str, told: &str) -> bool {
        Version::parse(version).lacking_in(told.lines()).is_some()
    }

    #[test]
    fn a_manifest_that_asks_for_none_takes_the_default_without_a_word() {
        for manifest in [json!({}), json!({ "devEngines": { "runtime": { "name": "node" } } })] {
            assert_eq!(wanted_by(&manifest), Ok(Managers { wanted: vec![], on_fail: OnFail::Ignore }));
        }
        assert_eq!(asked(json!([])), Ok((vec![], OnFail::Ignore)));
    }

    #[test]
    fn the_on_fail_of_the_last_decides_and_is_error_unless_said() {
        let (pnpm, yarn) = (json!({ "name": "pnpm", "onFail": "warn" }), json!({ "name": "yarn", "version": "4.x" }));
        assert_eq!(asked(pnpm.clone()), Ok((names(&["pnpm"]), OnFail::Warn)));
        assert_eq!(asked(json!([pnpm, yarn])), Ok((names(&["pnpm", "yarn"]), OnFail::Error)));
        assert_eq!(asked(json!([yarn, pnpm])), Ok((names(&["yarn", "pnpm"]), OnFail::Warn)));
        assert_eq!(asked(json!({ "name": "bun", "onFail": "download" })), Ok((names(&["bun"]), OnFail::Error)));
        assert_eq!(asked(json!({ "name": "bun", "onFail": "ignore" })), Ok((names(&["bun"]), OnFail::Ignore)));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_is_wrong() {
        let bad = [
            json!("pnpm"),
            json!([["pnpm"]]),
            json!({ "version": "1" }),
            json!({ "name": "" }),
            json!({ "name": "../evil" }),
            json!({ "name": "--help" }),
            json!({ "name": "rm -rf" }),
            json!({ "name": "pnpm", "version": 9 }),
            json!({ "name": "pnpm", "onFail": "explode" }),
            json!({ "name": "pnpm", "onFail": true }),
        ];
        for entry in bad {
            let told = asked(entry.clone()).unwrap_err();
            assert!(told.starts_with("devEngines.packageManager "), "{entry}: {told}");
        }
    }

    #[test]
    fn ranges_are_read_as_npm_reads_them() {
        for (range, version) in [
            ("9", "9.15.4"),
            ("9.1", "9.1.7"),
            ("9.x", "9.0.0"),
            (">=9 <10", "9.9.9"),
            ("^8 || ^9.2.0", "9.3.0"),
            ("1.2.3 - 2", "2.9.9"),
            ("~1.22", "1.22.22"),
            ("*", "0.0.1"),
            ("9.0.0", "v9.0.0"),
            (">=2", "deno 2.1.4 (stable, release)\nv8 13.0"),
        ] {
            assert!(!lacking(range, version), "{range} takes {version}");
        }
        for (range, version) in [
            ("9", "10.0.0"),
            ("9.1", "9.2.0"),
            ("^8 || ^9.2.0", "9.1.0"),
            (">=9", "10.0.0-rc.1"),
            ("9", "what?"),
            ("9", ""),
        ] {
            assert!(lacking(range, version), "{range} does not take {version}");
        }
    }

    #[test]
    fn what_is_no_range_must_be_told_as_it_stands() {
        assert!(!lacking("latest-9-nightly", "latest-9-nightly\n"));
        assert!(lacking("latest-9-nightly", "9.0.0"));
    }
}
