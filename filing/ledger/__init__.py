"""The ledger: an index of all records, for questions that no walk through the folders answers in time.

Records are the truth. The ledger may be deleted, damaged or locked at any time: nothing waits for it, and it is caught
up with the records, or rebuilt from them, by itself. Only this package has SQL.
"""

from filing.decisions import Outcome
from filing.ledger.answers import Count, DayCount, Image, OpenBoard, Spoken, Summary
from filing.ledger.keeper import Keeper, Pace, tell
from filing.ledger.questions import Ledger
from filing.ledger.records import OUTCOMES, SUFFIXES, Place
from filing.ledger.sweep import Swept, reindex

__all__ = [
    "OUTCOMES", "SUFFIXES", "Count", "DayCount", "Image", "Keeper", "Ledger", "OpenBoard", "Outcome", "Pace",
    "Place", "Spoken", "Summary", "Swept", "reindex", "tell",
]  # fmt: skip
