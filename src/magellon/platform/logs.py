"""Log lines of the platform's processes: for people by default, one JSON object a line when MAGELLON_LOG is `json`."""

import json
import logging
import os
import time
from collections.abc import Mapping

VARIABLE = "MAGELLON_LOG"
_STANDARD = frozenset(vars(logging.makeLogRecord({})))


class JsonFormatter(logging.Formatter):
    """`time` in UTC, `level`, `logger`, `message`, `traceback` of an error, and what the caller gave as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        line.update({name: str(value) for name, value in vars(record).items() if name not in _STANDARD and name not in line})
        return json.dumps(line, ensure_ascii=False)


def start_logging(environment: Mapping[str, str] = os.environ) -> None:
    """Log to standard error, in the form that MAGELLON_LOG asks for."""
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    handler.setFormatter(JsonFormatter() if environment.get(VARIABLE) == "json" else plain)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
