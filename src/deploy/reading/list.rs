//! `list_deployments`: which rows, in which order, and which part of them.

use std::cmp::Reverse;

use serde_json::{Map, Value, json};

use super::{ReadError, current_row};
use crate::{
    deploy::{
        registry::Registry,
        request::InvalidRequest,
        retry::drop_told,
        row::{Deployment, Status},
        slots::ProjectName,
    },
    env::{Env, Table},
};

/// How many rows a list holds, if the request does not say.
const LIMIT_DEFAULT: u64 = 100;

/// The most rows that a list holds.
const LIMIT_MAX: u64 = 1_000;

/// A validated `list_deployments`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListRequest {
    project: Option<ProjectName>,
    status: Option<Status>,
    since: u64,
    until: u64,
    limit: u64,
    offset: u64,
}

impl ListRequest {
    pub(super) fn parse(request: &Value) -> Result<Self, InvalidRequest> {
        let fields = request.as_object().ok_or_else(|| invalid("request", "must be a JSON object"))?;
        let limit = number(fields, "limit")?.unwrap_or(LIMIT_DEFAULT);
        if limit > LIMIT_MAX {
            return Err(invalid("limit", format!("must be at most {LIMIT_MAX}, not {limit}: page on with `offset`")));
        }
        Ok(Self {
            project: parsed(fields, "project", "must be a project's name")?,
            status: parsed(fields, "status", "must be one of the statuses of a deployment, such as `success`")?,
            since: number(fields, "since")?.unwrap_or(0),
            until: number(fields, "until")?.unwrap_or(u64::MAX),
            limit,
            offset: number(fields, "offset")?.unwrap_or(0),
        })
    }

    fn wants(&self, row: &Deployment) -> bool {
        self.project.as_ref().is_none_or(|project| row.project == *project)
            && self.status.is_none_or(|status| row.status == status)
            && (self.since..=self.until).contains(&row.started_at)
    }

    /// The part of `rows` that is asked for, newest first, and how many fit in all.
    fn select(&self, rows: Vec<Deployment>) -> (Vec<Deployment>, usize) {
        let mut rows: Vec<_> = rows.into_iter().filter(|row| self.wants(row)).collect();
        rows.sort_by_key(|row| Reverse((row.started_at, row.stamp, row.deployment_id)));
        let total = rows.len();
        let skip = usize::try_from(self.offset).unwrap_or(usize::MAX);
        (rows.into_iter().skip(skip).take(self.limit as usize).collect(), total)
    }
}

fn invalid(field: &'static str, problem: impl Into<String>) -> InvalidRequest {
    InvalidRequest { field, problem: problem.into() }
}

fn number(fields: &Map<String, Value>, field: &'static str) -> Result<Option<u64>, InvalidRequest> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number =
                value.as_u64().ok_or_else(|| invalid(field, format!("must be a whole number, not {value}")))?;
            Ok(Some(number))
        }
    }
}

fn parsed<T: serde::de::DeserializeOwned>(
    fields: &Map<String, Value>,
    field: &'static str,
    rule: &str,
) -> Result<Option<T>, InvalidRequest> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let parsed = serde_json::from_value(value.clone());
            parsed.map(Some).map_err(|_| invalid(field, format!("{rule}, not {value}")))
        }
    }
}

/// Carries out a list. A deployment that is under way here is told from memory, as [`super::current_row`] does.
pub(super) async fn list<E: Env>(env: &E, registry: &Registry<E>, request: &ListRequest) -> Result<Value, ReadError> {
    let mut rows = Vec::new();
    for record in env.table().scan().await? {
        let row = match Deployment::from_record(&record) {
            Ok(row) => row,
            // A row of a newer version keeps nobody from seeing the others.
            Err(error) => {
                drop_told(env, "a row in a list", &error);
                continue;
            }
        };
        rows.push(if row.status.is_terminal() { row } else { current_row(env, registry, row.deployment_id).await? });
    }
    let (rows, total) = request.select(rows);
    let deployments: Vec<Value> = rows.iter().map(Deployment::to_public).collect();
    Ok(json!({ "deployments": deployments, "total": total, "limit": request.limit, "offset": request.offset }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u8, project: &str, status: &str) -> Deployment {
        serde_json::from_value(json!({
            "deployment_id": uuid::Uuid::from_bytes([number; 16]), "project": project, "status": status,
            "origin_node": "n1", "started_at": u64::from(number) * 10,
        }))
        .unwrap()
    }

    fn rows() -> Vec<Deployment> {
        vec![row(1, "a", "success"), row(3, "a", "failed"), row(2, "b", "success"), row(4, "a", "success")]
    }

    fn selected(request: Value) -> (Vec<u64>, usize) {
        let (rows, total) = ListRequest::parse(&request).unwrap().select(rows());
        (rows.iter().map(|row| row.started_at / 10).collect(), total)
    }

    #[test]
    fn rows_come_newest_first_and_filters_narrow_them() {
        assert_eq!(selected(json!({})), (vec![4, 3, 2, 1], 4));
        assert_eq!(selected(json!({ "project": "a", "status": "success" })), (vec![4, 1], 2));
        assert_eq!(selected(json!({ "since": 20, "until": 30 })), (vec![3, 2], 2));
    }

    #[test]
    fn a_page_tells_the_total_of_all_pages() {
        assert_eq!(selected(json!({ "limit": 2, "offset": 1 })), (vec![3, 2], 4));
        assert_eq!(selected(json!({ "limit": 0 })), (vec![], 4));
        assert_eq!(selected(json!({ "offset": u64::MAX })), (vec![], 4));
    }

    #[test]
    fn a_page_may_have_a_thousand_rows_and_has_a_hundred_untold() {
        let limit = |request: Value| ListRequest::parse(&request).unwrap().limit;
        assert_eq!([json!({}), json!({ "limit": null }), json!({ "limit": 1_000 })].map(limit), [100, 100, 1_000]);
    }

    #[test]
    fn a_bad_filter_is_named() {
        for (field, value) in [
            ("status", json!("done")),
            ("project", json!("../x")),
            ("since", json!("yesterday")),
            ("until", json!(-1)),
            ("limit", json!(1_001)),
            ("offset", json!(0.5)),
        ] {
            let error = ListRequest::parse(&json!({ field: value })).unwrap_err();
            assert_eq!(error.field, field);
        }
    }
}
