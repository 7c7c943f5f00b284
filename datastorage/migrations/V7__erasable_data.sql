-- The data of an event can be erased, for the rights of persons: its salted hash stays, so that the chain still verifies.
ALTER TABLE audit_events ADD COLUMN event_data_hash bytea CHECK (octet_length(event_data_hash) = 32);

-- Only the data and its salt may go, and not under a legal hold; nothing else of an event ever changes.
CREATE OR REPLACE FUNCTION audit_refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    rest audit_events := NEW;
BEGIN
    rest.event_data := OLD.event_data;
    rest.data_salt := OLD.data_salt;
    rest.event_data_hash := OLD.event_data_hash;
    IF rest IS NOT DISTINCT FROM OLD AND OLD.hash_format = 2 AND OLD.event_data_hash IS NULL
        AND NEW.event_data_hash IS NOT NULL AND NEW.event_data = '{}' AND NEW.data_salt IS NULL
    THEN
        PERFORM 1 FROM audit_chain_heads WHERE correlation_id = OLD.correlation_id FOR SHARE;
        IF NOT EXISTS (SELECT 1 FROM audit_legal_holds
                       WHERE correlation_id = OLD.correlation_id AND released_at IS NULL) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit event % can not be changed: the audit trail is append-only', OLD.event_id
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- kind 6: an erasure, 7: the same, signed; `sequence` is the event's.
ALTER TABLE audit_log_pending DROP CONSTRAINT audit_log_pending_kind_check,
    ADD CONSTRAINT audit_log_pending_kind_check CHECK (kind BETWEEN 1 AND 7);
