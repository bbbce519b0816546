"""The metrics that the daemon writes for Prometheus, from the calls that make them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from daemon.reporting import metrics as source
from reference.text import code, item

_PREFIX = "solderwatch_"
_ENDS = {"_counter": "_total", "InfoMetricFamily": "_info"}
_MAKERS = {*_ENDS, "_gauge", "_gauges", "GaugeMetricFamily", "Histogram"}


def metrics() -> Iterator[str]:
    """An item for each metric, by name."""
    yield from sorted(item(f"{code(name)}: {text}") for name, text in _made())


def _made() -> Iterator[tuple[str, str]]:
    tree = ast.parse(Path(source.__file__).read_text(encoding="utf-8"))
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        maker = ast.unparse(call.func).rpartition(".")[2]
        match call.args:
            case [ast.Constant(value=str(name)), ast.Constant(value=str(text)), *_] if maker in _MAKERS:
                yield f"{_PREFIX}{name.removeprefix(_PREFIX)}{_ENDS.get(maker, '')}", text
