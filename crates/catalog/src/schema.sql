CREATE TABLE trail (
    idx INTEGER PRIMARY KEY CHECK (idx >= 0),
    leaf BLOB NOT NULL,
    openings BLOB
) STRICT;
CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY CHECK (size > 0),
    note TEXT NOT NULL
) STRICT;
CREATE TABLE edge (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    size INTEGER NOT NULL CHECK (size >= 0),
    hashes BLOB NOT NULL
) STRICT;
CREATE TABLE open_intent (
    idx INTEGER PRIMARY KEY REFERENCES trail (idx)
) STRICT;
CREATE TABLE state (
    tbl TEXT NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (tbl, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE ledger (
    id TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'retired', 'destroyed'))
) STRICT, WITHOUT ROWID;
CREATE TABLE wrap (
    id TEXT NOT NULL REFERENCES ledger (id),
    wrapped_by TEXT NOT NULL,
    row BLOB NOT NULL,
    PRIMARY KEY (id, wrapped_by)
) STRICT, WITHOUT ROWID;
CREATE TABLE blob (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;
INSERT INTO edge VALUES (0, 0, x'');
