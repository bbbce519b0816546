"""Write all files, what must become of each, and the right grey levels: python -m odd FOLDER."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odd.cases import all_cases


def main(folder: Path) -> None:
    """Fill a folder: the files, `cases.json` and `right.npz`."""
    folder.mkdir(parents=True, exist_ok=True)
    told: dict[str, dict[str, Any]] = {}
    right: dict[str, NDArray[np.float32]] = {}
    for case in all_cases():
        if case.name in told:
            raise ValueError(f"two files are called {case.name}")
        (folder / case.name).write_bytes(case.data)
        keys = []
        for page in case.pages or ():
            grey = page.astype(np.float32)
            keys.append(hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).hexdigest()[:10])
            right[keys[-1]] = grey
        expect = "either" if case.either else "read" if case.pages else "refuse"
        told[case.name] = {
            "expect": expect,
            "right": keys[0] if keys else None,
            "pages": keys,
            "tol": case.tol,
            "note": case.note,
            "float_range": case.float_range,
            "wrong": case.wrong,
        }
    (folder / "cases.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    np.savez_compressed(folder / "right.npz", **right)  # type: ignore[arg-type]
    print(f"{len(told)} files in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
