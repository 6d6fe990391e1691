"""Checks of compose.yaml, the Dockerfile and the systemd unit, and of each configuration by the program itself."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import jsonschema
import yaml

from cluster import ROOT, STAND_INS, containers, environment, named, pods

PROGRAM = ROOT / "target/debug/seatlock"

# The tools of the environment that this runs in.
TOOLS = Path(sys.executable).parent

# The highest allowed exposure by `systemd-analyze security`, in tenths (0 is closed, 100 is open). Version 252 finds
# 11; later versions check more.
EXPOSURE_MAX = 13


def run(command: list, **more) -> tuple[int, str]:
    """The exit code of a command, and its output."""
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    return ended.returncode, (ended.stdout + ended.stderr).strip()


def failed(what: str, command: list, **more) -> list[str]:
    """A problem if the command fails."""
    code, output = run(command, **more)
    return [f"{what}: {output}"] if code else []


def compose_problems(text: str) -> list[str]:
    """Problems of a Compose file: by the schema of its specification, and in its references."""
    compose = yaml.safe_load(text)
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    judge = jsonschema.Draft202012Validator(schema)
    problems = [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in judge.iter_errors(compose)
    ]
    if problems:
        return problems
    services, volumes = compose["services"], compose.get("volumes", {})
    for name, service in services.items():
        for needed in service.get("depends_on", []):
            if needed not in services:
                problems.append(f"{name}: depends on {needed}, which is no service")
            elif not set(services[needed].get("profiles", [])) <= set(service.get("profiles", [])):
                problems.append(f"{name}: depends on {needed}, which only a profile starts")
            elif isinstance(service["depends_on"], dict) and "healthcheck" not in services[needed] \
                    and service["depends_on"][needed]["condition"] == "service_healthy":
                problems.append(f"{name}: waits for the health of {needed}, which has no healthcheck")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                if not (ROOT / source).exists():
                    problems.append(f"{name}: there is no {source}")
            elif source not in volumes:
                problems.append(f"{name}: the volume {source} is not declared")
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                problems.append(f"{name}: {port} is published to more than this machine")
        if "image" in service and ":" not in service["image"]:
            problems.append(f"{name}: {service['image']} names no version")
    used = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    return problems + [f"the volume {name} is not used" for name in volumes if name not in used]


def prometheus_problems() -> list[str]:
    """Whether Prometheus reads its configuration of compose.yaml, with the rules where they are mounted."""
    with tempfile.TemporaryDirectory() as folder:
        config = (ROOT / "packaging/compose/prometheus.yml").read_text()
        moved = config.replace("/etc/prometheus/rules", str(ROOT / "monitoring/rules"))
        if moved == config:
            return ["packaging/compose/prometheus.yml does not read the rules that compose.yaml mounts"]
        path = Path(folder) / "prometheus.yml"
        path.write_text(moved)
        return failed("packaging/compose/prometheus.yml", ["promtool", "check", "config", path])


def shell_problems() -> list[str]:
    """Scripts that bash cannot read."""
    scripts = sorted((ROOT / "packaging").rglob("*.sh"))
    return [problem for script in scripts for problem in failed(script.name, ["bash", "-n", script])]


def dockerfile_problems(path: Path, resources: list[dict]) -> list[str]:
    """Problems of the Dockerfile, by hadolint and by the manifests."""
    if not path.exists():
        return [f"there is no {path.name}: compose.yaml and the manifests run what it builds"]
    text = path.read_text()
    problems = failed("hadolint", [TOOLS / "hadolint", "--failure-threshold", "style", path])
    # Every container gives arguments only.
    if not re.search(r'^ENTRYPOINT \["/?[\w/]*seatlock"\]$', text, re.MULTILINE):
        problems.append('the ENTRYPOINT has to be the program, in the form ["/path/seatlock"]')
    user = re.search(r"^USER (\d+)(:\d+)?$", text, re.MULTILINE)
    expected = {pod["spec"]["securityContext"]["runAsUser"] for _, pod in pods(resources)}
    if user is None or {int(user.group(1))} != expected:
        problems.append(f"USER has to be the number that the manifests run it as: {expected}")
    return problems


def checkov_problems(framework: str, path: Path) -> list[str]:
    """The policies of checkov that a file violates; k8s/checks/checkov.yml has the exceptions."""
    command = [TOOLS / "checkov", "--config-file", ROOT / "k8s/checks/checkov.yml", "--framework", framework, "-f", path]
    # Run where there is nothing else for it to find.
    code, output = run([*command, "-o", "json"], cwd=path.parent)
    try:
        summary = json.loads(output)
        passed = summary["summary"]["passed"]
        checks = summary["results"]["failed_checks"]
    except (ValueError, KeyError, TypeError):
        return [f"checkov printed no result (exit code {code}): {output[-2000:]}"]
    if not passed:
        return [f"checkov checked nothing in {path.name}"]
    return [f"{check['check_id']} {check['check_name']}: {check['resource']}" for check in checks]


def unit_problems(text: str) -> list[str]:
    """Problems of the unit, by systemd, and an exposure above EXPOSURE_MAX."""
    if shutil.which("systemd-analyze") is None:
        return ["there is no systemd-analyze: install it (apt-get install systemd; nothing has to run)"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seatlock.service"
        # systemd checks that the command exists.
        path.write_text(text.replace("/usr/local/bin/seatlock", str(PROGRAM)))
        code, output = run(["systemd-analyze", "verify", "--man=no", path])
        # Only the lines about this unit; others are about units of the machine.
        problems = [line for line in output.splitlines() if "seatlock" in line]
        if code and not problems:
            problems.append(f"systemd-analyze verify: {output}")
        threshold = ["--offline=true", f"--threshold={EXPOSURE_MAX}"]
        code, output = run(["systemd-analyze", "security", *threshold, "--no-pager", path])
        overall = re.search(r"Overall exposure level.*", output)
        if code or overall is None:
            problems.append(f"systemd-analyze security, of which at most {EXPOSURE_MAX / 10} is allowed: {output}")
        elif not problems:
            print(f"     {overall.group()}")
    return problems


def known_to_program() -> tuple[set[str], set[str]]:
    """The variables and the commands of the program."""
    _, listed = run([PROGRAM, "config", "list"])
    _, usage = run([PROGRAM, "--help"])
    variables = {line.split()[0] for line in listed.splitlines() if line}
    commands = re.findall(r"^  ([a-z]+) ", usage, re.MULTILINE)
    return variables, set(commands)


def verdict_problems(resources: list[dict]) -> list[str]:
    """Problems that `seatlock config check` finds in the environment of each container."""
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        secrets = Path(folder)
        for name, text in STAND_INS.items():
            (secrets / name).write_text(text)
        for workload, pod in pods(resources):
            for container in containers(pod):
                given = environment(resources, container, secrets)
                given["PATH"] = os.environ["PATH"]
                code, output = run([PROGRAM, "config", "check"], env=given, cwd=folder)
                if code or "warning:" in output:
                    problems.append(f"{named(workload)}, {container['name']}: {output}")
    return problems
