//! Variables that Kubernetes adds to the environment of every pod.

/// Whether Kubernetes has set this variable. If there is a service called `redis`, every pod gets
/// `REDIS_PORT=tcp://10.0.0.1:6379`, `REDIS_SERVICE_HOST`, `REDIS_PORT_6379_TCP_ADDR` and more
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>).
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let port = name.split_once("_PORT_").is_some_and(|(_, rest)| {
        rest.starts_with(|first: char| first.is_ascii_digit())
            && ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| rest.contains(protocol))
    });
    (name.ends_with("_PORT") && address)
        || port
        || name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_a_kubernetes_service_are_recognised() {
        for (name, value) in [
            ("REDIS_PORT", "tcp://10.0.0.1:6379"),
            ("REDIS_SERVICE_HOST", "10.0.0.1"),
            ("REDIS_SERVICE_PORT", "6379"),
            ("REDIS_SERVICE_PORT_TCP_REDIS", "6379"),
            ("REDIS_PORT_6379_TCP", "tcp://10.0.0.1:6379"),
            ("REDIS_PORT_6379_TCP_ADDR", "10.0.0.1"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
    }

    #[test]
    fn variables_that_people_set_are_not() {
        for (name, value) in
            [("REDIS_PORT", "6379"), ("REDIS_HOST", "tcp://x"), ("DB_PORT_MAX", "1")]
        {
            assert!(!is_service_link(name, value), "{name}");
        }
    }
}
