//! The catalogue of workflows.

use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::domain::event::{Hash, Micros};
use crate::domain::workflow::{Labels, NewWorkflow, WorkflowPatch, WorkflowSearch, WorkflowStatus, score};
use crate::store::failure::is_duplicate;
use crate::store::types::{HashColumn, Json};

/// A version of a workflow.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Workflow {
    pub(crate) workflow_id: Uuid,
    pub(crate) workflow_name: String,
    pub(crate) version: String,
    pub(crate) revision: i32,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) content: String,
    pub(crate) content_hash: Hash,
    pub(crate) labels: Labels,
    pub(crate) status: WorkflowStatus,
    pub(crate) is_latest: bool,
    pub(crate) created_by: String,
    pub(crate) created_at: Micros,
    pub(crate) updated_by: Option<String>,
    pub(crate) updated_at: Option<Micros>,
    pub(crate) disabled_reason: Option<String>,
}

const COLUMNS: &str = "workflow_id, workflow_name, version, revision, name, description, content, content_hash,
     labels::text, status, created_by, created_at, updated_by, updated_at, disabled_reason,
     NOT EXISTS (SELECT 1 FROM workflows AS newer
                 WHERE newer.workflow_name = workflows.workflow_name AND newer.revision > workflows.revision)";

fn read(row: &Row) -> Workflow {
    Workflow {
        workflow_id: row.get(0),
        workflow_name: row.get(1),
        version: row.get(2),
        revision: row.get(3),
        name: row.get(4),
        description: row.get(5),
        content: row.get(6),
        content_hash: row.get::<_, HashColumn>(7).0,
        labels: serde_json::from_str(row.get(8)).unwrap_or_default(),
        status: WorkflowStatus::from_name(row.get(9)).unwrap_or(WorkflowStatus::Disabled),
        created_by: row.get(10),
        created_at: row.get(11),
        updated_by: row.get(12),
        updated_at: row.get(13),
        disabled_reason: row.get(14),
        is_latest: row.get(15),
    }
}

/// Adds a version; `None` if the workflow already has it.
pub(crate) async fn create(
    client: &mut Client,
    new: &NewWorkflow,
    created_by: &str,
) -> Result<Option<Workflow>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    // Concurrently added versions get consecutive revisions.
    transaction
        .execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('workflow ' || $1, 0))",
            &[&new.workflow_name],
        )
        .await?;
    let labels = serde_json::to_string(&new.labels).unwrap_or_default();
    let sql = format!(
        "INSERT INTO workflows (workflow_id, workflow_name, version, revision, name, description, content,
             content_hash, labels, status, created_by)
         VALUES ($1, $2::text, $3, (SELECT coalesce(max(revision), 0) + 1 FROM workflows WHERE workflow_name = $2::text),
             $4, $5, $6, $7, $8, 'active', $9)
         RETURNING {COLUMNS}"
    );
    let result = transaction
        .query_one(
            &sql,
            &[
                &Uuid::now_v7(),
                &new.workflow_name,
                &new.version,
                &new.name,
                &new.description,
                &new.content,
                &HashColumn(new.content_hash()),
                &Json(&labels),
                &created_by,
            ],
        )
        .await;
    match result {
        Ok(row) => {
            let workflow = read(&row);
            transaction.commit().await?;
            Ok(Some(workflow))
        }
        Err(error) if is_duplicate(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) async fn get(
    client: &Client,
    workflow_id: Uuid,
) -> Result<Option<Workflow>, tokio_postgres::Error> {
    let sql = format!("SELECT {COLUMNS} FROM workflows WHERE workflow_id = $1");
    Ok(client.query_opt(&sql, &[&workflow_id]).await?.as_ref().map(read))
}

/// A filter of workflows.
#[derive(Debug)]
pub(crate) struct ListRequest {
    pub(crate) workflow_name: Option<String>,
    pub(crate) status: Option<WorkflowStatus>,
    pub(crate) latest_only: bool,
    pub(crate) limit: i64,
    pub(crate) offset: i64,
}

/// A page by name and then newest version first, within `max_bytes`, and the total number.
pub(crate) async fn list(
    client: &Client,
    request: &ListRequest,
    max_bytes: usize,
) -> Result<(Vec<Workflow>, i64), tokio_postgres::Error> {
    let ListRequest {
        workflow_name,
        status,
        latest_only,
        limit,
        offset,
    } = request;
    let status = status.map(WorkflowStatus::as_str);
    let conditions = "($1::text IS NULL OR workflow_name = $1) AND ($2::text IS NULL OR status = $2)
        AND (NOT $3 OR NOT EXISTS (SELECT 1 FROM workflows AS newer
             WHERE newer.workflow_name = workflows.workflow_name AND newer.revision > workflows.revision))";
    let total: i64 = client
        .query_one(
            &format!("SELECT count(*) FROM workflows WHERE {conditions}"),
            &[workflow_name, &status, latest_only],
        )
        .await?
        .get(0);
    let sql = format!(
        "SELECT workflow_id, {BYTES} FROM workflows WHERE {conditions}
         ORDER BY workflow_name, revision DESC LIMIT $4 OFFSET $5"
    );
    let rows = client
        .query(&sql, &[workflow_name, &status, latest_only, limit, offset])
        .await?;
    let ids = within(rows.iter().map(|row| (row.get(0), row.get(1))), max_bytes);
    Ok((load(client, &ids).await?, total))
}

/// Bytes of a version.
const BYTES: &str = "(octet_length(content) + octet_length(description))::bigint";

/// The first versions that have `max_bytes` in sum, at least one.
fn within(versions: impl Iterator<Item = (Uuid, i64)>, max_bytes: usize) -> Vec<Uuid> {
    let mut sum = 0;
    versions
        .enumerate()
        .take_while(|(index, (_, bytes))| {
            sum += usize::try_from(*bytes).unwrap_or(0);
            *index == 0 || sum <= max_bytes
        })
        .map(|(_, (id, _))| id)
        .collect()
}

/// The versions with these ids, in their order.
async fn load(client: &Client, ids: &[Uuid]) -> Result<Vec<Workflow>, tokio_postgres::Error> {
    let sql = format!("SELECT {COLUMNS} FROM workflows WHERE workflow_id = ANY ($1)");
    let mut found: Vec<Workflow> = client.query(&sql, &[&ids]).await?.iter().map(read).collect();
    found.sort_by_key(|workflow| ids.iter().position(|id| *id == workflow.workflow_id));
    Ok(found)
}

/// Active workflows whose labels match the search or are absent, best first, within `max_bytes`; of each the newest
/// active version that matches.
pub(crate) async fn search(
    client: &Client,
    search: &WorkflowSearch,
    max_bytes: usize,
) -> Result<Vec<(Workflow, f64)>, tokio_postgres::Error> {
    let documents: Vec<String> = search
        .labels
        .iter()
        .flat_map(|(key, value)| [(key, value.as_str()), (key, "*")])
        .map(|(key, value)| serde_json::json!({ key: value }).to_string())
        .collect();
    let sql = format!(
        "SELECT workflow_id, {BYTES}, workflow_name, labels::text FROM workflows
         WHERE status = 'active' AND labels @> ANY ($1::text[]::jsonb[]) ORDER BY workflow_name, revision DESC"
    );
    let rows = client.query(&sql, &[&documents]).await?;
    let mut found: Vec<(&Row, f64)> = rows
        .iter()
        .filter_map(|row| {
            let labels: Labels = serde_json::from_str(row.get(3)).unwrap_or_default();
            score(&search.labels, &labels).map(|score| (row, score))
        })
        .collect();
    // The newest of each comes first.
    found.dedup_by_key(|(row, _)| row.get::<_, &str>(2));
    // Stable: by name within a score.
    found.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    found.truncate(usize::try_from(search.limit).unwrap_or(usize::MAX));
    let ids = within(found.iter().map(|(row, _)| (row.get(0), row.get(1))), max_bytes);
    let workflows = load(client, &ids).await?;
    Ok(workflows
        .into_iter()
        .zip(found.into_iter().map(|(_, score)| score))
        .collect())
}

/// Changes the mutable fields; `None` if there is no such version.
pub(crate) async fn patch(
    client: &Client,
    workflow_id: Uuid,
    patch: &WorkflowPatch,
    by: &str,
) -> Result<Option<Workflow>, tokio_postgres::Error> {
    let sql = format!(
        "UPDATE workflows SET name = coalesce($2, name), description = coalesce($3, description),
             status = coalesce($4::text, status), disabled_reason = CASE WHEN $4::text <> 'disabled' THEN NULL ELSE disabled_reason END,
             updated_by = $5, updated_at = now()
         WHERE workflow_id = $1 RETURNING {COLUMNS}"
    );
    let status = patch.status.map(WorkflowStatus::as_str);
    let row = client
        .query_opt(
            &sql,
            &[&workflow_id, &patch.name, &patch.description, &status, &by],
        )
        .await?;
    Ok(row.as_ref().map(read))
}

/// Disables a version; `None` if there is no such version.
pub(crate) async fn disable(
    client: &Client,
    workflow_id: Uuid,
    reason: &str,
    by: &str,
) -> Result<Option<Workflow>, tokio_postgres::Error> {
    let sql = format!(
        "UPDATE workflows SET status = 'disabled', disabled_reason = $2, updated_by = $3, updated_at = now()
         WHERE workflow_id = $1 RETURNING {COLUMNS}"
    );
    Ok(client
        .query_opt(&sql, &[&workflow_id, &reason, &by])
        .await?
        .as_ref()
        .map(read))
}
