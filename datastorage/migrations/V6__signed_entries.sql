-- Entries of the log that are signed with its key (docs/adr/0046-transparency-log.md). kind 3: a gap of retention, `hash`
-- is the SHA-256 of `entry`, which is the gap's description and a signature.
ALTER TABLE audit_log_pending DROP CONSTRAINT audit_log_pending_kind_check,
    ADD CONSTRAINT audit_log_pending_kind_check CHECK (kind IN (1, 2, 3));
