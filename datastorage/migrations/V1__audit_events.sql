-- The audit trail: events in monthly partitions, their ids, and the heads of their chains.
--
-- Keys that are text are compared by their bytes: faster than by any language's rules, and the order in which the
-- program locks them.

CREATE TABLE audit_events (
    event_id         uuid         NOT NULL,
    event_timestamp  timestamptz  NOT NULL,
    version          varchar(10)  NOT NULL CHECK (version <> ''),
    event_type       varchar(100) COLLATE "C" NOT NULL CHECK (event_type <> ''),
    event_category   varchar(20)  COLLATE "C" NOT NULL CHECK (event_category IN
        ('gateway', 'notification', 'analysis', 'signalprocessing', 'workflow', 'execution', 'orchestration')),
    event_action     varchar(50)  NOT NULL CHECK (event_action <> ''),
    event_outcome    varchar(10)  COLLATE "C" NOT NULL CHECK (event_outcome IN ('success', 'failure', 'pending')),
    correlation_id   varchar(255) COLLATE "C" NOT NULL CHECK (correlation_id <> ''),
    event_data       jsonb        NOT NULL CHECK (jsonb_typeof(event_data) = 'object'
        AND octet_length(event_data::text) <= 262144),
    actor_type       varchar(50),
    actor_id         varchar(255),
    resource_type    varchar(100),
    resource_id      varchar(255),
    parent_event_id  uuid,
    namespace        varchar(253),
    cluster_name     varchar(255),
    severity         varchar(20)  COLLATE "C",
    duration_ms      integer      CHECK (duration_ms >= 0),
    error_code       varchar(100),
    error_message    varchar(10000),
    retention_days   integer      CHECK (retention_days BETWEEN 1 AND 2555),
    -- The chain. `content_hash` is the hash of the canonical JSON of everything above, `event_hash` that of
    -- previous_hash, sequence, recorded_at and content_hash. `chain_key` names the HMAC key; null: plain SHA-256.
    sequence         bigint       NOT NULL CHECK (sequence >= 1),
    recorded_at      timestamptz  NOT NULL,
    previous_hash    bytea        NOT NULL CHECK (octet_length(previous_hash) = 32),
    event_hash       bytea        NOT NULL CHECK (octet_length(event_hash) = 32),
    chain_key        varchar(16),
    PRIMARY KEY (event_id, event_timestamp)
) PARTITION BY RANGE (event_timestamp);

-- One index for each filter, each in the order of a page: newest first.
CREATE INDEX audit_events_correlation ON audit_events (correlation_id, event_timestamp DESC, event_id DESC);
CREATE INDEX audit_events_time ON audit_events (event_timestamp DESC, event_id DESC);
CREATE INDEX audit_events_type ON audit_events (event_type, event_timestamp DESC, event_id DESC);
CREATE INDEX audit_events_category ON audit_events (event_category, event_timestamp DESC, event_id DESC);
CREATE INDEX audit_events_outcome ON audit_events (event_outcome, event_timestamp DESC, event_id DESC);
CREATE INDEX audit_events_severity ON audit_events (severity, event_timestamp DESC, event_id DESC)
    WHERE severity IS NOT NULL;
CREATE INDEX audit_events_retention ON audit_events (event_timestamp) WHERE retention_days IS NOT NULL;
CREATE INDEX audit_events_data ON audit_events USING gin (event_data jsonb_path_ops);

-- A partitioned table can't have a unique key without its partition key, and the same id with another time must
-- not pass for a new event. So the ids stand in a table of their own.
CREATE TABLE audit_event_ids (
    event_id        uuid        PRIMARY KEY,
    event_timestamp timestamptz NOT NULL,
    content_hash    bytea       NOT NULL CHECK (octet_length(content_hash) = 32)
);
-- Retention takes the ids of a dropped month away.
CREATE INDEX audit_event_ids_time ON audit_event_ids USING brin (event_timestamp);

-- The last event of each chain. Whoever appends to a chain locks its head first.
CREATE TABLE audit_chain_heads (
    correlation_id varchar(255) COLLATE "C" PRIMARY KEY,
    sequence       bigint       NOT NULL CHECK (sequence >= 1),
    event_hash     bytea        NOT NULL CHECK (octet_length(event_hash) = 32)
) WITH (fillfactor = 80);

-- Fails the transaction of a program that moved fewer heads than it meant to: somebody else had moved one before.
CREATE FUNCTION audit_expect_heads(moved bigint, wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF moved <> wanted THEN
        RAISE EXCEPTION '% of % chains were appended to meanwhile', wanted - moved, wanted
            USING ERRCODE = 'serialization_failure';
    END IF;
END $$;

-- Parts of chains that retention took away: what it needs to verify the rest.
CREATE TABLE audit_chain_gaps (
    correlation_id varchar(255) COLLATE "C" NOT NULL,
    first_sequence bigint       NOT NULL,
    last_sequence  bigint       NOT NULL CHECK (last_sequence >= first_sequence),
    previous_hash  bytea        NOT NULL CHECK (octet_length(previous_hash) = 32),
    last_hash      bytea        NOT NULL CHECK (octet_length(last_hash) = 32),
    removed_at     timestamptz  NOT NULL DEFAULT now(),
    PRIMARY KEY (correlation_id, first_sequence)
);

CREATE TABLE audit_legal_holds (
    hold_id        uuid         PRIMARY KEY,
    correlation_id varchar(255) COLLATE "C" NOT NULL CHECK (correlation_id <> ''),
    reason         varchar(1000) NOT NULL CHECK (reason <> ''),
    placed_by      varchar(255) NOT NULL,
    placed_at      timestamptz  NOT NULL DEFAULT now(),
    released_by    varchar(255),
    released_at    timestamptz
);
CREATE UNIQUE INDEX audit_legal_holds_active ON audit_legal_holds (correlation_id) WHERE released_at IS NULL;

CREATE FUNCTION audit_refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit event % can not be changed: the audit trail is append-only', OLD.event_id
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- The head's lock orders this against a hold that is being placed at the same time.
CREATE FUNCTION audit_refuse_delete_of_held() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM audit_chain_heads WHERE correlation_id = OLD.correlation_id FOR SHARE;
    IF EXISTS (SELECT 1 FROM audit_legal_holds WHERE correlation_id = OLD.correlation_id AND released_at IS NULL) THEN
        RAISE EXCEPTION 'audit event % is under legal hold (correlation_id %): release the hold first',
            OLD.event_id, OLD.correlation_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN OLD;
END $$;

CREATE FUNCTION audit_refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % can not be truncated: retention drops whole months and honours legal holds', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_update();
CREATE TRIGGER audit_events_held BEFORE DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_delete_of_held();
CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_truncate();

-- Makes the partition of the month that holds `day` (UTC) and says whether it is new. Its name tells the month.
CREATE FUNCTION audit_ensure_partition(day date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    first date := date_trunc('month', day)::date;
    name  text := 'audit_events_' || to_char(first, 'YYYY_MM');
BEGIN
    -- pg_class is asked by a query: to_regclass may answer from before the lock.
    IF EXISTS (SELECT 1 FROM pg_class AS made JOIN pg_class AS parent USING (relnamespace)
               WHERE parent.oid = 'audit_events'::regclass AND made.relname = name) THEN
        RETURN false;
    END IF;
    -- Replicas that start together make the same partitions.
    PERFORM pg_advisory_xact_lock(hashtext('audit_events partitions'));
    IF EXISTS (SELECT 1 FROM pg_class AS made JOIN pg_class AS parent USING (relnamespace)
               WHERE parent.oid = 'audit_events'::regclass AND made.relname = name) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I PARTITION OF audit_events FOR VALUES FROM (%L) TO (%L)', name,
        to_char(first, 'YYYY-MM-DD') || ' 00:00:00+00',
        to_char(first + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
    EXECUTE format('CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON %I
        FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_truncate()', name);
    RETURN true;
END $$;

CREATE TABLE audit_notifications (
    notification_id  varchar(255)  PRIMARY KEY,
    remediation_id   varchar(255)  NOT NULL CHECK (remediation_id <> ''),
    recipient        varchar(255)  NOT NULL CHECK (recipient <> ''),
    channel          varchar(50)   NOT NULL CHECK (channel <> ''),
    message_summary  varchar(10000) NOT NULL CHECK (message_summary <> ''),
    status           varchar(20)   NOT NULL CHECK (status IN ('sent', 'failed', 'acknowledged', 'escalated')),
    sent_at          timestamptz   NOT NULL,
    delivery_status  varchar(255),
    error_message    varchar(10000),
    escalation_level integer       NOT NULL DEFAULT 0 CHECK (escalation_level BETWEEN 0 AND 100),
    recorded_at      timestamptz   NOT NULL DEFAULT now()
);
CREATE INDEX audit_notifications_remediation ON audit_notifications (remediation_id, sent_at DESC);
