CREATE TABLE alert (
    key BLOB PRIMARY KEY,
    entry INTEGER NOT NULL CHECK (entry > 0),
    name TEXT NOT NULL,
    UNIQUE (entry, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE sink (
    name TEXT PRIMARY KEY,
    last INTEGER NOT NULL CHECK (last >= 0),
    delivered INTEGER NOT NULL CHECK (delivered BETWEEN 0 AND last),
    failures INTEGER NOT NULL CHECK (failures >= 0),
    due_ms INTEGER NOT NULL CHECK (due_ms >= 0),
    said BLOB,
    lost INTEGER NOT NULL CHECK (lost >= 0),
    lost_first INTEGER NOT NULL CHECK (lost_first >= 0),
    lost_last INTEGER NOT NULL CHECK (lost_last >= 0)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
    sink TEXT NOT NULL REFERENCES sink (name),
    seq INTEGER NOT NULL CHECK (seq > 0),
    key BLOB,
    bytes BLOB,
    lost INTEGER NOT NULL CHECK (lost >= 0),
    lost_first INTEGER NOT NULL CHECK (lost_first >= 0),
    lost_last INTEGER NOT NULL CHECK (lost_last >= 0),
    PRIMARY KEY (sink, seq)
) STRICT;
