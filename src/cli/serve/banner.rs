//! The text that `seatlock serve` prints: its address, and three commands to try.

use std::net::SocketAddr;

use serde_json::json;

use super::examples::ExampleSchedule;
use crate::cli::reachable;

/// The whole banner. With `needs_key` the commands send `$ADMIN_API_KEY`, which must be set in the shell.
pub(super) fn text(
    (scheme, address): (&str, SocketAddr),
    example: Option<&ExampleSchedule>,
    needs_key: bool,
) -> String {
    let reachable = SocketAddr::new(reachable(address.ip()), address.port());
    let base = format!("{scheme}://{reachable}");
    let mut lines =
        vec![format!("Seatlock listens on {base}"), format!("Try the API: {base}/docs/")];
    if let Some(example) = example {
        lines.push(match &example.seats {
            Some(_) => "See free seats, hold one, buy another:".to_owned(),
            None => "See free seats:".to_owned(),
        });
        lines.extend(commands(&base, example, needs_key));
    }
    lines.join("\n") + "\n"
}

/// The commands for a POSIX shell, one per line.
fn commands(base: &str, example: &ExampleSchedule, needs_key: bool) -> Vec<String> {
    // In double quotes, so that the shell inserts the key.
    let key = if needs_key { " -H \"Authorization: Bearer $ADMIN_API_KEY\"" } else { "" };
    let id = example.id;
    let seats = format!("{base}/api/v1/schedules/{id}/seats?status=available&limit=5");
    let mut lines = vec![format!("curl -sS{key} {}", quoted(&seats))];
    if let Some([held, bought]) = &example.seats {
        let post = |resource: &str, label: &str| {
            // One customer for each seat, because a schedule may limit the seats of a customer.
            let body = json!({
                "schedule_id": id.to_string(),
                "seats": [label],
                "customer_id": format!("guest-{label}"),
            });
            format!(
                "curl -sS{key} -H 'Content-Type: application/json' -d {} {}",
                quoted(&body.to_string()),
                quoted(&format!("{base}/api/v1/{resource}"))
            )
        };
        lines.extend([post("holds", held), post("bookings", bought)]);
    }
    lines
}

/// The text as one word of a POSIX shell (XCU §2.2.2): in single quotes only a single quote is special.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use seatlock::domain::ids::ScheduleId;

    use super::*;

    fn banner(address: &str, seats: Option<[&str; 2]>, keyed: bool) -> Vec<String> {
        let seats = seats.map(|seats| seats.map(str::to_owned));
        let example = ExampleSchedule { id: ScheduleId(7), seats };
        let text = text(("http", address.parse().unwrap()), Some(&example), keyed);
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn three_commands_follow_the_address() {
        let post = "curl -sS -H 'Content-Type: application/json' -d";
        assert_eq!(
            banner("127.0.0.1:8080", Some(["A-1-1", "A-1-2"]), false),
            [
                "Seatlock listens on http://127.0.0.1:8080".to_owned(),
                "Try the API: http://127.0.0.1:8080/docs/".to_owned(),
                "See free seats, hold one, buy another:".to_owned(),
                "curl -sS 'http://127.0.0.1:8080/api/v1/schedules/7/seats?status=available&limit=5'"
                    .to_owned(),
                format!(
                    "{post} '{{\"customer_id\":\"guest-A-1-1\",\"schedule_id\":\"7\",\
                     \"seats\":[\"A-1-1\"]}}' 'http://127.0.0.1:8080/api/v1/holds'"
                ),
                format!(
                    "{post} '{{\"customer_id\":\"guest-A-1-2\",\"schedule_id\":\"7\",\
                     \"seats\":[\"A-1-2\"]}}' 'http://127.0.0.1:8080/api/v1/bookings'"
                ),
            ]
        );
    }

    #[test]
    fn each_command_carries_the_key_variable_of_the_shell() {
        let lines = banner("127.0.0.1:8080", Some(["A", "B"]), true);
        let has_key = |line: &&String| {
            line.starts_with("curl -sS -H \"Authorization: Bearer $ADMIN_API_KEY\" ")
        };
        assert_eq!(lines.iter().filter(has_key).count(), 3, "{lines:?}");
    }

    #[test]
    fn a_schedule_that_is_sold_out_is_only_shown() {
        let commands = banner("127.0.0.1:8080", None, false);
        assert_eq!(commands.iter().filter(|line| line.starts_with("curl ")).count(), 1);
    }

    #[test]
    fn without_a_schedule_there_is_the_address_alone() {
        assert_eq!(text(("https", "127.0.0.1:1".parse().unwrap()), None, false).lines().count(), 2);
    }

    #[test]
    fn no_label_breaks_out_of_its_quotes() {
        let lines = banner("127.0.0.1:1", Some(["a'b\"c$d", "e"]), false);
        assert!(lines[4].contains(r#"["a'\''b\"c$d"]"#), "{}", lines[4]);
    }

    #[test]
    fn the_address_shown_is_one_that_can_be_reached() {
        for (bound, shown) in
            [("0.0.0.0:80", "http://127.0.0.1:80"), ("[::]:80", "http://[::1]:80")]
        {
            assert!(banner(bound, None, false)[0].ends_with(shown));
        }
    }
}
