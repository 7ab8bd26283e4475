-- Several services on one pool: which of them asked, what they hand to the one that leads, and who is there.
ALTER TABLE requests ADD COLUMN node TEXT NOT NULL DEFAULT '';

CREATE TABLE submissions (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    node TEXT NOT NULL,
    kind TEXT NOT NULL,
    record TEXT NOT NULL,
    leased_by INTEGER NOT NULL,
    is_accepted INTEGER,
    filter TEXT NOT NULL,
    reason TEXT NOT NULL,
    handed_at REAL NOT NULL,
    answered_at REAL
);
CREATE INDEX submissions_waiting ON submissions (number) WHERE is_accepted IS NULL;
CREATE INDEX submissions_answered ON submissions (node, number) WHERE is_accepted IS NOT NULL;

CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    record TEXT NOT NULL,
    seen_at REAL NOT NULL
);
