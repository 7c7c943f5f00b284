//! SQL of the reference: the rows and queries of the service; and counts of stored events.

use std::path::Path;

/// Events per correlation in the filled table.
pub(super) const EVENTS_PER_CORRELATION: u64 = 20;

/// Inserts one row, equal to the load program's event.
pub(super) const INSERT: &str = "\\set correlation random(0, 9999)
INSERT INTO audit_events (event_id, event_timestamp, version, event_type, event_category, event_action, event_outcome, correlation_id, event_data, actor_type, actor_id, resource_type, resource_id, namespace, cluster_name, severity, duration_ms, sequence, recorded_at, previous_hash, event_hash) VALUES (gen_random_uuid(), clock_timestamp(), '1.0', 'gateway.signal.received', 'gateway', 'received', 'success', 'pgbench-' || :correlation, '{\"fingerprint\":\"8ac6f8bc4acc94d391b44e85621242bb042d3ffb137aa5fc0d10b00316f30751\",\"signal_name\":\"HighMemoryUsage\",\"attempt\":17,\"labels\":{\"alertname\":\"HighMemoryUsage\",\"team\":\"payments\",\"pod\":\"payment-api-789\"},\"ratio\":0.93}', 'service', 'gateway', 'Pod', 'payment-api-789', 'prod', 'main', 'critical', 12, 1, now(), decode(repeat('00', 32), 'hex'), decode(repeat('11', 32), 'hex'));
";

/// Inserts a hundred of them in one statement.
pub(super) const INSERT_100: &str = "\\set correlation random(0, 9999)
INSERT INTO audit_events (event_id, event_timestamp, version, event_type, event_category, event_action, event_outcome, correlation_id, event_data, actor_type, actor_id, resource_type, resource_id, namespace, cluster_name, severity, duration_ms, sequence, recorded_at, previous_hash, event_hash) SELECT gen_random_uuid(), clock_timestamp(), '1.0', 'gateway.signal.received', 'gateway', 'received', 'success', 'pgbench-' || (:correlation + number) % 10000, '{\"fingerprint\":\"8ac6f8bc4acc94d391b44e85621242bb042d3ffb137aa5fc0d10b00316f30751\",\"signal_name\":\"HighMemoryUsage\",\"attempt\":17,\"labels\":{\"alertname\":\"HighMemoryUsage\",\"team\":\"payments\",\"pod\":\"payment-api-789\"},\"ratio\":0.93}', 'service', 'gateway', 'Pod', 'payment-api-789', 'prod', 'main', 'critical', 12, 1, now(), decode(repeat('00', 32), 'hex'), decode(repeat('11', 32), 'hex') FROM generate_series(1, 100) AS number;
";

/// Returns the count and the page that the service selects for a list of one correlation.
pub(super) fn page(correlations: u64) -> String {
    format!(
        "\\set correlation random(0, {})
SELECT count(*) FROM (SELECT 1 FROM audit_events WHERE correlation_id = 'fill-' || :correlation LIMIT 100001) AS found;
SELECT * FROM audit_events WHERE correlation_id = 'fill-' || :correlation ORDER BY event_timestamp DESC, event_id DESC LIMIT 51 OFFSET 0;
",
        correlations.saturating_sub(1)
    )
}

/// Fills the table up to this number of rows, spread over the last six days. Creates the indexes afterwards: that is an
/// hour faster at ten million rows.
pub(super) fn fill(rows: u64) -> String {
    format!(
        "CREATE TEMPORARY TABLE made AS SELECT indexname, replace(indexdef, ' ON ONLY ', ' ON ') AS definition
    FROM pg_indexes WHERE tablename = 'audit_events' AND indexname NOT LIKE '%_pkey';
DO $$ DECLARE made record; BEGIN
    FOR made IN SELECT indexname FROM made LOOP EXECUTE format('DROP INDEX %I', made.indexname); END LOOP;
END $$;
INSERT INTO audit_events (event_id, event_timestamp, version, event_type, event_category, event_action, event_outcome, correlation_id, event_data, actor_type, actor_id, resource_type, resource_id, namespace, cluster_name, severity, duration_ms, sequence, recorded_at, previous_hash, event_hash)
SELECT lpad(to_hex(number), 32, '0')::uuid, now() - interval '6 days' * random(), '1.0', 'gateway.signal.received', 'gateway', 'received', 'success',
    'fill-' || number / {EVENTS_PER_CORRELATION}, jsonb_build_object('signal_name', 'HighMemoryUsage', 'attempt', number % {EVENTS_PER_CORRELATION}, 'labels',
        jsonb_build_object('team', 'payments', 'pod', 'payment-api-' || number % 1000)),
    'service', 'gateway', 'Pod', 'payment-api-' || number % 1000, 'prod', 'main', 'critical', 12,
    number % {EVENTS_PER_CORRELATION} + 1, now(), sha256(number::text::bytea), sha256((number + 1)::text::bytea)
FROM generate_series((SELECT count(*) FROM audit_events WHERE correlation_id LIKE 'fill-%'), {rows} - 1) AS number;
SET maintenance_work_mem = '1GB';
DO $$ DECLARE made record; BEGIN
    FOR made IN SELECT definition FROM made LOOP EXECUTE made.definition; END LOOP;
END $$;
VACUUM ANALYZE audit_events;
CHECKPOINT;
"
    )
}

/// Writes rows of the table into a file, with new ids so that they can be inserted beside the originals.
pub(super) fn copy_out(rows: u64, file: &Path) -> String {
    format!(
        "CREATE TEMPORARY TABLE copied AS SELECT * FROM audit_events LIMIT {rows};
UPDATE copied SET event_id = gen_random_uuid();
\\copy copied TO '{}'",
        file.display()
    )
}

/// Counts the ids in these files that no row has.
pub(super) fn missing(ids: &[&Path]) -> String {
    let copies: String = ids
        .iter()
        .map(|file| format!("\\copy acknowledged FROM '{}'\n", file.display()))
        .collect();
    format!(
        "CREATE TEMPORARY TABLE acknowledged (id uuid);
{copies}SELECT count(*) FROM acknowledged WHERE NOT EXISTS (SELECT 1 FROM audit_events WHERE event_id = id);
"
    )
}

/// Counts the duplicate rows of the correlations with this prefix.
pub(super) fn duplicates(prefix: &str) -> String {
    format!(
        "SELECT count(*) - count(DISTINCT event_id) FROM audit_events WHERE correlation_id LIKE '{prefix}-%';\n"
    )
}
