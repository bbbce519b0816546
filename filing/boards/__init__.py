"""What became of each board: a record per run, made of the records of its images, for the line's MES.

The records beside the images are the truth. Who files, moves or puts back an image of a board brings a note of it,
which changes the board's record; the same note twice, or two in another order, come to the same record.
"""

from filing.boards.files import BoardFiles
from filing.boards.journal import Journal
from filing.boards.record import Board, Complete, Key, Note, Reviewed, note_of, put_back

__all__ = ["Board", "BoardFiles", "Complete", "Journal", "Key", "Note", "Reviewed", "note_of", "put_back"]
