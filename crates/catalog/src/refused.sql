CREATE TABLE refused (
    sink TEXT PRIMARY KEY REFERENCES sink (name),
    seq INTEGER NOT NULL CHECK (seq >= 0),
    count INTEGER NOT NULL CHECK (count >= 0),
    since_ms INTEGER NOT NULL CHECK (since_ms >= 0),
    passed INTEGER NOT NULL CHECK (passed >= 0),
    passed_seq INTEGER NOT NULL CHECK (passed_seq >= 0)
) STRICT, WITHOUT ROWID;
CREATE TABLE aside (
    sink TEXT NOT NULL REFERENCES sink (name),
    seq INTEGER NOT NULL CHECK (seq > 0),
    first INTEGER NOT NULL CHECK (first >= 0),
    last INTEGER NOT NULL CHECK (last >= first),
    count INTEGER NOT NULL CHECK (count > 0),
    at_ms INTEGER NOT NULL CHECK (at_ms >= 0),
    said BLOB NOT NULL,
    PRIMARY KEY (sink, seq)
) STRICT;
