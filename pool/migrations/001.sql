-- The first schema. pool/schema.py describes the same tables to SQLAlchemy; a test compares the two.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE requests (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    purpose TEXT NOT NULL,
    requested_category TEXT NOT NULL,
    prompt_sha256 TEXT NOT NULL,
    demonstration_ids TEXT NOT NULL,
    messages TEXT NOT NULL,
    sampling TEXT NOT NULL,
    state TEXT NOT NULL,
    asked_at REAL NOT NULL
);
CREATE INDEX requests_waiting ON requests (number) WHERE state = 'waiting';

CREATE TABLE completions (
    number INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE REFERENCES requests (id),
    text TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    is_usage_counted INTEGER NOT NULL,
    model TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    latency_s REAL NOT NULL,
    received_at REAL NOT NULL
);

CREATE TABLE failures (
    number INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL REFERENCES requests (id),
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    failed_at REAL NOT NULL
);
CREATE INDEX failures_by_request ON failures (request_id);

CREATE TABLE unreadable (
    number INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    text TEXT NOT NULL,
    seen_at REAL NOT NULL
);
CREATE INDEX unreadable_by_reason ON unreadable (reason, number);

CREATE TABLE proposals (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    instruction TEXT NOT NULL,
    requested_category TEXT NOT NULL,
    is_classification INTEGER,
    lineage TEXT NOT NULL,
    -- the decision that holds, repeated from `decisions` so that lists and samples need no join
    sequence INTEGER NOT NULL,
    is_accepted INTEGER NOT NULL,
    filter TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX proposals_by_state ON proposals (is_accepted, number);

CREATE TABLE candidates (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    task_id TEXT NOT NULL,
    instruction TEXT NOT NULL,
    input TEXT NOT NULL,
    output TEXT NOT NULL,
    requested_category TEXT NOT NULL,
    category TEXT NOT NULL,
    grades TEXT NOT NULL,
    lineage TEXT NOT NULL,
    recipe TEXT NOT NULL,
    -- as verified, or else as requested
    effective_category TEXT NOT NULL,
    -- the decision that holds, as in `proposals`
    sequence INTEGER NOT NULL,
    is_accepted INTEGER NOT NULL,
    filter TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX candidates_by_task ON candidates (task_id);
CREATE INDEX candidates_by_state ON candidates (is_accepted, number);
CREATE INDEX candidates_accepted ON candidates (effective_category, number) WHERE is_accepted = 1;
CREATE INDEX candidates_refused ON candidates (filter, reason, number) WHERE is_accepted = 0;

CREATE TABLE occurrences (
    number INTEGER PRIMARY KEY,
    candidate_id TEXT NOT NULL REFERENCES candidates (id),
    task_id TEXT NOT NULL,
    lineage TEXT NOT NULL,
    seen_at REAL NOT NULL
);
CREATE INDEX occurrences_by_candidate ON occurrences (candidate_id);

CREATE TABLE decisions (
    number INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    is_accepted INTEGER NOT NULL,
    filter TEXT NOT NULL,
    reason TEXT NOT NULL,
    verdicts TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    note TEXT NOT NULL,
    decided_at REAL NOT NULL,
    UNIQUE (subject_id, subject, sequence)
);

CREATE TABLE runs (
    round INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    threshold INTEGER NOT NULL,
    snapshot_id TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    adapter_id TEXT NOT NULL,
    created_at REAL NOT NULL
);

CREATE TABLE attempts (
    round INTEGER NOT NULL REFERENCES runs (round),
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    error TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL,
    PRIMARY KEY (round, number)
);

CREATE TABLE adapters (
    id TEXT PRIMARY KEY,
    round INTEGER NOT NULL,
    record TEXT NOT NULL,
    created_at REAL NOT NULL
);

CREATE TABLE reports (
    number INTEGER PRIMARY KEY,
    adapter_id TEXT NOT NULL,
    record TEXT NOT NULL,
    created_at REAL NOT NULL
);

CREATE TABLE shares (
    number INTEGER PRIMARY KEY,
    category TEXT NOT NULL,
    share REAL NOT NULL,
    reason TEXT NOT NULL,
    changed_at REAL NOT NULL
);

-- Kept in the transaction of what they count, so that a count costs the same at a million rows.
CREATE TABLE counters (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
