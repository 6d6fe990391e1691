#!/usr/bin/env python3
"""Makes the PrometheusRule of k8s/components/prometheus-rules from the files in monitoring/rules.

Without arguments it writes the file. It needs only Python: the rules are copied as text with their comments, since a
rule file and a PrometheusRule have the same `groups`. k8s/checks/deploy.py and tests/deploy/rules.rs parse both and
compare them.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "monitoring/rules"
TARGET = ROOT / "k8s/components/prometheus-rules/prometheus-rule.yaml"

HEAD = """\
# Made by k8s/checks/rules.py from monitoring/rules: change those, then run it again.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: seatlock
  labels:
    app.kubernetes.io/name: seatlock
spec:
  groups:
"""


def indented(line: str) -> str:
    return f"  {line}" if line.strip() else line


def prometheus_rule() -> str:
    """The manifest, as it should be."""
    parts = [HEAD]
    for path in sorted(RULES.glob("*.yml")):
        comments, mark, groups = path.read_text().partition("groups:\n")
        if not mark or any(line and not line.startswith("#") for line in comments.splitlines()):
            raise SystemExit(f"{path}: expected comments and then `groups:`")
        parts.append(f"    # {path.relative_to(ROOT)}\n")
        parts += [f"    {line}\n" for line in comments.splitlines() if line]
        parts += [f"{indented(line)}\n" for line in groups.splitlines()]
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(prometheus_rule())
