-- Format 1: the chain covers the content as one text, its numbers written as doubles. Format 2: numbers are exact, and
-- the event data is covered by its own salted hash, so that data and salt can be erased while the chain still verifies.
ALTER TABLE audit_events
    ADD COLUMN hash_format smallint NOT NULL DEFAULT 1 CHECK (hash_format IN (1, 2)),
    ADD COLUMN data_salt   bytea CHECK (octet_length(data_salt) = 16);
