"""The manifests: built by kustomize, valid for each version of Kubernetes, and in agreement with each other."""

import json
import re
import shutil
import subprocess
from functools import cache
from importlib.resources import files
from pathlib import Path

import jsonschema
import yaml
from referencing import Registry, Resource

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = Path(__file__).resolve().parent / "schemas"

# The supported versions; the package must have the schemas of each.
VERSIONS = [f"1.{minor}" for minor in range(30, 38)]

# The first kubectl whose kustomize (5.0) builds this.
KUBECTL = (1, 27)

# `kubectl apply` keeps what it applied in an annotation, and annotations end there.
APPLIED_MAX = 262_144

# Where the Secret is mounted, and what the program may be given for each key.
SECRETS = "/run/secrets/seatlock"
STAND_INS = {
    "admin-api-key": "0123456789abcdef",
    "write-db-url": "postgres://seatlock@primary/seatlock",
    "read-db-url": "postgres://seatlock@replica/seatlock",
    "redis-password": "hunter2",
    "queue-url": "amqp://seatlock:hunter2@rabbitmq:5672/seatlock",
}


def kubectl_problems(found: str | None = None) -> list[str]:
    """Problems with kubectl: missing or too old. `found` replaces its version in a test."""
    remedy = "install kubectl 1.27 or later (https://kubernetes.io/docs/tasks/tools/) and put it on the PATH"
    if found is None:
        if shutil.which("kubectl") is None:
            return [f"there is no kubectl: {remedy}"]
        answer = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, text=True)
        if answer.returncode != 0:
            return [f"kubectl does not print its version ({answer.stderr.strip()}): {remedy}"]
        found = json.loads(answer.stdout)["clientVersion"]["gitVersion"]
    version = re.match(r"v(\d+)\.(\d+)", found)
    if version is None or tuple(map(int, version.groups())) < KUBECTL:
        return [f"kubectl is {found}: {remedy}"]
    return []


def combinations() -> dict[str, tuple[str, list[str]]]:
    """What is built: by its name, an overlay or the base, and the components that are added to its own."""
    overlays = sorted(path.name for path in (ROOT / "k8s/overlays").iterdir())
    components = sorted(path.name for path in (ROOT / "k8s/components").iterdir())
    built = {f"overlay {name}": (f"overlays/{name}", []) for name in overlays}
    built |= {f"base with {name}": ("base", [name]) for name in components}
    built["base with all components"] = ("base", components)
    built["staging with all components"] = ("overlays/staging", components)
    built["production with all components"] = ("overlays/production", components)
    return built


def copy_to(folder: Path) -> None:
    """Copies what kustomize reads to `folder`: combinations are written there, and mutants are made there."""
    shutil.copytree(ROOT / "k8s", folder / "k8s", ignore=shutil.ignore_patterns("checks"))
    shutil.copytree(ROOT / "monitoring/dashboards", folder / "monitoring/dashboards")


def build(folder: Path, name: str) -> tuple[list[dict], list[str]]:
    """Builds a combination in a copy: its resources, and what kustomize did not like."""
    target, components = combinations()[name]
    path = folder / "k8s" / target
    if components:
        # As an operator does it: into the kustomization itself, which has the namespace.
        path = path.with_name(name.replace(" ", "-"))
        shutil.copytree(folder / "k8s" / target, path)
        kustomization = yaml.safe_load((path / "kustomization.yaml").read_text())
        up = "/".join([".."] * (len(path.relative_to(folder / "k8s").parts)))
        own = kustomization.get("components", [])
        added = [f"{up}/components/{component}" for component in components]
        kustomization["components"] = own + [component for component in added if component not in own]
        (path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    made = subprocess.run(["kubectl", "kustomize", str(path)], capture_output=True, text=True)
    # Warnings are of things that will stop working.
    problems = [f"{name}: {line}" for line in made.stderr.splitlines() if line.strip()]
    if made.returncode != 0:
        return [], problems or [f"{name}: kubectl kustomize ended with {made.returncode}"]
    return [resource for resource in yaml.safe_load_all(made.stdout) if resource], problems


@cache
def kubernetes_schemas(version: str) -> tuple[Path, Registry]:
    """The strict schemas of a version, and what they refer to."""
    folder = Path(str(files("kubernetes_validate") / f"kubernetes-json-schema/v{version}.0-local-strict"))
    definitions = json.loads((folder / "_definitions.json").read_text())
    return folder, Registry().with_resource(definitions["$id"], Resource.from_contents(definitions))


@cache
def validator(kind: str, api: str, version: str) -> jsonschema.Draft202012Validator | None:
    """The validator for resources of this kind in this version; None for an unknown kind."""
    group, _, revision = api.rpartition("/")
    name = "-".join(filter(None, [kind.lower(), group.split(".")[0], revision])) + ".json"
    own = SCHEMAS / name
    if own.exists():
        return jsonschema.Draft202012Validator(json.loads(own.read_text()))
    folder, registry = kubernetes_schemas(version)
    if not (folder / name).exists():
        return None
    return jsonschema.Draft202012Validator(json.loads((folder / name).read_text()), registry=registry)


def named(resource: dict) -> str:
    return f"{resource.get('kind')} {resource.get('metadata', {}).get('name')}"


def schema_problems(resources: list[dict], version: str) -> list[str]:
    """What Kubernetes of this version would refuse or silently ignore."""
    problems = []
    for resource in resources:
        kind, api = resource.get("kind"), resource.get("apiVersion")
        if not kind or not api:
            problems.append(f"{named(resource)}: neither `kind` nor `apiVersion` may be missing")
            continue
        judge = validator(kind, api, version)
        if judge is None:
            problems.append(f"{named(resource)}: no schema for {api} {kind} in {version}; write one in {SCHEMAS}")
            continue
        for error in judge.iter_errors(resource):
            at = ".".join(map(str, error.absolute_path))
            problems.append(f"{named(resource)}: Kubernetes {version}: {at}: {error.message[:300]}")
    return problems


def pods(resources: list[dict]) -> list[tuple[dict, dict]]:
    """Each workload with its pod's template."""
    return [(r, r["spec"]["template"]) for r in resources if r["kind"] in ("Deployment", "Job")]


def selected(resources: list[dict], selector: dict) -> list[dict]:
    """The pods' templates that carry all these labels."""
    return [pod for _, pod in pods(resources) if selector.items() <= pod["metadata"]["labels"].items()]


def agreement_problems(resources: list[dict]) -> list[str]:
    """References to names that do not exist, in resources that are valid by themselves."""
    problems = []
    there = {(resource["kind"], resource["metadata"]["name"]) for resource in resources}
    for resource in resources:
        spec, me = resource.get("spec", {}), named(resource)
        if len(json.dumps(resource)) > APPLIED_MAX:
            problems.append(f"{me}: too large for `kubectl apply`")
        if resource["kind"] == "Service":
            ports = {port["name"] for pod in selected(resources, spec["selector"])
                     for container in pod["spec"]["containers"] for port in container["ports"]}
            problems += [f"{me}: no pod has the port {port['targetPort']}"
                         for port in spec["ports"] if port["targetPort"] not in ports]
        if resource["kind"] == "PodDisruptionBudget" and not selected(resources, spec["selector"]["matchLabels"]):
            problems.append(f"{me}: selects no pod")
        if resource["kind"] == "NetworkPolicy" and not selected(resources, spec["podSelector"]["matchLabels"]):
            problems.append(f"{me}: selects no pod")
        if resource["kind"] == "HorizontalPodAutoscaler":
            target = spec["scaleTargetRef"]
            if (target["kind"], target["name"]) not in there:
                problems.append(f"{me}: nothing to scale")
        if resource["kind"] == "Ingress":
            for path in spec["rules"][0]["http"]["paths"]:
                service = path["backend"]["service"]
                ports = [port["name"] for r in resources if r["kind"] == "Service"
                         and r["metadata"]["name"] == service["name"] for port in r["spec"]["ports"]]
                if service["port"]["name"] not in ports:
                    problems.append(f"{me}: {path['path']} leads nowhere")
        if resource["kind"] == "ServiceMonitor":
            labels = spec["selector"]["matchLabels"].items()
            services = [r for r in resources if r["kind"] == "Service" and labels <= r["metadata"]["labels"].items()]
            for endpoint in spec["endpoints"]:
                if not any(port["name"] == endpoint["port"] for r in services for port in r["spec"]["ports"]):
                    problems.append(f"{me}: no Service has the port {endpoint['port']}")
    for workload, pod in pods(resources):
        me = named(workload)
        if ("ServiceAccount", pod["spec"]["serviceAccountName"]) not in there:
            problems.append(f"{me}: no such ServiceAccount")
        if not workload["spec"].get("selector", {}).get("matchLabels", {}).items() <= pod["metadata"]["labels"].items():
            problems.append(f"{me}: does not select its own pods")
        for container in containers(pod):
            problems += [f"{me}: no ConfigMap {name}" for name in config_maps(container) if ("ConfigMap", name) not in there]
    return problems


def containers(pod: dict) -> list[dict]:
    return [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]


def config_maps(container: dict) -> list[str]:
    """The ConfigMaps that a container's variables come from."""
    return [source["configMapRef"]["name"] for source in container.get("envFrom", [])]


def environment(resources: list[dict], container: dict, secrets: Path) -> dict[str, str]:
    """A container's variables, with the files of secrets where stand-ins are."""
    maps = {r["metadata"]["name"]: r["data"] for r in resources if r["kind"] == "ConfigMap"}
    together: dict[str, str] = {}
    for name in config_maps(container):
        together |= maps.get(name, {})
    together |= {entry["name"]: entry["value"] for entry in container.get("env", [])}
    return {name: value.replace(SECRETS, str(secrets)) for name, value in together.items()}
