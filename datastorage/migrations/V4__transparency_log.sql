-- The transparency log: one Merkle tree over all events and all gaps of retention (docs/adr/0046-transparency-log.md).

-- What waits for its place in the tree, in the transaction of what it names. Without an index: it is read as a whole.
-- kind 1: an event, `hash` is its event_hash. kind 2: a gap, `hash` is the SHA-256 of `entry`.
CREATE TABLE audit_log_pending (
    kind           smallint     NOT NULL CHECK (kind IN (1, 2)),
    correlation_id varchar(255) COLLATE "C" NOT NULL,
    sequence       bigint       NOT NULL,
    last_sequence  bigint       NOT NULL,
    hash           bytea        NOT NULL CHECK (octet_length(hash) = 32),
    entry          text
);

-- The leaves. Their hashes are in the tiles.
CREATE TABLE audit_log_leaves (
    leaf_index     bigint       PRIMARY KEY,
    kind           smallint     NOT NULL,
    correlation_id varchar(255) COLLATE "C" NOT NULL,
    sequence       bigint       NOT NULL,
    last_sequence  bigint       NOT NULL,
    entry          text
);
CREATE INDEX audit_log_leaves_chain ON audit_log_leaves (correlation_id, sequence);

-- The tree in tiles of 256 hashes of 32 bytes; the last one of a level may be partial.
CREATE TABLE audit_log_tiles (
    level      smallint NOT NULL,
    tile_index bigint   NOT NULL,
    hashes     bytea    NOT NULL,
    PRIMARY KEY (level, tile_index)
);
-- Hashes do not compress.
ALTER TABLE audit_log_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- The number of leaves; its lock makes one replica grow the tree at a time.
CREATE TABLE audit_log_size (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    size   bigint  NOT NULL CHECK (size >= 0)
);
INSERT INTO audit_log_size (size) VALUES (0);

-- Signed checkpoints for readers; the proof is the copy outside of the database.
CREATE TABLE audit_log_checkpoints (
    size       bigint      PRIMARY KEY,
    note       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The entry of a gap in the tree.
CREATE FUNCTION audit_gap_entry(gap audit_chain_gaps) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT concat_ws(E'\n', 'gap', gap.correlation_id, gap.first_sequence, gap.last_sequence,
        encode(gap.previous_hash, 'hex'), encode(gap.last_hash, 'hex'))
$$;

-- A program that does not know the log writes format 1, for as long as an update takes.
CREATE FUNCTION audit_log_older_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_log_pending VALUES (1, NEW.correlation_id, NEW.sequence, NEW.sequence, NEW.event_hash, NULL);
    RETURN NULL;
END $$;
CREATE TRIGGER audit_events_older AFTER INSERT ON audit_events
    FOR EACH ROW WHEN (NEW.hash_format = 1) EXECUTE FUNCTION audit_log_older_event();

-- What was stored before there was a tree.
INSERT INTO audit_log_pending
    SELECT 1, correlation_id, sequence, sequence, event_hash, NULL FROM audit_events
    ORDER BY event_timestamp;
INSERT INTO audit_log_pending
    SELECT 2, correlation_id, first_sequence, last_sequence, sha256(convert_to(audit_gap_entry(gap), 'UTF8')),
        audit_gap_entry(gap)
    FROM audit_chain_gaps AS gap;
