-- Entries of the log that are signed with its key, and legal holds (docs/adr/0046-transparency-log.md). `hash` is the
-- SHA-256 of `entry`. kind 2: a gap, 3: the same, signed; 4: a hold or its release, 5: the same, signed. A signed entry is
-- the description and a line with the signature.
ALTER TABLE audit_log_pending DROP CONSTRAINT audit_log_pending_kind_check,
    ADD CONSTRAINT audit_log_pending_kind_check CHECK (kind IN (1, 2, 3, 4, 5));

-- The descriptions of a hold in the log: of its placing, and of its release.
CREATE FUNCTION audit_hold_entry(hold audit_legal_holds) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT concat_ws(E'\n', 'hold', hold.hold_id, hold.correlation_id, hold.placed_by,
        (extract(epoch FROM hold.placed_at) * 1000000)::bigint, hold.reason)
$$;
CREATE FUNCTION audit_release_entry(hold audit_legal_holds) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT concat_ws(E'\n', 'release', hold.hold_id, hold.correlation_id, hold.released_by,
        (extract(epoch FROM hold.released_at) * 1000000)::bigint) WHERE hold.released_at IS NOT NULL
$$;

-- What was held before.
INSERT INTO audit_log_pending
    SELECT 4, correlation_id, 0, 0, sha256(convert_to(entry, 'UTF8')), entry
    FROM audit_legal_holds AS hold,
        LATERAL (VALUES (audit_hold_entry(hold)), (audit_release_entry(hold))) AS entries (entry)
    WHERE entry IS NOT NULL;
