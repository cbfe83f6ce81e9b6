//! A node's configuration file, in TOML. Each mistake gets a line that names the key and where it stands.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use crate::{
    api::Token,
    deploy::retention,
    real::{Config, Member, Secret},
    replication::scope,
};

/// The longest configuration file: thousands of members.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What an operator can set.
const SETTINGS: [&str; 3] = [retention::PAYLOADS_KEPT, retention::PAYLOAD_BYTES_MAX, scope::SETTING];

/// A node as its file describes it.
#[derive(Debug)]
pub(super) struct NodeConfig {
    /// What the node is told at its start.
    pub(super) node: Config,
    /// Where its API listens.
    pub(super) api: SocketAddr,
    /// Who may use it.
    pub(super) token: Token,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    directory: PathBuf,
    #[serde(default)]
    allow_remote: bool,
    secret: Option<Spanned<String>>,
    secret_file: Option<Spanned<PathBuf>>,
    api: Api,
    members: BTreeMap<String, Addresses>,
    #[serde(default)]
    settings: BTreeMap<String, Spanned<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Api {
    address: Spanned<SocketAddr>,
    token: Option<Spanned<String>>,
    token_file: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Addresses {
    rows: Spanned<SocketAddr>,
    operations: Spanned<SocketAddr>,
}

/// A mistake, and the byte at which it stands where it stands somewhere.
struct Mistake {
    at: Option<usize>,
    what: String,
}

impl Mistake {
    fn at<T>(value: &Spanned<T>, what: impl Into<String>) -> Self {
        Self { at: Some(value.span().start), what: what.into() }
    }
}

/// Reads the file at `path`. Paths in it are relative to where it stands.
pub(super) fn read(path: &Path) -> Result<NodeConfig, String> {
    let text = read_text(path).map_err(|why| format!("`{}` cannot be read: {why}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, folder).map_err(|mistake| match mistake.at {
        Some(at) => format!("`{}`, line {}: {}", path.display(), line_of(&text, at), mistake.what),
        None => format!("`{}`: {}", path.display(), mistake.what),
    })
}

fn read_text(path: &Path) -> Result<String, String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("it has {length} bytes, of {FILE_BYTES_MAX} at most"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count() + 1
}

fn parse(text: &str, folder: &Path) -> Result<NodeConfig, Mistake> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map(|span| span.start);
        // What is missing or unknown is named already.
        let is_value = error.message().starts_with("invalid");
        let key = at.map(|at| key_at(text, at)).filter(|key| is_value && !key.is_empty());
        let key = key.map(|key| format!("`{key}`: ")).unwrap_or_default();
        Mistake { at, what: format!("{key}{}", error.message()) }
    })?;
    refuse_unknown_member(&file)?;
    refuse_remote(&file)?;
    let secret = text_of("secret", &file.secret, &file.secret_file, folder)?;
    let token = text_of("api.token", &file.api.token, &file.api.token_file, folder)?;
    Ok(NodeConfig {
        node: Config {
            name: file.name.get_ref().as_str().into(),
            directory: folder.join(&file.directory),
            members: file.members.iter().map(|(name, member)| (name.as_str().into(), member.parsed())).collect(),
            secret: Secret::new(secret.text)
                .map_err(|error| Mistake { at: secret.at, what: format!("`secret`: {error}") })?,
            settings: settings(&file.settings)?,
        },
        api: *file.api.address.get_ref(),
        token: Token::new(&token.text)
            .map_err(|error| Mistake { at: token.at, what: format!("`api.token`: {error}") })?,
    })
}

/// The key of the line at `at`: never its value, which may be a secret.
fn key_at(text: &str, at: usize) -> &str {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    line.split_once('=').map_or("", |(key, _)| key.trim())
}

impl Addresses {
    fn parsed(&self) -> Member {
        Member { rows: *self.rows.get_ref(), operations: *self.operations.get_ref() }
    }
}

fn refuse_unknown_member(file: &File) -> Result<(), Mistake> {
    let name = file.name.get_ref();
    match file.members.contains_key(name) {
        true => Ok(()),
        false => Err(Mistake::at(&file.name, format!("`name`: there is no `[members.{name}]`: add this node's own"))),
    }
}

/// Nothing is encrypted: what is not on this machine must be meant.
fn refuse_remote(file: &File) -> Result<(), Mistake> {
    let members = file.members.iter().flat_map(|(name, member)| {
        [(format!("members.{name}.rows"), &member.rows), (format!("members.{name}.operations"), &member.operations)]
    });
    let mut addresses = members.chain([("api.address".to_owned(), &file.api.address)]);
    match addresses.find(|(_, address)| !file.allow_remote && !address.get_ref().ip().is_loopback()) {
        None => Ok(()),
        Some((key, address)) => {
            let what = format!(
                "`{key}`: {} is not on loopback, and nothing between nodes or to the API is encrypted: set \
                 `allow_remote = true` if its network is safe",
                address.get_ref()
            );
            Err(Mistake::at(address, what))
        }
    }
}

/// A text that is kept secret, and where it was named.
struct Kept {
    at: Option<usize>,
    text: String,
}

/// A secret from the file itself, or from one of its own.
fn text_of(
    key: &str,
    value: &Option<Spanned<String>>,
    file: &Option<Spanned<PathBuf>>,
    folder: &Path,
) -> Result<Kept, Mistake> {
    match (value, file) {
        (Some(value), None) => Ok(Kept { at: Some(value.span().start), text: value.get_ref().clone() }),
        (None, Some(file)) => {
            let path = folder.join(file.get_ref());
            let text = read_secret(&path).map_err(|why| Mistake::at(file, format!("`{key}_file`: {why}")))?;
            Ok(Kept { at: Some(file.span().start), text })
        }
        (None, None) => Err(Mistake { at: None, what: format!("`{key}` is missing: set it, or `{key}_file`") }),
        (Some(value), Some(_)) => Err(Mistake::at(value, format!("`{key}` and `{key}_file` are both set: keep one"))),
    }
}

/// What a file of a secret holds, without the end of its line.
pub(super) fn read_secret(path: &Path) -> Result<String, String> {
    let text = read_text(path).map_err(|why| format!("`{}` cannot be read: {why}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn settings(settings: &BTreeMap<String, Spanned<Value>>) -> Result<BTreeMap<String, Value>, Mistake> {
    for (name, value) in settings {
        let mistake = |what: String| Err(Mistake::at(value, format!("`settings.{name}`: {what}")));
        match name.as_str() {
            scope::SETTING => match scope::Scope::parse(Some(value.get_ref())) {
                Ok(_) => {}
                Err(error) => return mistake(error.to_string()),
            },
            known if SETTINGS.contains(&known) && value.get_ref().is_u64() => {}
            known if SETTINGS.contains(&known) => return mistake("it must be a whole number".to_owned()),
            _ => return mistake(format!("there is no such setting: choose one of {}", SETTINGS.join(", "))),
        }
    }
    Ok(settings.iter().map(|(name, value)| (name.clone(), value.get_ref().clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = r#"name = "n1"
directory = "data"
secret = "a secret of thirty-two bytes, or of more"
[api]
address = "127.0.0.1:9925"
token = "a token of sixteen bytes or more"
[members.n1]
rows = "127.0.0.1:9931"
operations = "127.0.0.1:9932"
[settings]
deployment_payloads_kept = 3
"#;

    fn read(text: &str) -> Result<NodeConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        fs::write(&path, text).unwrap();
        super::read(&path).map_err(|error| error.replace(&folder.path().display().to_string(), "…"))
    }

    #[test]
    fn a_sound_file_is_read_and_its_paths_are_its_folders() {
        let config = read(SOUND).unwrap();
        assert!(config.node.directory.is_absolute() && config.node.directory.ends_with("data"));
        assert_eq!((config.node.members.len(), config.api.port()), (1, 9925));
    }

    #[test]
    fn remote_addresses_are_taken_when_they_are_meant() {
        let remote = SOUND.replace("127.0.0.1:9931", "10.0.0.7:9931");
        assert!(read(&remote).is_err());
        assert!(read(&format!("allow_remote = true\n{remote}")).is_ok());
    }

    #[test]
    fn each_mistake_names_key_and_line_and_no_secret() {
        let mistakes = [
            ("name = \"n1\"", "name = \"n9\""),
            ("name = \"n1\"\n", ""),
            ("directory = \"data\"", "directory = 5"),
            ("secret = \"a secret of thirty-two bytes, or of more\"", "secret = \"short\""),
            ("secret = \"a secret of thirty-two bytes, or of more\"\n", ""),
            ("secret = \"a secret of thirty-two bytes, or of more\"", "secret_file = \"missing\""),
            ("[api]", "secrte = 1\n[api]"),
            ("127.0.0.1:9925", "0.0.0.0:9925"),
            ("127.0.0.1:9925", "localhost"),
            ("127.0.0.1:9932", "10.0.0.7:9932"),
            ("a token of sixteen bytes or more", "short"),
            ("token = \"a token of sixteen bytes or more\"", "tokn = \"a token of sixteen bytes or more\""),
            ("operations = \"127.0.0.1:9932\"\n", ""),
            ("deployment_payloads_kept = 3", "deployment_payloads_kept = \"3\""),
            ("deployment_payloads_kept = 3", "payloads_kept = 3"),
            ("deployment_payloads_kept = 3", "\"replication.databases\" = [5]"),
            ("[settings]", "[settings"),
        ];
        let told = mistakes.map(|(sound, mistaken)| {
            let error = read(&SOUND.replacen(sound, mistaken, 1)).unwrap_err();
            assert!(!error.contains("thirty-two bytes, or") && !error.contains("of sixteen bytes or"), "{error}");
            error.split_whitespace().collect::<Vec<_>>().join(" ")
        });
        insta::assert_snapshot!(told.join("\n"));
    }
}
