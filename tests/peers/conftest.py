"""Says which simulated cell came nearest to its limit, also where every test passed."""

from __future__ import annotations


def pytest_terminal_summary(terminalreporter):
    reports = [report for found in ("passed", "failed") for report in terminalreporter.getreports(found)]
    scores = [value for report in reports for name, value in report.user_properties if name == "coverage"]
    if scores:
        terminalreporter.write_line(f"coverage, worst of {len(scores)} cells: {max(scores)[1]}")
