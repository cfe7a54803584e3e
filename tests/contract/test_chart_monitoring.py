"""Alerts, recording rules and dashboards speak of metrics that exist, and every alert fires when it should.

Metrics are those of the DESCRIPTORS of sensor, processor and operator; promtool (Debian: prometheus) evaluates.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from packhound.kit.metrics import Descriptor
from packhound.operator import telling
from packhound.run import processing
from packhound.sensor import report
from tests.support.helm import CHART, needs_helm, pick, render

RULES = CHART / "files" / "rules.yaml"
DASHBOARDS = sorted((CHART / "files" / "dashboards").glob("*.json"))
ROOT = CHART.parents[1]
DESCRIPTORS: tuple[Descriptor, ...] = (*report.DESCRIPTORS, *processing.DESCRIPTORS, *telling.DESCRIPTORS)
METRICS = {row.name + ("_total" if row.kind == "counter" else ""): row for row in DESCRIPTORS}
TARGET = {"fleet", "node", "pod", "job", "namespace", "instance"}  # given by scraping and relabelling
SENT = "".join(Path(module.__file__ or "").read_text() for module in (report, processing, telling))
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool (Debian: prometheus)")
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
RECORDS = {rule["record"]: rule for group in GROUPS for rule in group["rules"] if "record" in rule}

SENSOR = 'fleet="main", node="n1", job="sensor"'
PROCESSOR = 'fleet="main", pod="p-0", job="processor"'
OPERATOR = 'pod="o-0", job="operator"'
# Series in which nothing is wrong, and for each alert the one that makes it fire.
WELL = {
    f'packhound_lost_packets_total{{{SENSOR}, cause="spool_full"}}': "5+0x60",
    f'packhound_kernel_dropped_packets_total{{{SENSOR}, cause="kernel"}}': "7+0x60",
    f'packhound_packets_total{{{SENSOR}, stage="match", outcome="shed"}}': "0+0x60",
    f"packhound_link_up{{{SENSOR}}}": "1+0x60", f"packhound_spool_oldest_seconds{{{SENSOR}}}": "2+0x60",
    f"packhound_plan_rejected_total{{{SENSOR}}}": "1+0x60", f'packhound_interface_up{{{SENSOR}, state="up"}}': "4+0x60",
    f"packhound_clock_offset_seconds{{{SENSOR}}}": "-0.2+0x60", f"up{{{SENSOR}}}": "1+0x60", f"up{{{PROCESSOR}}}": "1+0x60",
    f"packhound_held{{{PROCESSOR}}}": "0+0x60", f"packhound_consumer_lag{{{PROCESSOR}}}": "9000+0x60",
    f"packhound_malformed_parcels_total{{{PROCESSOR}}}": "3+0x60",
    f"packhound_operator_leading{{{OPERATOR}}}": "1+0x60", 'packhound_operator_leading{pod="o-1", job="operator"}': "0+0x60",
    f'packhound_operator_fleet_connected{{{OPERATOR}, fleet="main"}}': "1+0x60",
    f'packhound_operator_fleet_blocked{{{OPERATOR}, fleet="main"}}': "0+0x60",
}  # fmt: skip
ILL = {
    "PackhoundPacketsLost": (f'packhound_lost_packets_total{{{SENSOR}, cause="spool_full"}}', "0+3x60"),
    "PackhoundKernelDrops": (f'packhound_kernel_dropped_packets_total{{{SENSOR}, cause="kernel"}}', "0+60x60"),
    "PackhoundShedding": (f'packhound_packets_total{{{SENSOR}, stage="match", outcome="shed"}}', "0+9x60"),
    "PackhoundLinkDown": (f"packhound_link_up{{{SENSOR}}}", "0+0x60"),
    "PackhoundSpoolOld": (f"packhound_spool_oldest_seconds{{{SENSOR}}}", "0+60x60"),
    "PackhoundPlanRejected": (f"packhound_plan_rejected_total{{{SENSOR}}}", "0+1x60"),
    "PackhoundInterfaceDown": (f'packhound_interface_up{{{SENSOR}, state="gone"}}', "1+0x60"),
    "PackhoundClockOff": (f"packhound_clock_offset_seconds{{{SENSOR}}}", "-3+0x60"),
    "PackhoundSensorSilent": (f"up{{{SENSOR}}}", "0+0x60"),
    "PackhoundProcessorSilent": (f"up{{{PROCESSOR}}}", "0+0x60"),
    "PackhoundHeld": (f"packhound_held{{{PROCESSOR}}}", "1+0x60"),
    "PackhoundLag": (f"packhound_consumer_lag{{{PROCESSOR}}}", "0+1000x60"),
    "PackhoundMalformedParcels": (f"packhound_malformed_parcels_total{{{PROCESSOR}}}", "0+1x60"),
    "PackhoundNobodyLeads": (f"packhound_operator_leading{{{OPERATOR}}}", "0+0x60"),
    "PackhoundBrokerAway": (f'packhound_operator_fleet_connected{{{OPERATOR}, fleet="main"}}', "0+0x60"),
    "PackhoundPlansBlocked": (f'packhound_operator_fleet_blocked{{{OPERATOR}, fleet="main"}}', "2+0x60"),
}  # fmt: skip


def _expressions() -> Iterator[tuple[str, str]]:
    for group in GROUPS:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.stem}: {panel['title']}", target["expr"]


@pytest.mark.parametrize(("where", "expr"), list(_expressions()), ids=lambda text: text[:50])
def test_every_expression_speaks_of_metrics_that_exist(where: str, expr: str) -> None:
    for name, _, labels in re.findall(r"\b(packhound[a-z0-9_:]*)(\{([^}]*)\})?", expr):
        if ":" in name:
            assert name in RECORDS, f"{where}: no rule records {name}"
            continue
        assert name in METRICS, f"{where}: nothing exports {name}"
        for label, value in re.findall(r"(\w+)\s*=~?\s*\"([^\"]*)\"", labels):
            assert label in (*METRICS[name].labels, *TARGET), f"{where}: {name} has no label {label}"
            if label in METRICS[name].labels and "$" not in value:
                for each in value.split("|"):
                    assert f'"{each}"' in SENT or each in _states(), f"{where}: {label} is never {each}"
    used = {part.strip() for found in re.findall(r"\bby \(([^)]*)\)", expr) for part in found.split(",")}
    known = {label for row in DESCRIPTORS for label in row.labels} | TARGET
    assert used <= known, f"{where}: {used - known}"


def _states() -> set[str]:
    from packhound.sensor.tap.frames import Condition

    return set(re.findall(r"`(\w+)`", Condition.__doc__ or ""))


def test_every_alert_can_be_acted_on() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    assert {rule["alert"] for rule in ALERTS} == set(ILL), "every alert has a series that makes it fire"
    told = (ROOT / "docs" / "kubernetes.md").read_text()
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert f"`{rule['alert']}`" in told, f"docs/kubernetes.md says nothing of {rule['alert']}"


def _promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    _promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


def _case(name: str, series: dict[str, str], firing: list[str]) -> dict[str, Any]:
    return {
        "name": name, "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [{
            "expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": "40m",
            "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in firing],
        }],
    }  # fmt: skip


@needs_promtool
def test_each_alert_fires_alone_and_none_when_all_is_well(tmp_path: Path) -> None:
    cases = [_case("well", WELL, [])]
    cases += [_case(alert, WELL | dict([series]), [alert]) for alert, series in ILL.items()]
    absent = {key: values for key, values in WELL.items() if "operator" not in key}
    cases.append(_case("no operator at all", absent, ["PackhoundNobodyLeads"]))
    written = tmp_path / "rules_test.yaml"
    written.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases}))
    _promtool("test", "rules", written)


@needs_promtool
def test_records(tmp_path: Path) -> None:
    series = {
        f'packhound_packets_total{{{SENSOR}, stage="match", outcome="matched"}}': "0+60x20",
        f'packhound_packets_total{{{SENSOR.replace("n1", "n2")}, stage="match", outcome="matched"}}': "0+120x20",
        f'packhound_packets_total{{{SENSOR}, stage="deliver", outcome="delivered"}}': "0+30x20",
        f'packhound_lost_packets_total{{{SENSOR}, cause="spool_full"}}': "0+6x20",
        f"packhound_spool_bytes{{{SENSOR}}}": "100+0x20",
    }
    expected = {
        'packhound:matched_packets:rate5m{fleet="main"}': 3, 'packhound:delivered_packets:rate5m{fleet="main"}': 0.5,
        'packhound:lost_packets:rate5m{fleet="main", cause="spool_full"}': 0.1, 'packhound:spool_bytes:sum{fleet="main"}': 100,
    }  # fmt: skip
    assert {key.partition("{")[0] for key in expected} == set(RECORDS)
    case = {
        "interval": "1m", "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [
            {"expr": key, "eval_time": "15m", "exp_samples": [{"labels": key, "value": value}]} for key, value in expected.items()
        ],
    }  # fmt: skip
    written = tmp_path / "rules_test.yaml"
    written.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}))
    _promtool("test", "rules", written)


def test_dashboards_are_whole() -> None:
    assert DASHBOARDS
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        assert board["uid"] == f"packhound-{path.stem}"
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))
        for panel in board["panels"]:
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"} or panel["type"] == "row"
            spot = panel["gridPos"]
            assert spot["x"] + spot["w"] <= 24


@needs_helm
def test_the_chart_carries_rules_and_dashboards_unchanged() -> None:
    names = ("podMonitor", "serviceMonitor", "prometheusRule", "dashboards")
    assert not [each for each in render() if "coreos" in each["apiVersion"]]
    more = {name: {"enabled": True} for name in names}
    more["prometheusRule"] |= {"alertLabels": {"team": "voice"}, "runbookUrl": "https://docs.example/packhound"}
    objects = render({"monitoring": more})
    made = pick(objects, "PrometheusRule")["spec"]["groups"]
    for group, rendered in zip(GROUPS, made, strict=True):
        for rule, other in zip(group["rules"], rendered["rules"], strict=True):
            if "alert" in rule:
                assert other["labels"] == {**rule["labels"], "team": "voice"}
                assert other["annotations"].pop("runbook_url") == f"https://docs.example/packhound#{rule['alert'].lower()}"
                other = {**other, "labels": rule["labels"]}
            assert other == rule
    for path in DASHBOARDS:
        config = pick(objects, "ConfigMap", f"packhound-dashboard-{path.stem}")
        assert config["data"][path.name] == path.read_text()
        assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
