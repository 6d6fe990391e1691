//! The monitoring files with shorter durations, for a test that cannot wait for hours.
//!
//! Every duration is divided by [`FASTER`], and nothing else is changed: in rule files those in `for:`, in
//! `interval:` and in range selectors (`[5m]`), in the servers' configuration every setting that is only a duration.
//! Thresholds stay, since they are shares, rates per second, times of the service itself, or conditions on whether
//! something has happened. So five minutes of the rules are five seconds of the test.

/// The divisor of all durations.
pub(crate) const FASTER: u64 = 60;

/// A rule file with shorter durations.
pub(crate) fn rules(text: &str) -> String {
    let line = |line: &str| {
        let ranged = ranges(line);
        if is_setting(line, &["for", "interval"]) { setting(&ranged) } else { ranged }
    };
    text.lines().map(|found| line(found) + "\n").collect()
}

/// The configuration of Prometheus or Alertmanager with shorter durations.
pub(crate) fn configuration(text: &str) -> String {
    text.lines().map(|line| setting(line) + "\n").collect()
}

fn is_setting(line: &str, names: &[&str]) -> bool {
    let line = line.trim_start().trim_start_matches("- ");
    line.split_once(':').is_some_and(|(name, _)| names.contains(&name))
}

/// A line whose value is a duration, with that divided.
fn setting(line: &str) -> String {
    let Some((name, value)) = line.split_once(": ") else { return line.to_owned() };
    faster(value.trim()).map_or_else(|| line.to_owned(), |faster| format!("{name}: {faster}"))
}

/// A line with the durations in its range selectors divided.
fn ranges(line: &str) -> String {
    let mut parts = line.split('[');
    let mut done = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        done.push('[');
        let (range, rest) = part.split_once(']').unwrap_or((part, ""));
        match faster(range) {
            Some(faster) => done.push_str(&format!("{faster}]{rest}")),
            None => done.push_str(part),
        }
    }
    done
}

/// A duration of one unit, divided; `None` if the text is no duration.
fn faster(duration: &str) -> Option<String> {
    let digits = duration.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = duration.split_at(digits);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let whole: u64 = number.parse().ok()?;
    Some(format!("{}ms", (whole * milliseconds).div_ceil(FASTER)))
}

#[test]
fn durations_are_divided_and_nothing_else_is_changed() {
    let text = "  - name: a5m\n    interval: 30s\n      - alert: A\n        expr: |\n          \
                rate(a{b=~\"[0-9]5m\"}[5m]) > 0.5 and c:rate1h > 5\n        for: 2m\n        # in 5m\n";
    let expected = "  - name: a5m\n    interval: 500ms\n      - alert: A\n        expr: |\n          \
                rate(a{b=~\"[0-9]5m\"}[5000ms]) > 0.5 and c:rate1h > 5\n        for: 2000ms\n        # in 5m\n";
    assert_eq!(rules(text), expected);
    let text = "global:\n  scrape_interval: 15s\n  # wait: long\n  group_wait: 0s\n  job_name: x\n";
    let expected =
        "global:\n  scrape_interval: 250ms\n  # wait: long\n  group_wait: 0ms\n  job_name: x\n";
    assert_eq!(configuration(text), expected);
}

#[test]
fn every_duration_of_the_rules_is_found() {
    for (name, text) in crate::files::rule_files() {
        let faster = rules(&text);
        assert_eq!(faster.matches('[').count(), faster.matches("ms]").count(), "{name}");
        let waits = faster.lines().filter(|line| is_setting(line, &["for"]));
        for line in waits {
            assert!(line.ends_with("ms"), "{name}: {line}");
        }
        assert!(!faster.contains("offset"), "{name}: an offset would have to be divided, too");
    }
}
