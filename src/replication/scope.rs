//! Which databases the cluster replicates: pure, from the node's setting `replication.databases`.

use std::collections::BTreeSet;

use serde_json::Value;

/// The setting's name.
pub const SETTING: &str = "replication.databases";

/// The database that holds `hdb_deployment`.
pub const DATABASE: &str = "system";

/// What a cluster replicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every database.
    All,
    /// Those named.
    Named(BTreeSet<String>),
}

/// A setting that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "setting `{SETTING}`: {0} is no database: write \"*\", or a list of names such as [\"data\", {{\"name\": \"system\"}}]"
)]
pub struct InvalidScope(Value);

impl Scope {
    /// Parses the setting: absent or `*` is everything; a list holds names, or objects with a `name` (the original read
    /// one of the two forms only: museum R21).
    pub fn parse(setting: Option<&Value>) -> Result<Self, InvalidScope> {
        match setting {
            None | Some(Value::Null) => Ok(Self::All),
            Some(Value::String(all)) if all == "*" => Ok(Self::All),
            Some(Value::Array(list)) => Ok(Self::Named(list.iter().map(name).collect::<Result<_, _>>()?)),
            Some(other) => Err(InvalidScope(other.clone())),
        }
    }

    /// Is `database` replicated?
    pub fn includes(&self, database: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(database) || names.contains("*"),
        }
    }
}

fn name(entry: &Value) -> Result<String, InvalidScope> {
    let name = entry.as_str().or_else(|| entry["name"].as_str());
    name.map(str::to_owned).ok_or_else(|| InvalidScope(entry.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replicates(setting: Value) -> bool {
        Scope::parse(Some(&setting)).unwrap().includes(DATABASE)
    }

    #[test]
    fn what_is_not_restricted_is_replicated() {
        assert!(Scope::parse(None).unwrap().includes(DATABASE));
        assert!(replicates(json!("*")) && replicates(json!(null)) && replicates(json!(["*"])));
    }

    #[test]
    fn a_list_names_databases_in_either_form() {
        assert!(replicates(json!(["data", "system"])) && replicates(json!([{ "name": "system", "sharded": true }])));
        assert!(!replicates(json!(["data"])) && !replicates(json!([{ "name": "data" }])) && !replicates(json!([])));
    }

    #[test]
    fn a_setting_that_says_nothing_is_refused_with_its_value() {
        for odd in [json!(17), json!({ "name": "system" }), json!([1]), json!("system")] {
            assert!(Scope::parse(Some(&odd)).unwrap_err().to_string().contains("write \"*\""));
        }
    }
}
