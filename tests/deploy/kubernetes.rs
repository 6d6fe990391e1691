//! The manifests: the configuration that they give to the program, and the facts about it that they repeat.

use serde_json::{Value, json};

use crate::files::{Variables, all, manifest, manifests, read, text, variables, yaml};
use crate::program::{assert_command, assert_known, configuration, paths};

const WEB: &str = "k8s/base/deployment.yaml";
const WORKER: &str = "k8s/components/queue-workers/deployment.yaml";
const OVERLAYS: [&str; 3] = ["dev", "staging", "production"];

/// The variables of the base, overridden by those of other files.
fn base_with(files: &[&str]) -> Variables {
    let mut together = variables(&read("k8s/base/config.env"));
    for file in files {
        together.extend(variables(&read(file)));
    }
    together
}

/// The variables of an overlay.
fn overlay(name: &str) -> Variables {
    base_with(&[&format!("k8s/overlays/{name}/config.env")])
}

/// The only container of a Deployment that serves.
fn container(deployment: &Value) -> &Value {
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// The port of this name, of a container or a Service.
fn port<'a>(ports: &'a Value, name: &str) -> &'a Value {
    let found = ports.as_array().unwrap().iter().find(|port| port["name"] == name);
    found.unwrap_or_else(|| panic!("no port {name} in {ports}"))
}

/// Whether the program answers a path of an Ingress.
fn is_served(path: &str) -> bool {
    let below = format!("{path}/");
    paths().iter().any(|served| served == path || served.starts_with(&below))
}

#[test]
fn every_variable_is_one_that_the_program_reads() {
    let mut places = 0;
    for path in crate::files::below("k8s", ".env") {
        assert_known(variables(&read(&path)).keys(), &path);
        places += 1;
    }
    for (path, manifest) in manifests() {
        let names = all(&manifest, "env").into_iter().map(|entry| text(&entry["name"]).to_owned());
        let names: Vec<String> = names.collect();
        places += names.len();
        assert_known(&names, &path);
    }
    assert!(places > 4, "{places} places");
}

#[test]
fn the_program_accepts_the_configuration_of_every_overlay_and_of_the_workers() {
    for name in OVERLAYS {
        configuration(&overlay(name), name);
    }
    configuration(&base_with(&[]), "the base");
    let workers = base_with(&["k8s/components/queue-workers/config.env"]);
    configuration(&workers, "the workers");
}

#[test]
fn every_container_runs_a_command_of_the_program() {
    let mut seen = 0;
    for (path, manifest) in manifests() {
        for list in ["containers", "initContainers"] {
            for container in all(&manifest, list) {
                let Some(arguments) = container["args"].as_array() else { continue };
                assert!(container["command"].is_null(), "{path}: the image has the command");
                assert_command(text(&arguments[0]), &path);
                seen += 1;
            }
        }
    }
    assert!(seen >= 4, "{seen} containers");
}

#[test]
fn the_ports_are_those_that_the_program_is_configured_to_listen_on() {
    let http = configuration(&base_with(&[]), "the base").http;
    let metrics = http.metrics_bind.unwrap();
    for path in [WEB, WORKER] {
        let deployment = manifest(path, "Deployment");
        let ports = &container(&deployment)["ports"];
        assert_eq!(port(ports, "http")["containerPort"], http.bind.port, "{path}");
        assert_eq!(port(ports, "http-metrics")["containerPort"], metrics.port, "{path}");
    }
    for bind in [&http.bind, &metrics] {
        assert_eq!(bind.host, "0.0.0.0", "a pod is reached by its own address");
    }
    for name in OVERLAYS {
        let http = configuration(&overlay(name), name).http;
        assert_eq!(http.metrics_bind.as_ref(), Some(&metrics), "{name}");
    }
}

#[test]
fn services_and_policies_name_ports_that_the_pods_have() {
    let deployment = manifest(WEB, "Deployment");
    let ports = &container(&deployment)["ports"];
    for path in ["k8s/base/service.yaml", "k8s/components/queue-workers/service.yaml"] {
        for service in manifest(path, "Service")["spec"]["ports"].as_array().unwrap() {
            port(ports, text(&service["targetPort"]));
        }
    }
    let policy = manifest("k8s/components/network-policy/network-policy.yaml", "NetworkPolicy");
    let allowed = all(&policy["spec"]["ingress"], "ports");
    assert_eq!(allowed.len(), 2);
    for allowed in allowed {
        port(ports, text(&allowed["port"]));
    }
    let service = manifest("k8s/base/service.yaml", "Service");
    let monitor = manifest("k8s/components/service-monitor/service-monitor.yaml", "ServiceMonitor");
    for endpoint in all(&monitor, "endpoints") {
        port(&service["spec"]["ports"], text(&endpoint["port"]));
        assert_eq!(endpoint["path"], "/metrics");
    }
    // The rules ask for this job, and without a `jobLabel` a job has its Service's name.
    assert_eq!(
        (&service["metadata"]["name"], &monitor["spec"]["jobLabel"]),
        (&json!("seatlock"), &Value::Null)
    );
}

#[test]
fn probes_ask_paths_that_the_program_answers() {
    for path in [WEB, WORKER] {
        let deployment = manifest(path, "Deployment");
        let container = container(&deployment);
        for (probe, asked) in
            [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
        {
            let asks = &container[probe]["httpGet"];
            assert_eq!((&asks["path"], &asks["port"]), (&json!(asked), &json!("http")), "{probe}");
            assert!(paths().contains(asked));
        }
    }
}

#[test]
fn pods_are_given_the_time_that_the_program_needs_to_stop() {
    let base = configuration(&base_with(&[]), "the base").http;
    let dev = configuration(&overlay("dev"), "dev").http;
    let dev_deployment = "k8s/overlays/dev/deployment.yaml";
    for (path, http) in [(WEB, &base), (WORKER, &base), (dev_deployment, &dev)] {
        let pod = &manifest(path, "Deployment")["spec"]["template"]["spec"];
        let grace = http.termination_grace.as_secs();
        assert_eq!(pod["terminationGracePeriodSeconds"], grace, "{path}: TERMINATION_GRACE");
        // With a hook, the grace period would have to include its time.
        assert!(all(pod, "containers").iter().all(|container| container["lifecycle"].is_null()));
    }
    for name in ["staging", "production"] {
        let http = configuration(&overlay(name), name).http;
        assert_eq!(http.termination_grace, base.termination_grace, "{name}");
    }
}

/// Bytes of a quantity in mebibytes or gibibytes.
fn bytes(quantity: &str) -> u64 {
    let units = [("Mi", 20), ("Gi", 30)];
    let found = units.iter().find_map(|(unit, bits)| Some((quantity.strip_suffix(unit)?, bits)));
    let (number, bits) = found.unwrap_or_else(|| panic!("{quantity}"));
    number.parse::<u64>().unwrap() << bits
}

#[test]
fn half_of_the_memory_of_a_pod_is_left_for_other_things_than_seat_maps() {
    let dev_deployment = "k8s/overlays/dev/deployment.yaml";
    for (path, variables) in
        [(WEB, base_with(&[])), (WORKER, base_with(&[])), (dev_deployment, overlay("dev"))]
    {
        let maps = configuration(&variables, path).seat_map.memory;
        let deployment = manifest(path, "Deployment");
        let limit = text(&container(&deployment)["resources"]["limits"]["memory"]);
        assert!(maps * 2 <= bytes(limit), "{path}: {maps} bytes of maps, a limit of {limit}");
    }
}

#[test]
fn the_number_of_pods_is_the_configured_number_of_replicas() {
    let replicas = |name| configuration(&overlay(name), name).replicas;
    let scaled = |path| manifest(path, "HorizontalPodAutoscaler")["spec"]["minReplicas"].clone();
    assert_eq!(scaled("k8s/base/autoscaler.yaml"), replicas("staging"));
    assert_eq!(scaled("k8s/overlays/production/autoscaler.yaml"), replicas("production"));
    let dev = manifest("k8s/overlays/dev/deployment.yaml", "Deployment");
    assert_eq!((&dev["spec"]["replicas"], replicas("dev")), (&json!(1), 1));
    assert_eq!(dev["spec"]["strategy"]["type"], "Recreate", "an SQLite file has one writer");
    assert!(manifest(WEB, "Deployment")["spec"]["replicas"].is_null(), "the autoscaler owns it");
}

#[test]
fn the_ingress_leads_to_the_api_and_not_to_health_metrics_or_documents() {
    let ingress = manifest("k8s/components/ingress/ingress.yaml", "Ingress");
    let led: Vec<&str> = all(&ingress, "paths").iter().map(|path| text(&path["path"])).collect();
    for path in &led {
        assert!(is_served(path), "the program does not answer {path}");
    }
    for hidden in ["/metrics", "/livez", "/readyz", "/docs/", "/openapi.json"] {
        assert!(!led.iter().any(|path| hidden.starts_with(path)), "{hidden} by {led:?}");
    }
    for api in paths().iter().filter(|path| path.starts_with("/api/")) {
        assert!(led.iter().any(|path| api.starts_with(path)), "{api} by {led:?}");
    }
}

#[test]
fn every_manifest_names_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    let base = yaml("k8s/base/kustomization.yaml");
    let label = &base["labels"][0]["pairs"]["app.kubernetes.io/version"];
    assert_eq!(label, version);
    for name in OVERLAYS {
        let overlay = yaml(&format!("k8s/overlays/{name}/kustomization.yaml"));
        assert_eq!(overlay["images"][0]["newTag"], version, "{name}");
    }
    for (path, manifest) in manifests() {
        for list in ["containers", "initContainers"] {
            let images = all(&manifest, list).into_iter().map(|container| &container["image"]);
            for image in images.filter(|image| image.is_string()) {
                assert_eq!(*image, format!("seatlock:{version}"), "{path}");
            }
        }
    }
}
