"""`python -m filing.boards > docs/board.schema.json`: what readers of boards' records can rely on."""

from __future__ import annotations

import json

from filing.boards.record import json_schema

if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
