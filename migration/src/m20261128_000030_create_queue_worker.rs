//! The processes that execute the requests of the admission queue and share its partitions.

use crate::Step;

pub(crate) const STEP: Step =
    Step { name: "m20261128_000030_create_queue_worker", up: UP, down: DOWN };

const UP: &[&str] = &["CREATE TABLE queue_worker (
        queue TEXT NOT NULL, id {uuid} NOT NULL, until BIGINT NOT NULL,
        PRIMARY KEY (queue, id)) {keyed,hottest}"];

const DOWN: &[&str] = &["DROP TABLE queue_worker"];
