//! Properties of every sequence of batches: random scripts are run on tables in memory.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{TestCaseResult, TestRunner};

pub(super) mod checks;
pub(super) mod database;
mod oracle;
mod script;
mod step;
mod tally;

use super::decide;
use crate::domain::command::{Action, Command};
use crate::domain::effect::Outcome;
use crate::domain::ids::{ScheduleId, SeatNumber};
use crate::domain::rejection::Rejection;
use crate::domain::rows::SeatKey;
use crate::domain::seat::SeatState;
use checks::{all_or_nothing, answers_are_true, living_holds_keep_their_seats, tables_agree};
use database::{ModelDatabase, render};
use script::script;
use step::{ScriptStep, Single, as_sent, play, play_singly};
use tally::{KINDS, ScriptTally};

fn config() -> ProptestConfig {
    ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_seat_belongs_to_at_most_one_live_booking(script in script()) {
        play(&script, |step| tables_agree(step.after))?;
    }

    #[test]
    fn claims_are_whole_and_a_refusal_leaves_no_trace(script in script()) {
        play_singly(&script, all_or_nothing)?;
    }

    #[test]
    fn a_hold_keeps_its_seats_until_it_ends(script in script()) {
        play_singly(&script, living_holds_keep_their_seats)?;
    }

    #[test]
    fn an_answer_has_what_was_written(script in script()) {
        play_singly(&script, answers_are_true)?;
    }

    #[test]
    fn every_command_has_the_outcome_of_the_oracle(script in script()) {
        play_singly(&script, expected_outcome)?;
    }

    #[test]
    fn one_key_has_one_effect_and_one_answer(script in script()) {
        let mut given = BTreeMap::new();
        play(&script, |step| {
            for (command, outcome) in step.commands.iter().zip(&step.decision.outcomes) {
                answered_once(&mut given, step, command, outcome)?;
            }
            Ok(())
        })?;
    }

    #[test]
    fn the_journal_has_every_version(script in script()) {
        play(&script, versions_count_batches)?;
    }

    #[test]
    fn no_customer_owns_more_than_the_limit(script in script()) {
        play(&script, limits_hold)?;
    }

    #[test]
    fn a_batch_decides_as_its_commands_one_by_one(script in script()) {
        play(&script, same_one_by_one)?;
    }

    #[test]
    fn a_batch_without_its_refused_commands_changes_the_same(script in script()) {
        play(&script, same_without_the_refused)?;
    }

    #[test]
    fn schedules_in_one_batch_do_not_disturb_each_other(script in script()) {
        play(&script, same_schedule_by_schedule)?;
    }
}

/// Runs the same scripts every time. They have every kind of command and outcome, so the properties are not vacuous.
#[test]
fn the_scripts_make_everything_happen() {
    let mut runner = TestRunner::deterministic();
    let mut tally = ScriptTally::default();
    for _ in 0..256 {
        let script = script().new_tree(&mut runner).unwrap().current();
        let counted = play(&script, |step| {
            tally.count_batch(step);
            let alone = step.one_by_one()?;
            step.singles(&alone).for_each(|single| tally.count(&single));
            Ok(())
        });
        counted.unwrap();
    }
    let counts: Vec<_> = KINDS.iter().map(|kind| (tally.of(kind), *kind)).collect();
    let rare: Vec<_> = counts.iter().filter(|(count, _)| *count < 10).collect();
    assert!(rare.is_empty(), "too rare: {rare:?} of {counts:?}");
}

fn expected_outcome(single: &Single<'_>) -> TestCaseResult {
    if single.key_has_an_answer() {
        return Ok(());
    }
    let refused = oracle::expected_outcome(single.before, single.now, single.command);
    match single.outcome {
        Outcome::Refused(rejection) => prop_assert_eq!(Some(rejection), refused.as_ref()),
        outcome => prop_assert_eq!(None, refused, "{:?} of {:?}", outcome, single.command),
    }
    Ok(())
}

type Given = BTreeMap<String, (String, Outcome, i64)>;

fn answered_once(
    given: &mut Given,
    step: &ScriptStep<'_>,
    command: &Command,
    outcome: &Outcome,
) -> TestCaseResult {
    let is_again = matches!(outcome, Outcome::Repeated(_) | Outcome::Replayed(_));
    let Some(keyed) = &command.keyed else {
        prop_assert!(!is_again, "{outcome:?} without a key");
        return Ok(());
    };
    let key = keyed.request.key.clone();
    let reused = Outcome::Refused(Rejection::KeyReused);
    if let Some((fingerprint, answer, _)) = given.get(&key).filter(|known| step.now.0 < known.2) {
        let expected = if *fingerprint == keyed.fingerprint { answer } else { &reused };
        prop_assert_eq!(&as_sent(outcome), expected);
        return Ok(());
    }
    prop_assert!(!is_again && *outcome != reused, "{outcome:?} though {key} has no answer");
    let is_lookup = command.action == Action::Lookup;
    prop_assert_eq!(is_lookup, *outcome == Outcome::NotRecorded);
    if let Outcome::Done(effect) = outcome {
        let answer = Outcome::Replayed(render(effect));
        let expires_at = step.now.plus(step.after.policy.idempotency_ttl);
        given.insert(key, (keyed.fingerprint.clone(), answer, expires_at.0));
    }
    Ok(())
}

/// Each schedule in which a command changed a seat gets one new version, and no other schedule does. The journal has
/// exactly the changed seats and leads to exactly their states.
fn versions_count_batches(step: &ScriptStep<'_>) -> TestCaseResult {
    let alone = step.one_by_one()?;
    let changed = |single: &Single<'_>| -> Vec<SeatKey> {
        let seats = single.before.seats.iter();
        seats.filter(|(key, row)| single.after.seats[key] != **row).map(|(key, _)| *key).collect()
    };
    let written: BTreeSet<_> = step.singles(&alone).flat_map(|single| changed(&single)).collect();
    for (schedule, row) in &step.after.schedules {
        let seats: Vec<_> =
            written.iter().filter(|key| key.0 == *schedule).map(|key| key.1).collect();
        let before = step.before.schedules[schedule].version;
        prop_assert_eq!(row.version, before + i64::from(!seats.is_empty()));
        if let Some(changes) = step.after.journal.get(&(*schedule, before + 1)) {
            prop_assert_eq!(
                changes.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
                &seats[..]
            );
            let events = step.decision.events.get(schedule).into_iter().flatten();
            let named = events.flat_map(|event| event.taken.iter().chain(&event.freed));
            let named: BTreeSet<SeatNumber> = named.copied().collect();
            prop_assert!(seats.iter().all(|number| named.contains(number)), "no event: {seats:?}");
        }
        let journal = step.after.journal.iter().filter(|((of, _), _)| of == schedule);
        let versions: Vec<_> = journal.clone().map(|((_, version), _)| *version).collect();
        prop_assert_eq!(versions, (1..=row.version).collect::<Vec<_>>());
        let journalled: BTreeMap<_, _> = journal.flat_map(|(_, changes)| changes.clone()).collect();
        let seats = step.after.seats.iter().filter(|((of, _), _)| of == schedule);
        for ((_, number), seat) in seats {
            let state = journalled.get(number).copied().unwrap_or(SeatState::Available);
            prop_assert_eq!(state, seat.state, "{}", &seat.label);
        }
    }
    Ok(())
}

fn limits_hold(step: &ScriptStep<'_>) -> TestCaseResult {
    let holds = step.after.holds.values().map(|row| (row.id.schedule, &row.customer));
    let bookings = step.after.bookings.values().map(|row| (row.id.schedule, &row.customer));
    for (schedule, customer) in holds.chain(bookings) {
        let max = step.after.schedules[&schedule].rules.max_seats_per_customer;
        let owned = oracle::owned(step.after, step.now, schedule, customer);
        prop_assert!(max.is_none_or(|max| owned <= max), "{customer:?} owns {owned}");
    }
    Ok(())
}

fn same_one_by_one(step: &ScriptStep<'_>) -> TestCaseResult {
    let alone = step.one_by_one()?;
    let in_batch: Vec<_> = step.decision.outcomes.iter().map(as_sent).collect();
    prop_assert_eq!(in_batch, alone.outcomes);
    let mut last = alone.databases.into_iter().next_back().unwrap();
    // A batch adds one version to its schedule, whatever its number of commands.
    last.schedules.clone_from(&step.after.schedules);
    last.journal.clone_from(&step.after.journal);
    prop_assert_eq!(&last, step.after);
    Ok(())
}

fn same_without_the_refused(step: &ScriptStep<'_>) -> TestCaseResult {
    let all = step.commands.iter().zip(&step.decision.outcomes);
    let kept = all.filter(|(_, outcome)| !matches!(outcome, Outcome::Refused(_)));
    let (commands, outcomes): (Vec<_>, Vec<_>) =
        kept.map(|(command, outcome)| (command.clone(), outcome.clone())).unzip();
    let before = step.before;
    let rows = before.rows(step.now, &commands);
    let decision = decide(step.now, &before.policy, rows, &commands);
    prop_assert_eq!(&decision.outcomes, &outcomes);
    prop_assert_eq!(&decision.changes, &step.decision.changes);
    prop_assert_eq!(&decision.journal, &step.decision.journal);
    Ok(())
}

fn same_schedule_by_schedule(step: &ScriptStep<'_>) -> TestCaseResult {
    let mut database: ModelDatabase = step.before.clone();
    let schedules: BTreeSet<ScheduleId> =
        step.commands.iter().map(|command| command.schedule).collect();
    for schedule in schedules {
        let all = step.commands.iter().zip(&step.decision.outcomes);
        let own = all.filter(|(command, _)| command.schedule == schedule);
        let (commands, outcomes): (Vec<_>, Vec<_>) =
            own.map(|(command, outcome)| (command.clone(), outcome.clone())).unzip();
        let decision = database.run(step.now, &commands)?;
        prop_assert_eq!(decision.outcomes, outcomes);
    }
    prop_assert_eq!(&database, step.after);
    Ok(())
}
