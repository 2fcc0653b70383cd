CREATE TABLE subtree (
    level INTEGER NOT NULL CHECK (level > 0),
    number INTEGER NOT NULL CHECK (number >= 0),
    hash BLOB NOT NULL,
    PRIMARY KEY (level, number)
) STRICT, WITHOUT ROWID;
