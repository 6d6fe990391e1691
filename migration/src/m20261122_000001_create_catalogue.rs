//! Events, seat plans and schedules: the tables that the admin API writes.

use crate::Step;

pub(crate) const STEP: Step =
    Step { name: "m20261122_000001_create_catalogue", up: UP, down: DOWN };

const UP: &[&str] = &[
    "CREATE TABLE event (id {id}, name TEXT NOT NULL, created_at BIGINT NOT NULL)",
    "CREATE TABLE seat_plan (
        id TEXT NOT NULL, version INTEGER NOT NULL, layout TEXT NOT NULL, seats INTEGER NOT NULL,
        created_at BIGINT NOT NULL, PRIMARY KEY (id, version))",
    "CREATE TABLE schedule (
        id {id}, event_id BIGINT NOT NULL REFERENCES event (id), starts_at BIGINT NOT NULL,
        currency TEXT NOT NULL, sales_open_at BIGINT, sales_close_at BIGINT,
        max_seats_per_booking INTEGER NOT NULL, max_seats_per_customer INTEGER,
        hold_ttl_ms BIGINT NOT NULL, plan_id TEXT NOT NULL, plan_version INTEGER NOT NULL,
        seats INTEGER NOT NULL, created_at BIGINT NOT NULL,
        FOREIGN KEY (plan_id, plan_version) REFERENCES seat_plan (id, version))",
    "CREATE INDEX schedule_of_event ON schedule (event_id, id)",
];

const DOWN: &[&str] = &["DROP TABLE schedule", "DROP TABLE seat_plan", "DROP TABLE event"];
