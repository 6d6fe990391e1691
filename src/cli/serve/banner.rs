//! What whoever starts the service for the first time reads: where it is, and three commands to try.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::json;

use super::offer::Offer;

/// The whole banner. `keyed`: the API wants the key, which the shell is expected to know.
pub(super) fn text(address: SocketAddr, offer: Option<&Offer>, keyed: bool) -> String {
    let base = format!("http://{}", reachable(address));
    let mut lines =
        vec![format!("Seatlock listens on {base}"), format!("The API, to try out: {base}/docs/")];
    if let Some(offer) = offer {
        lines.push(match &offer.seats {
            Some(_) => "See free seats, hold one, buy another:".to_owned(),
            None => "See free seats:".to_owned(),
        });
        lines.extend(commands(&base, offer, keyed));
    }
    lines.join("\n") + "\n"
}

/// Nobody can connect to the address that stands for all of a machine's.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The commands, a line each, fit for a POSIX shell.
fn commands(base: &str, offer: &Offer, keyed: bool) -> Vec<String> {
    // In double quotes, so that the shell puts the key in.
    let key = if keyed { " -H \"Authorization: Bearer $ADMIN_API_KEY\"" } else { "" };
    let schedule = offer.schedule;
    let seats = format!("{base}/api/v1/schedules/{schedule}/seats?status=available&limit=5");
    let mut lines = vec![format!("curl -sS{key} {}", quoted(&seats))];
    if let Some([held, bought]) = &offer.seats {
        let post = |resource: &str, label: &str| {
            // A customer for each seat, so that no schedule's limit on a customer's seats is met.
            let body = json!({
                "schedule_id": schedule.to_string(),
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

/// The text as one word of a POSIX shell (XCU §2.2.2): nothing is special in single quotes but a
/// single quote.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use seatlock::domain::ids::ScheduleId;

    use super::*;

    fn banner(address: &str, seats: Option<[&str; 2]>, keyed: bool) -> Vec<String> {
        let seats = seats.map(|seats| seats.map(str::to_owned));
        let offer = Offer { schedule: ScheduleId(7), seats };
        let text = text(address.parse().unwrap(), Some(&offer), keyed);
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn three_commands_follow_the_address() {
        let post = "curl -sS -H 'Content-Type: application/json' -d";
        assert_eq!(
            banner("127.0.0.1:8080", Some(["A-1-1", "A-1-2"]), false),
            [
                "Seatlock listens on http://127.0.0.1:8080".to_owned(),
                "The API, to try out: http://127.0.0.1:8080/docs/".to_owned(),
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
    fn each_command_carries_the_key_that_the_shell_knows() {
        let lines = banner("127.0.0.1:8080", Some(["A", "B"]), true);
        let carrying = |line: &&String| {
            line.starts_with("curl -sS -H \"Authorization: Bearer $ADMIN_API_KEY\" ")
        };
        assert_eq!(lines.iter().filter(carrying).count(), 3, "{lines:?}");
    }

    #[test]
    fn what_is_sold_out_can_only_be_looked_at() {
        let commands = banner("127.0.0.1:8080", None, false);
        assert_eq!(commands.iter().filter(|line| line.starts_with("curl ")).count(), 1);
    }

    #[test]
    fn without_a_schedule_there_is_the_address_alone() {
        assert_eq!(text("127.0.0.1:1".parse().unwrap(), None, false).lines().count(), 2);
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
