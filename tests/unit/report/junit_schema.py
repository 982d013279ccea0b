"""The JUnit XML that CI servers agree on, written down from Jenkins's junit-10.xsd and GitLab's documents.

Per element: attributes that it must and may have, with their types, and its children with how often each may occur.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, fromstring

COUNT, TIME, TEXT = r"\d+", r"\d+(\.\d{1,3})?", r"[\s\S]*"
COUNTS = {"tests": COUNT, "failures": COUNT, "errors": COUNT}
MANY = 10**6
SCHEMA: dict[str, tuple[dict[str, str], dict[str, str], dict[str, int]]] = {
    "testsuites": ({}, {"name": TEXT, "time": TIME, **COUNTS}, {"testsuite": MANY}),
    "testsuite": (
        {"name": TEXT, **COUNTS},
        {"skipped": COUNT, "time": TIME, "timestamp": TEXT, "hostname": TEXT, "id": TEXT, "package": TEXT},
        {"properties": 1, "testcase": MANY, "system-out": 1, "system-err": 1},
    ),
    "properties": ({}, {}, {"property": MANY}),
    "property": ({"name": TEXT, "value": TEXT}, {}, {}),
    "testcase": (
        {"name": TEXT, "classname": TEXT},
        {"time": TIME, "group": TEXT},
        {"skipped": 1, "error": MANY, "failure": MANY, "system-out": MANY, "system-err": MANY},
    ),
    "skipped": ({}, {"message": TEXT, "type": TEXT}, {}),
    "failure": ({}, {"message": TEXT, "type": TEXT}, {}),
    "error": ({}, {"message": TEXT, "type": TEXT}, {}),
    "system-out": ({}, {}, {}),
    "system-err": ({}, {}, {}),
}


def read(text: str) -> Element:
    """The root of JUnit XML; fails where it isn't well-formed, not valid, or counts wrongly."""
    root = fromstring(text.encode())
    assert root.tag == "testsuites"
    _check(root)
    for suite in root:
        names = [(case.get("classname"), case.get("name")) for case in suite.iter("testcase")]
        assert len(set(names)) == len(names), "GitLab keeps one case per name"
    for parent in (root, *root):
        for attribute, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            assert int(parent.get(attribute, "-1")) == len(list(parent.iter(tag)))
    return root


def _check(element: Element) -> None:
    required, optional, children = SCHEMA[element.tag]
    assert set(required) <= set(element.attrib) <= {*required, *optional}, element.attrib
    for name, value in element.attrib.items():
        assert re.fullmatch((required | optional)[name], value), (element.tag, name, value)
    order = list(children)
    places = [order.index(child.tag) for child in element]
    if element.tag != "testcase":
        assert places == sorted(places), "in the schema's order"
    for tag, most in children.items():
        assert sum(child.tag == tag for child in element) <= most
    if children:
        assert not (element.text or "").strip(), "text stands in leaves"
    for child in element:
        _check(child)
