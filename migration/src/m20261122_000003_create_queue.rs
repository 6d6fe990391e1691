//! The admission queue in the database: messages, consumers of partitions, dead letters.

use crate::Step;

pub(crate) const STEP: Step = Step { name: "m20261122_000003_create_queue", up: UP, down: DOWN };

const UP: &[&str] = &[
    // The one row has the newest number. A publisher locks the row until COMMIT. So a smaller number never becomes
    // visible after a greater one, which could happen with a sequence.
    "CREATE TABLE queue_counter (
        id {small} NOT NULL PRIMARY KEY, last BIGINT NOT NULL, waiting BIGINT NOT NULL) {keyed,hottest}",
    "INSERT INTO queue_counter (id, last, waiting) VALUES (1, 0, 0)",
    "CREATE TABLE queue_message (
        part {small} NOT NULL, number BIGINT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (part, number)) {keyed}",
    "CREATE TABLE queue_consumer (
        part {small} NOT NULL PRIMARY KEY, owner {uuid} NOT NULL, until BIGINT NOT NULL) {keyed,hottest}",
    "CREATE TABLE queue_letter (
        id TEXT NOT NULL PRIMARY KEY, part {small} NOT NULL, body TEXT NOT NULL, reason TEXT NOT NULL,
        parked_at BIGINT NOT NULL) {keyed}",
];

const DOWN: &[&str] = &[
    "DROP TABLE queue_letter",
    "DROP TABLE queue_consumer",
    "DROP TABLE queue_message",
    "DROP TABLE queue_counter",
];
