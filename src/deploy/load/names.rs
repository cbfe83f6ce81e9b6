//! What a component's manifests name: pure readings.
//!
//! - `package.json`: `main`, and the targets of `exports` that Node.js would take (conditions `node`, `import`, `require`,
//!   `module-sync`, `node-addons` and `default`; the first of a list; no patterns with `*`).
//! - `config.yaml`: `pluginModule` and `extensionModule`; the `files` of the sections that load code or schemas
//!   (`jsResource`, `graphqlSchema`, `fastifyRoutes`, `roles`). Patterns may match nothing, and are passed over; so are
//!   `static` and `loadEnv`, without whose files a component loads.
//!
//! `bin` is not loaded but linked, by npm, which says so itself.

use serde_json::{Map, Value};

/// Conditions of `exports` that Node.js takes.
const CONDITIONS: [&str; 6] = ["node", "import", "require", "module-sync", "node-addons", "default"];

/// Sections of `config.yaml` whose files are loaded.
const LOADED_SECTIONS: [&str; 4] = ["jsResource", "graphqlSchema", "fastifyRoutes", "roles"];

/// Fields of `config.yaml` that name a module of the component.
const MODULE_FIELDS: [&str; 2] = ["pluginModule", "extensionModule"];

/// How deep conditions may be nested: deeper is nobody's manifest.
const NESTING_MAX: usize = 16;

/// How a name is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    /// As `require` does it: the extension, or `index` in a directory, may be left out.
    Module,
    /// As it stands.
    Exact,
}

/// Something that a manifest says is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// Where in the manifest.
    pub(super) field: String,
    /// What.
    pub(super) name: String,
    pub(super) kind: NameKind,
}

impl Name {
    fn new(field: &str, name: &str, kind: NameKind) -> Self {
        Self { field: field.to_owned(), name: name.to_owned(), kind }
    }
}

/// What a `package.json` names.
pub(super) fn named_by_manifest(text: &[u8]) -> Result<Vec<Name>, String> {
    let manifest: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let manifest = manifest.as_object().ok_or("it is no object")?;
    let main = manifest.get("main").and_then(Value::as_str).filter(|main| !main.is_empty());
    let mut names: Vec<Name> = main.map(|main| Name::new("main", main, NameKind::Module)).into_iter().collect();
    if let Some(exports) = manifest.get("exports") {
        named_by_exports(exports, &mut names)?;
    }
    Ok(names)
}

fn named_by_exports(exports: &Value, names: &mut Vec<Name>) -> Result<(), String> {
    match exports {
        Value::Object(subpaths) if subpaths.keys().any(|key| key.starts_with('.')) => {
            if let Some(condition) = subpaths.keys().find(|key| !key.starts_with('.')) {
                return Err(format!("`exports` mixes paths and the condition `{condition}`"));
            }
            let plain = subpaths.iter().filter(|(subpath, _)| !subpath.contains('*'));
            plain.for_each(|(subpath, target)| add_targets(&format!("exports[\"{subpath}\"]"), target, 0, names));
        }
        target => add_targets("exports", target, 0, names),
    }
    Ok(())
}

/// Adds what a target of `exports` names. One that is null, or behind conditions that are not Node's, names nothing.
fn add_targets(field: &str, target: &Value, depth: usize, names: &mut Vec<Name>) {
    match target {
        _ if depth > NESTING_MAX => {}
        Value::String(path) if !path.contains('*') => names.push(Name::new(field, path, NameKind::Exact)),
        Value::Array(alternatives) => {
            alternatives.iter().take(1).for_each(|first| add_targets(field, first, depth + 1, names));
        }
        Value::Object(conditions) => {
            let taken = conditions.iter().filter(|(condition, _)| CONDITIONS.contains(&condition.as_str()));
            taken
                .for_each(|(condition, target)| add_targets(&format!("{field}.{condition}"), target, depth + 1, names));
        }
        _ => {}
    }
}

/// What a `config.yaml` names.
pub(super) fn named_by_config(text: &[u8]) -> Result<Vec<Name>, String> {
    let config: Option<Map<String, Value>> =
        serde_saphyr::from_slice(text).map_err(|error| in_one_line(&error.to_string()))?;
    let config = config.unwrap_or_default();
    let modules = MODULE_FIELDS.iter().filter_map(|field| {
        let module = config.get(*field)?.as_str()?;
        Some(Name::new(field, module, NameKind::Module))
    });
    let files = LOADED_SECTIONS.iter().flat_map(|section| named_by_section(section, config.get(*section)));
    Ok(modules.chain(files).collect())
}

/// The parser's messages show the lines around a fault; the first line says what it is.
fn in_one_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

/// The `files` of a section: a text, a list of them, or an object with either as its `source`.
fn named_by_section(section: &str, config: Option<&Value>) -> Vec<Name> {
    let files = config.and_then(|config| config.get("files"));
    let files = files.map(|files| files.get("source").unwrap_or(files));
    let listed = match files {
        Some(Value::Array(files)) => files.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(file)) => vec![file.as_str()],
        _ => vec![],
    };
    let literal = listed.into_iter().filter(|file| !is_pattern(file));
    literal.map(|file| Name::new(&format!("{section}.files"), file, NameKind::Exact)).collect()
}

fn is_pattern(file: &str) -> bool {
    file.contains(['*', '?', '[', '{', '(', '!'])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(manifest: &Value) -> Vec<(String, String)> {
        told(named_by_manifest(manifest.to_string().as_bytes()).unwrap())
    }

    fn config(text: &str) -> Vec<(String, String)> {
        told(named_by_config(text.as_bytes()).unwrap())
    }

    fn told(names: Vec<Name>) -> Vec<(String, String)> {
        names.into_iter().map(|name| (name.field, name.name)).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(field, name)| ((*field).to_owned(), (*name).to_owned())).collect()
    }

    #[test]
    fn main_and_a_plain_export_are_named() {
        let named = manifest(&json!({ "main": "lib", "exports": "./lib/index.js", "bin": "cli.js" }));
        assert_eq!(named, pairs(&[("main", "lib"), ("exports", "./lib/index.js")]));
    }

    #[test]
    fn of_the_conditions_only_those_of_node_name_anything() {
        let named = manifest(&json!({ "exports": {
            ".": { "types": "./index.d.ts", "import": "./index.mjs", "default": { "require": "./index.cjs" } },
            "./icons/*": "./icons/*.svg",
            "./private": null,
            "./either": ["./one.js", "./two.js"],
            "./pattern": "./lib/*.js",
        } }));
        let expected = [
            ("exports[\".\"].default.require", "./index.cjs"),
            ("exports[\".\"].import", "./index.mjs"),
            ("exports[\"./either\"]", "./one.js"),
        ];
        assert_eq!(named, pairs(&expected));
    }

    #[test]
    fn a_manifest_that_names_nothing_is_fine_and_one_that_is_none_is_not() {
        assert_eq!(manifest(&json!({ "name": "hello", "main": "" })), []);
        for text in ["", "[]", "{", "\u{feff}{}", "{\"exports\":{\".\":\"./a.js\",\"import\":\"./b.js\"}}"] {
            assert!(named_by_manifest(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn nesting_without_end_names_nothing() {
        let nested = |deep: usize| {
            let exports = (0..deep).fold(json!("./index.js"), |target, _| json!({ "default": target }));
            manifest(&json!({ "exports": exports })).len()
        };
        assert_eq!([1, NESTING_MAX, NESTING_MAX + 1, 100].map(nested), [1, 1, 0, 0]);
        let listed = |deep: usize| {
            let exports = (0..deep).fold(json!("./index.js"), |target, _| json!([target]));
            manifest(&json!({ "exports": exports })).len()
        };
        assert_eq!([1, NESTING_MAX, NESTING_MAX + 1, 100].map(listed), [1, 1, 0, 0]);
    }

    #[test]
    fn a_config_names_modules_and_files_that_are_no_patterns() {
        let text = "rest: true\njsResource:\n  files: resources.js\ngraphqlSchema:\n  files: ['schema.graphql', '*.graphql']\n\
                    roles:\n  files:\n    source: roles.yaml\nstatic:\n  files: web/logo.svg\nloadEnv:\n  files: .env\n\
                    pluginModule: ./dist/index.js\n";
        let expected = [
            ("pluginModule", "./dist/index.js"),
            ("jsResource.files", "resources.js"),
            ("graphqlSchema.files", "schema.graphql"),
            ("roles.files", "roles.yaml"),
        ];
        assert_eq!(config(text), pairs(&expected));
    }

    #[test]
    fn an_empty_config_names_nothing_and_one_that_is_none_is_refused() {
        assert_eq!(config("# nothing yet\n"), []);
        for text in ["- a\n- b\n", "a: [", "a: b: c", "a: &a [*a, *a]"] {
            let why = named_by_config(text.as_bytes()).unwrap_err();
            assert!(!why.is_empty() && !why.contains('\n'), "{text}: {why}");
        }
        let why = |text: &str| named_by_config(text.as_bytes()).unwrap_err();
        assert_ne!(why("- a\n- b\n"), why("a: ["));
    }
}
