"""What names.pattern and products make of the names that there are."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from daemon.checking.finding import Finding, Level
from inspection.files import readable
from inspection.verdict import LABELS
from settings import Settings
from settings.schema import InboxSettings, NamesSettings

SHOWN = 10
_TRIED = 10_000


def names(settings: Settings) -> Iterator[Finding]:
    """What names.pattern makes of some names of the inbox, or of the data set where that is empty."""
    pattern = settings.names.pattern
    if pattern is None and not settings.products:
        yield Finding("ok", "names: no names.pattern, so file names say nothing of boards and joints")
        return
    found, where = images_below(settings.paths.inbox, settings.inbox), "the inbox"
    yield from _products(settings, found)
    if pattern is None:
        return
    if not found:
        data_sets = [settings.of_product(product).paths.dataset for product in settings.products or (None,)]
        folders = [data_set / label for data_set in data_sets for label in LABELS]
        found, where = [path for folder in folders for path in images_below(folder, settings.inbox)], "the data set"
    if not found:
        yield Finding("ok", "names: nothing in the inbox or the data set to try names.pattern on")
        return
    yield from tried(settings.names, found, where)


def tried(names: NamesSettings, found: Sequence[PurePath], where: str) -> Iterator[Finding]:
    """What the pattern makes of some names, the first of them one by one."""
    matched = sum(names.units(path).matched for path in found)
    level: Level = "ok" if matched == len(found) else "warning"
    yield Finding(level, f"names: names.pattern matches {matched} of {len(found)} names in {where}, such as:")
    for path in found[:SHOWN]:
        yield Finding(level, f"names: {readable(str(path))}: {names.units(path)}")


def _products(settings: Settings, found: list[Path]) -> Iterator[Finding]:
    """Of how many files each product is, which ones have none, and which ones several products take."""
    if not (settings.products and found):
        return
    taken = [(path, list(settings.products_of(path))) for path in found]
    counts = Counter(products[0] for _, products in taken if products)
    told = ", ".join(f"{counts[name]} {name}" for name in settings.products)
    yield Finding("ok", f"products: of {len(found)} names in the inbox: {told}")
    if none := [path for path, products in taken if not products]:
        example = readable(str(none[0]))
        yield Finding("warning", f"products: {len(none)} are of none, such as {example}: it goes to quarantine")
    if several := [(path, products) for path, products in taken if len(products) > 1]:
        path, products = several[0]
        yield Finding(
            "warning",
            f"products: {len(several)} match several, such as {readable(str(path))}: {', '.join(products)}; "
            f"{products[0]} has it, being the first in the configuration",
        )


def images_below(folder: Path, inbox: InboxSettings) -> list[Path]:
    """Paths of images below a folder, not all of very many."""
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in sorted(names))
    images = (path.relative_to(folder) for path in paths if inbox.admits(path.name))
    return list(itertools.islice(images, _TRIED))
