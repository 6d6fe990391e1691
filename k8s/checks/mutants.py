"""The self-test: each possible fault is made, and a check must refuse it."""

import copy
from pathlib import Path
from typing import Callable

from cluster import ROOT, VERSIONS, agreement_problems, build, kubectl_problems, schema_problems
from machine import checkov_problems, compose_problems, dockerfile_problems, unit_problems, verdict_problems

Resources = list[dict]
Find = Callable[[Resources], list[str]]


def of(resources: Resources, kind: str, name: str = "seatlock") -> dict:
    """The resource of this kind and name."""
    return next(r for r in resources if r["kind"] == kind and r["metadata"]["name"] == name)


def container(resources: Resources) -> dict:
    return of(resources, "Deployment")["spec"]["template"]["spec"]["containers"][0]


def config(resources: Resources) -> dict:
    return next(r for r in resources if r["kind"] == "ConfigMap" and r["metadata"]["name"].startswith("seatlock-config"))


def valid_in_all(resources: Resources) -> list[str]:
    """Problems only if every version has some: a mutant has to be refused by each."""
    found = [schema_problems(resources, version) for version in VERSIONS]
    return found[0] if all(found) else []


def valid_in_the_first(resources: Resources) -> list[str]:
    """Problems only if the last version has none: it is the version that is judged by."""
    return [] if schema_problems(resources, VERSIONS[-1]) else schema_problems(resources, VERSIONS[0])


def manifest_mutants(restricted: Find) -> list[tuple[str, Find, Callable[[Resources], object]]]:
    """The faults of manifests, and the checks that must find them."""
    return [
        ("an unknown field", valid_in_all, lambda r: container(r).update(replicsa=1)),
        ("a wrong type", valid_in_all, lambda r: of(r, "Service")["spec"]["ports"][0].update(port="eighty")),
        ("no kind", valid_in_all, lambda r: of(r, "Deployment").pop("kind")),
        ("an unknown kind", valid_in_all, lambda r: of(r, "Deployment").update(kind="Deploiment")),
        ("an unknown group", valid_in_all, lambda r: of(r, "ServiceMonitor").update(apiVersion="monitoring.coreos.com/v9")),
        ("an unknown field of a monitor", valid_in_all,
         lambda r: of(r, "ServiceMonitor")["spec"]["endpoints"][0].update(intervall="15s")),
        ("a wrong type in a monitor", valid_in_all,
         lambda r: of(r, "ServiceMonitor")["spec"]["endpoints"][0].update(port=9090)),
        ("an unknown field of a rule", valid_in_all,
         lambda r: of(r, "PrometheusRule")["spec"]["groups"][0]["rules"][0].update(four="5m")),
        ("a label that is a number", valid_in_all,
         lambda r: of(r, "PrometheusRule")["spec"]["groups"][0]["rules"][0]["labels"].update(severity=1)),
        ("a field that only a later Kubernetes has", valid_in_the_first,
         lambda r: of(r, "Deployment")["spec"]["template"]["spec"].update(hostnameOverride="web")),
        ("a port that no pod has", agreement_problems,
         lambda r: of(r, "Service")["spec"]["ports"][0].update(targetPort="htpt")),
        ("an ingress to nowhere", agreement_problems, lambda r: of(r, "Service")["metadata"].update(name="seatlocks")),
        ("a budget that selects no pod", agreement_problems,
         lambda r: of(r, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].update(a="b")),
        ("a ConfigMap that is not there", agreement_problems, lambda r: config(r)["metadata"].update(name="other")),
        ("a dashboard too large to apply", agreement_problems,
         lambda r: of(r, "ConfigMap", "seatlock-dashboard-on-sale")["data"].update(more="x" * 262_144)),
        ("a root file system that can be written", restricted,
         lambda r: container(r)["securityContext"].update(readOnlyRootFilesystem=False)),
        ("a limit of CPU", restricted, lambda r: container(r)["resources"]["limits"].update(cpu="1")),
        ("a variable that is wrong", verdict_problems, lambda r: config(r)["data"].update(HOLD_TTL="soon")),
        ("a variable that is misspelt", verdict_problems, lambda r: config(r)["data"].update(HOLD_TTTL="5m")),
        ("a drain longer than the grace", verdict_problems, lambda r: config(r)["data"].update(DRAIN_TIMEOUT="60s")),
        ("a key that the Secret does not have", verdict_problems,
         lambda r: config(r)["data"].update(REDIS_PASSWORD_FILE="/run/secrets/seatlock/redis-pasword")),
    ]


COMPOSE_MUTANTS = [
    ("an unknown field", "restart: unless-stopped", "restrat: unless-stopped"),
    ("a wrong type", 'cap_drop: ["ALL"]', "cap_drop: ALL"),
    ("a service that is not there", "      postgres:\n        condition", "      postgers:\n        condition"),
    ("a volume that is not declared", "volumes:\n  postgres:\n", "volumes:\n"),
    ("a port open to other machines", '"127.0.0.1:15672:15672"', '"15672:15672"'),
    ("a file that is not there", "./monitoring/rules", "./monitoring/ruels"),
]

UNIT_MUTANTS = [
    ("an unknown setting", "NoNewPrivileges=yes", "NoNewPriviliges=yes"),
    ("a service that runs as root", "DynamicUser=yes", "User=root"),
    ("every system call", "SystemCallFilter=", "#"),
]

BAD_DOCKERFILE = 'FROM debian\nRUN apt-get install curl\nUSER root\nENTRYPOINT ["/usr/local/bin/seatlock"]\n'


def mutated(text: str, what: str, old: str, new: str) -> str:
    """The text with `old` replaced, which must exist."""
    if old not in text:
        raise SystemExit(f"test-deploy: the mutant '{what}' finds nothing to change: correct it in k8s/checks/mutants.py")
    return text.replace(old, new)


def survivors(folder: Path, resources: Resources, restricted: Find) -> list[str]:
    """The faults that no check has found. `folder` is a copy to build in, `resources` are the correct ones."""
    alive = []
    for what, find, change in manifest_mutants(restricted):
        wrong = copy.deepcopy(resources)
        change(wrong)
        if not find(wrong):
            alive.append(f"manifests with {what}")
    compose = (ROOT / "compose.yaml").read_text()
    alive += [f"compose.yaml with {what}" for what, old, new in COMPOSE_MUTANTS
              if not compose_problems(mutated(compose, what, old, new))]
    unit = (ROOT / "packaging/seatlock.service").read_text()
    alive += [f"a unit with {what}" for what, old, new in UNIT_MUTANTS
              if not unit_problems(mutated(unit, what, old, new))]
    alive += [f"a Dockerfile {what}" for what, path in bad_dockerfiles(folder) if not dockerfile_problems(path, resources)]
    if not checkov_problems("dockerfile", folder / "Dockerfile"):
        alive.append("checkov with a bad Dockerfile")
    alive += [f"kubectl {version}" for version in ("v1.26.15", "v0.9.0", "unknown") if not kubectl_problems(version)]
    patch = folder / "k8s/overlays/staging/kustomization.yaml"
    patch.write_text(mutated(patch.read_text(), "a patch of nothing", "config.env", "config.evn"))
    if not build(folder, "overlay staging")[1]:
        alive.append("an overlay with a file that is not there")
    return alive


def bad_dockerfiles(folder: Path) -> list[tuple[str, Path]]:
    (folder / "Dockerfile").write_text(BAD_DOCKERFILE)
    return [("that hadolint dislikes", folder / "Dockerfile"), ("that is not there", folder / "no/Dockerfile")]
