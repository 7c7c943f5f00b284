-- The catalogue of remediation workflows. A version is immutable: what a run recorded must stay readable.

CREATE TABLE workflows (
    workflow_id     uuid          PRIMARY KEY,
    workflow_name   varchar(255)  NOT NULL CHECK (workflow_name <> ''),
    version         varchar(50)   NOT NULL CHECK (version <> ''),
    -- The order of versions is that of their making, not of their names.
    revision        integer       NOT NULL CHECK (revision >= 1),
    name            varchar(255)  NOT NULL CHECK (name <> ''),
    description     varchar(10000) NOT NULL CHECK (description <> ''),
    content         text          NOT NULL CHECK (content <> '' AND octet_length(content) <= 1048576),
    content_hash    bytea         NOT NULL CHECK (octet_length(content_hash) = 32),
    labels          jsonb         NOT NULL CHECK (jsonb_typeof(labels) = 'object'),
    status          varchar(20)   NOT NULL CHECK (status IN ('active', 'deprecated', 'disabled')),
    created_by      varchar(255)  NOT NULL,
    created_at      timestamptz   NOT NULL DEFAULT now(),
    updated_by      varchar(255),
    updated_at      timestamptz,
    disabled_reason varchar(1000),
    UNIQUE (workflow_name, version),
    UNIQUE (workflow_name, revision)
);
CREATE INDEX workflows_labels ON workflows USING gin (labels jsonb_path_ops);

CREATE FUNCTION workflow_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'workflow % version % can not be deleted: disable it', OLD.workflow_name, OLD.version
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF (NEW.workflow_id, NEW.workflow_name, NEW.version, NEW.revision, NEW.content, NEW.content_hash, NEW.labels,
        NEW.created_by, NEW.created_at) IS DISTINCT FROM
       (OLD.workflow_id, OLD.workflow_name, OLD.version, OLD.revision, OLD.content, OLD.content_hash, OLD.labels,
        OLD.created_by, OLD.created_at) THEN
        RAISE EXCEPTION 'workflow % version % can not be changed: make a new version', OLD.workflow_name, OLD.version
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER workflows_immutable BEFORE UPDATE OR DELETE ON workflows
    FOR EACH ROW EXECUTE FUNCTION workflow_refuse_change();

-- Outcomes of runs, for success rates: few of all events.
CREATE INDEX audit_events_outcomes ON audit_events
    ((event_data ->> 'incident_type'), (event_data ->> 'workflow_id'), event_timestamp DESC)
    WHERE event_category IN ('workflow', 'execution') AND event_action IN ('completed', 'failed')
    AND event_outcome IN ('success', 'failure');
CREATE INDEX audit_events_outcomes_workflow ON audit_events
    ((event_data ->> 'workflow_id'), event_timestamp DESC)
    WHERE event_category IN ('workflow', 'execution') AND event_action IN ('completed', 'failed')
    AND event_outcome IN ('success', 'failure');
