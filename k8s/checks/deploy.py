#!/usr/bin/env python3
"""`make test-deploy`: every check of what is deployed, each named, all of them run, and a self-test that each of
them refuses what it should."""

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

import yaml

import rules
from cluster import (ROOT, VERSIONS, agreement_problems, build, combinations, containers, copy_to, kubectl_problems,
                     pods, schema_problems)
from machine import (checkov_problems, compose_problems, dockerfile_problems, prometheus_problems, shell_problems,
                     unit_problems, verdict_problems)
from mutants import survivors

# The combination with every component.
EVERYTHING = "production with all components"


class Report:
    """Runs checks and counts them."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def check(self, name: str, find: Callable[[], list[str]]) -> None:
        began = time.monotonic()
        problems = list(dict.fromkeys(find()))
        print(f"{'FAIL' if problems else 'ok  '} {name} ({time.monotonic() - began:.1f} s)", flush=True)
        for problem in problems:
            print(f"     {problem}", flush=True)
        if problems:
            self.failed.append(name)


def restricted_problems(resources: list[dict]) -> list[str]:
    """What a namespace of the restricted standard would refuse, and what we ask for beyond it."""
    problems = []
    for workload, pod in pods(resources):
        spec, me = pod["spec"], f"{workload['kind']} {workload['metadata']['name']}"
        context = spec.get("securityContext", {})
        asked = {
            "runAsNonRoot": context.get("runAsNonRoot") is True,
            "seccompProfile": context.get("seccompProfile") == {"type": "RuntimeDefault"},
            "automountServiceAccountToken: false": spec.get("automountServiceAccountToken") is False,
            "enableServiceLinks: false": spec.get("enableServiceLinks") is False,
        }
        for container in containers(pod):
            own, resource = container.get("securityContext", {}), container.get("resources", {})
            asked |= {
                f"{container['name']}: allowPrivilegeEscalation: false": own.get("allowPrivilegeEscalation") is False,
                f"{container['name']}: drop ALL": own.get("capabilities") == {"drop": ["ALL"]},
                f"{container['name']}: readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
                f"{container['name']}: requests": {"cpu", "memory"} <= resource.get("requests", {}).keys(),
                f"{container['name']}: a limit of memory and none of CPU": resource.get("limits", {}).keys() == {"memory"},
            }
        problems += [f"{me}: {what}" for what, is_so in asked.items() if not is_so]
    return problems


def drift_problems() -> list[str]:
    """Problems if the PrometheusRule is not what rules.py makes, or differs from the rule files."""
    made = rules.TARGET.read_text()
    groups = [group for path in sorted(rules.RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]]
    same = made == rules.prometheus_rule() and yaml.safe_load(made)["spec"]["groups"] == groups
    return [] if same else ["monitoring/rules have changed: run k8s/checks/rules.py"]


def main() -> int:
    report = Report()
    report.check("kubectl", kubectl_problems)
    if report.failed:
        return 1
    with tempfile.TemporaryDirectory(prefix="seatlock-deploy-") as name:
        folder = Path(name)
        copy_to(folder)
        built: dict[str, tuple[list[dict], list[str]]] = {}

        def build_all() -> list[str]:
            with ThreadPoolExecutor(4) as pool:
                built.update(zip(combinations(), pool.map(lambda name: build(folder, name), combinations())))
            return [problem for _, problems in built.values() for problem in problems]

        report.check(f"kustomize builds {len(combinations())} combinations", build_all)
        if report.failed:
            return 1
        manifests = {name: resources for name, (resources, _) in built.items()}
        # Most resources are the same in many combinations.
        distinct = list({yaml.safe_dump(r): r for resources in manifests.values() for r in resources}.values())
        for version in VERSIONS:
            report.check(f"{len(distinct)} resources are valid for Kubernetes {version}",
                         lambda: schema_problems(distinct, version))

        def each(find: Callable[[list[dict]], list[str]]) -> list[str]:
            return [f"{name}: {p}" for name, resources in manifests.items() for p in find(resources)]

        report.check("what the resources refer to is there", lambda: each(agreement_problems))
        report.check("pods are restricted", lambda: each(restricted_problems))
        report.check("the program accepts each container's environment", lambda: each(verdict_problems))
        whole = folder / "everything.yaml"
        # What is applied, and no others: the base has no namespace.
        applied = {yaml.safe_dump(r): r for name, resources in manifests.items() if not name.startswith("base")
                   for r in resources}
        whole.write_text(yaml.safe_dump_all(applied.values()))
        report.check("checkov accepts the manifests", lambda: checkov_problems("kubernetes", whole))
        report.check("the PrometheusRule is made of monitoring/rules", drift_problems)
        report.check("compose.yaml", lambda: compose_problems((ROOT / "compose.yaml").read_text()))
        report.check("Prometheus of compose.yaml", prometheus_problems)
        report.check("scripts of compose.yaml", shell_problems)
        dockerfile = ROOT / "Dockerfile"
        report.check("Dockerfile", lambda: dockerfile_problems(dockerfile, manifests[EVERYTHING]))
        if dockerfile.exists():
            report.check("checkov accepts the Dockerfile", lambda: checkov_problems("dockerfile", dockerfile))
        unit = (ROOT / "packaging/seatlock.service").read_text()
        report.check("systemd unit", lambda: unit_problems(unit))
        report.check("self-test: what is wrong is refused",
                     lambda: survivors(folder, manifests[EVERYTHING], restricted_problems))
    if report.failed:
        print(f"test-deploy: {len(report.failed)} checks failed: {'; '.join(report.failed)}", file=sys.stderr)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
