CREATE TABLE silences (
    namespace text PRIMARY KEY,
    reason text NOT NULL,
    until timestamptz NOT NULL
);
