//! Runs a script: batch after batch on one database, and each batch again command by command.

use std::time::Duration;

use proptest::test_runner::{TestCaseError, TestCaseResult};

use super::database::{ModelDatabase, render};
use super::script::{Author, Round, SEATS};
use crate::domain::clock::{EpochMs, Outage};
use crate::domain::command::Command;
use crate::domain::decide::Decision;
use crate::domain::effect::Outcome;
use crate::domain::rules::{Policy, ScheduleRules};

/// A batch that was decided and written.
pub(super) struct ScriptStep<'a> {
    pub(super) now: EpochMs,
    pub(super) commands: &'a [Command],
    pub(super) before: &'a ModelDatabase,
    pub(super) after: &'a ModelDatabase,
    pub(super) decision: &'a Decision,
}

/// One command of a batch, decided and written in a batch of its own, after the commands before it.
pub(super) struct Single<'a> {
    pub(super) now: EpochMs,
    pub(super) command: &'a Command,
    pub(super) before: &'a ModelDatabase,
    pub(super) after: &'a ModelDatabase,
    pub(super) outcome: &'a Outcome,
}

/// The commands of a batch, one by one: the outcome of each, and the database before and after it.
pub(super) struct OneByOne {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) databases: Vec<ModelDatabase>,
}

const START: EpochMs = EpochMs(1_000_000);

fn database() -> ModelDatabase {
    let seconds = Duration::from_secs;
    let policy = Policy {
        hold_ttl_max: seconds(12),
        outage_grace: seconds(3),
        idempotency_ttl: seconds(25),
    };
    let open = ScheduleRules {
        sales_open_at: None,
        sales_close_at: None,
        max_seats_per_booking: 4,
        max_seats_per_customer: None,
        hold_ttl: seconds(8),
        currency: "EUR".to_owned(),
    };
    let strict = ScheduleRules {
        sales_open_at: Some(START.plus(seconds(1))),
        sales_close_at: Some(START.plus(seconds(45))),
        max_seats_per_booking: 3,
        max_seats_per_customer: Some(3),
        ..open.clone()
    };
    ModelDatabase::new(policy, vec![strict, open], SEATS)
}

/// Runs a script on empty tables and calls `check` with every step.
pub(super) fn play(
    script: &[Round],
    mut check: impl FnMut(&ScriptStep<'_>) -> TestCaseResult,
) -> TestCaseResult {
    let mut author = Author::default();
    let mut after = database();
    let mut now = START;
    for round in script {
        // No batch has run since the outage began.
        let began = EpochMs(now.0 + 1);
        now = now.plus(Duration::from_secs(round.seconds));
        if round.outage && began < now {
            after.outages.push(Outage { began, ended: now });
        }
        let commands = author.batch(&after, &round.drafts);
        let before = after.clone();
        let decision = after.run(now, &commands)?;
        let step = ScriptStep {
            now,
            commands: &commands,
            before: &before,
            after: &after,
            decision: &decision,
        };
        check(&step)?;
    }
    Ok(())
}

/// Like [`play`], but runs every command of every step in a batch of its own.
pub(super) fn play_singly(
    script: &[Round],
    mut check: impl FnMut(&Single<'_>) -> TestCaseResult,
) -> TestCaseResult {
    play(script, |step| {
        let alone = step.one_by_one()?;
        step.singles(&alone).try_for_each(|single| check(&single))
    })
}

impl ScriptStep<'_> {
    pub(super) fn one_by_one(&self) -> Result<OneByOne, TestCaseError> {
        let mut alone = OneByOne { outcomes: Vec::new(), databases: vec![self.before.clone()] };
        for command in self.commands {
            let mut database = alone.databases[alone.outcomes.len()].clone();
            let decision = database.run(self.now, std::slice::from_ref(command))?;
            alone.outcomes.extend(decision.outcomes);
            alone.databases.push(database);
        }
        Ok(alone)
    }

    pub(super) fn singles<'a>(&'a self, alone: &'a OneByOne) -> impl Iterator<Item = Single<'a>> {
        let around = alone.databases.windows(2);
        let rows = self.commands.iter().zip(&alone.outcomes).zip(around);
        rows.map(|((command, outcome), databases)| {
            let before = &databases[0];
            let after = &databases[1];
            Single { now: self.now, command, before, after, outcome }
        })
    }
}

/// The outcome for the caller: a repeated answer is the same, whichever batch it came from.
pub(super) fn as_sent(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Repeated(effect) => Outcome::Replayed(render(effect)),
        other => other.clone(),
    }
}
