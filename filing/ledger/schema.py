"""The ledger's tables; another version of them is never read, but built anew from the records."""

from __future__ import annotations

APPLICATION = 0x534C4457
"""Says in the file's head whose database it is."""

VERSION = 2
"""To be raised with every change below, and of what `records.py` makes of a record."""

TABLES = """
CREATE TABLE state (complete INTEGER NOT NULL);
INSERT INTO state VALUES (0);

CREATE TABLE folder (
    id INTEGER PRIMARY KEY,
    outcome INTEGER NOT NULL,
    path BLOB NOT NULL,
    mtime_ns INTEGER,  -- when its entries had last changed when it was last compared; null: to be compared
    UNIQUE (outcome, path)
);

CREATE TABLE image (
    id INTEGER PRIMARY KEY,
    folder INTEGER NOT NULL,
    name BLOB NOT NULL,
    ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    time INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    nio_probability REAL,
    threshold REAL,
    novelty REAL,
    model TEXT NOT NULL,
    product TEXT NOT NULL,
    board TEXT NOT NULL,
    joint TEXT NOT NULL,
    view TEXT NOT NULL,
    pages INTEGER,
    page INTEGER,
    word TEXT NOT NULL,
    identified INTEGER NOT NULL AS (reason <> 'unidentified') VIRTUAL,
    distance REAL NOT NULL AS (ifnull(abs(nio_probability - threshold), 0)) VIRTUAL,
    UNIQUE (folder, name)
);
CREATE INDEX image_by_time ON image (product, time);
CREATE INDEX image_by_board ON image (board, joint, view) WHERE board <> '';
-- All that counting a product's boards needs is in it: no image need be looked at.
CREATE INDEX image_to_review ON image (product, identified, distance, time, board, outcome, word)
    WHERE outcome = 1 AND word = '';

CREATE TABLE word (
    image INTEGER NOT NULL,
    at INTEGER NOT NULL,
    label TEXT NOT NULL,
    by TEXT NOT NULL,
    product TEXT NOT NULL,
    joint TEXT NOT NULL
);
CREATE INDEX word_by_image ON word (image);
CREATE INDEX word_by_joint ON word (product, joint, at) WHERE joint <> '';

CREATE TABLE tally (
    product TEXT NOT NULL,
    day INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    word TEXT NOT NULL,
    images INTEGER NOT NULL,
    PRIMARY KEY (product, day, outcome, word)
) WITHOUT ROWID;

CREATE TRIGGER counted AFTER INSERT ON image BEGIN
    INSERT INTO tally VALUES (new.product, new.time / 86400000, new.outcome, new.word, 1)
    ON CONFLICT DO UPDATE SET images = images + 1;
END;
CREATE TRIGGER discounted AFTER DELETE ON image BEGIN
    UPDATE tally SET images = images - 1
    WHERE (product, day, outcome, word) = (old.product, old.time / 86400000, old.outcome, old.word);
    DELETE FROM tally
    WHERE (product, day, outcome, word) = (old.product, old.time / 86400000, old.outcome, old.word) AND images = 0;
    DELETE FROM word WHERE image = old.id;
END;
"""

COLUMNS = (
    "time", "verdict", "reason", "nio_probability", "threshold", "novelty", "model", "product", "board", "joint",
    "view", "pages", "page", "word",
)  # fmt: skip
"""Of an image, those that its record fills: the fields of `Facts`, in their order."""
