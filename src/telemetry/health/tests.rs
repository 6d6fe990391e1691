//! Tests of the readiness that is computed from reports.

use super::*;

fn report(problem: Option<(HealthCheck, &str)>, at: Instant) -> Report {
    let check = |name| {
        let problem = problem.filter(|(bad, _)| *bad == name);
        Check { name, problem: problem.map(|(_, text)| text.to_owned()) }
    };
    let names = [HealthCheck::WriteDatabase, HealthCheck::SeatLocks, HealthCheck::Schema];
    Some((at, names.map(check).to_vec()))
}

#[test]
fn an_old_report_is_ignored() {
    let (now, fresh) = (Instant::now(), report(None, Instant::now()));
    assert!(matches!(readiness_of(&fresh, false, now + STALE_AFTER), Readiness::Ready(_)));
    let later = now + STALE_AFTER + Duration::from_secs(1);
    assert_eq!(readiness_of(&fresh, false, later), Readiness::NotReady("the health loop is stale"));
}

#[test]
fn the_loop_runs_before_its_first_report_and_while_reports_are_recent() {
    let (now, found) =
        (Instant::now(), report(Some((HealthCheck::WriteDatabase, "unavailable")), Instant::now()));
    assert!(is_monitored(&None, now) && is_monitored(&found, now + STALE_AFTER));
    assert!(!is_monitored(&found, now + STALE_AFTER + Duration::from_secs(1)));
}

#[test]
fn a_process_is_not_ready_before_the_first_report_nor_while_draining() {
    let now = Instant::now();
    assert_eq!(readiness_of(&None, false, now), Readiness::NotReady("starting"));
    assert_eq!(readiness_of(&report(None, now), true, now), Readiness::NotReady("draining"));
}

#[test]
fn an_unavailable_dependency_degrades_and_an_unsupported_schema_is_not_ready() {
    let now = Instant::now();
    let degraded = report(Some((HealthCheck::WriteDatabase, "unavailable")), now);
    let readiness = readiness_of(&degraded, false, now);
    assert!(matches!(readiness, Readiness::Ready(checks) if checks.len() == 3));
    let unsupported = report(Some((HealthCheck::Schema, "lacks 1 step")), now);
    let not_ready = Readiness::NotReady("the schema is not supported");
    assert_eq!(readiness_of(&unsupported, false, now), not_ready);
}

#[test]
fn a_dropped_request_degrades_for_a_while_with_its_reason() {
    let health = Health::default();
    let now = Instant::now();
    assert_eq!(health.problem_of_dead_letters(now), None);
    health.note_dropped_request("they are too many".to_owned());
    let problem = health.problem_of_dead_letters(now).unwrap();
    assert!(problem.ends_with("dropped: they are too many"), "{problem}");
    let later = Instant::now() + DROPPED_COUNTS;
    assert_eq!(health.problem_of_dead_letters(later), None);
}
