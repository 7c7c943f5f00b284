-- An index row has at most 2,704 bytes, and an id in event data may be longer: the indexes have its first 255 characters.
-- Queries use the same expressions.
DROP INDEX audit_events_outcomes;
DROP INDEX audit_events_outcomes_workflow;
CREATE INDEX audit_events_outcomes ON audit_events
    (left(event_data ->> 'incident_type', 255), left(event_data ->> 'workflow_id', 255), event_timestamp DESC)
    WHERE event_category IN ('workflow', 'execution') AND event_action IN ('completed', 'failed')
    AND event_outcome IN ('success', 'failure');
CREATE INDEX audit_events_outcomes_workflow ON audit_events
    (left(event_data ->> 'workflow_id', 255), event_timestamp DESC)
    WHERE event_category IN ('workflow', 'execution') AND event_action IN ('completed', 'failed')
    AND event_outcome IN ('success', 'failure');
