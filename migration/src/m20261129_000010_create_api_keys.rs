//! API keys, their secrets as hashes, and the number by which processes notice that the keys have changed.

use crate::Step;

pub(crate) const STEP: Step = Step { name: "m20261129_000010_create_api_keys", up: UP, down: DOWN };

const UP: &[&str] = &[
    "CREATE TABLE api_key (
        id {id}, name TEXT NOT NULL, kind TEXT NOT NULL, mode TEXT NOT NULL, scopes TEXT NOT NULL,
        origins TEXT NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT, revoked_at BIGINT,
        last_used_at BIGINT)",
    "CREATE UNIQUE INDEX api_key_live ON api_key (name) WHERE revoked_at IS NULL",
    "CREATE TABLE api_key_secret (
        key_id BIGINT NOT NULL REFERENCES api_key (id), number {small} NOT NULL,
        prefix TEXT NOT NULL UNIQUE, hash TEXT NOT NULL, created_at BIGINT NOT NULL, ends_at BIGINT,
        PRIMARY KEY (key_id, number))",
    "CREATE TABLE api_key_revision (id {small} NOT NULL PRIMARY KEY, revision BIGINT NOT NULL)",
    "INSERT INTO api_key_revision (id, revision) VALUES (1, 0)",
];

const DOWN: &[&str] =
    &["DROP TABLE api_key_revision", "DROP TABLE api_key_secret", "DROP TABLE api_key"];
