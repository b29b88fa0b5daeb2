"""Log lines for programs are one JSON object each, whatever is logged."""

import json
import logging
import sys

from magellon.platform.logs import JsonFormatter


def test_a_line_is_one_object() -> None:
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("magellon.server", logging.WARNING, "file.py", 1, "%s\nÅ", ("two lines",), error)
    record.job = 7
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert line["message"] == "two lines\nÅ"
    assert (line["level"], line["logger"], line["job"]) == ("warning", "magellon.server", "7")
    assert line["traceback"].endswith("ValueError: broken\nin two")
    assert line["time"].endswith("Z")
