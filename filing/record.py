"""What an image's record says: the `.json` beside it and its line in the log, or in quarantine its `.error.json`."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from inspection.verdict import Label


class Record(TypedDict, total=False):
    """Its fields in their order, each with what it is: docs/reference.md lists them, tests hold records to them."""

    decision_id: Annotated[str, "the same wherever the decision is told again, as after a crash"]
    time: Annotated[str, "of the decision, UTC"]
    file: Annotated[str, "path inside the inbox; bytes that are no UTF-8 and control characters as escapes"]
    product: Annotated[str, "whose model judged; this and the next three only where configuration or name say it"]
    board: Annotated[str, "its serial number, by `names.pattern`"]
    joint: Annotated[str, "by `names.pattern`"]
    view: Annotated[str, "which of the joint's views, by `names.pattern`"]
    verdict: Annotated[Label, "`io` or `nio`"]
    reason: Annotated[
        str,
        "of io: `clear`; of nio: `defect`, or `unidentified` (unlike all good images, or the network gave no number); "
        "in quarantine `no product`, or nothing",
    ]
    error: Annotated[str, "in quarantine: why it could not be judged; then there is no verdict, and nothing about one"]
    nio_probability: Annotated[float | None, "`defect` from the threshold on; as compared, six significant digits"]
    threshold: Annotated[float, "the model's"]
    novelty: Annotated[
        float | None,
        "how unlike good training images it is, as a share of what they keep to: `unidentified` above 1 if no `defect`",
    ]
    model: Annotated[str, "the model's id: a hash of its content, and `certified` or `indicative`"]
    device: Annotated[str, "where it ran"]
    runtime: Annotated[str, "by what: `torch`, `openvino` or `openvino-bf16`"]
    cam: Annotated[
        dict[str, Any],
        "the map: `method` (`residual` where unidentified), `only_last_conv`, and `peak`, its maximum before it was "
        "normalised: in logits for ExcessCAM, in grey levels (0 to 1) for `residual`",
    ]
    sha256: Annotated[str, "of the file"]
    bytes: Annotated[int, "of the file"]
    format: Annotated[str, "of the file, told by its content"]
    width: Annotated[int, "of the page that decided"]
    height: Annotated[int, "of the page that decided"]
    bits: Annotated[int, "of the page that decided, for each pixel"]
    notes: Annotated[
        list[str],
        "what a person should know, such as a declared range that the grey levels leave; of several pages each says "
        "which ones",
    ]
    pages: Annotated[int, "how many pages or frames of the file show the scene"]
    page: Annotated[int, "which of them decided, from 1; verdict, novelty, cam and size are that page's"]
    scores: Annotated[
        dict[str, list[float | None]],
        "only with more than one page: `nio_probability` and `novelty`, each with a value for every page, in their "
        "order; `null` where the network gave no number",
    ]
    claimed: Annotated[str, "when it was taken out of the inbox, UTC"]
    attempts: Annotated[int, "how often judging it was begun"]
    milliseconds: Annotated[dict[str, float], "`decode`, `judge` (map included), `draw`: all pages together"]
    outcome: Annotated[str, "the folder it lies in: `io`, `nio` or `quarantine`"]
    filed_as: Annotated[str, "its path in there"]
    relabelled: Annotated[
        list[dict[str, Any]],
        "what operators said, oldest first: `to`, `by`, `at`, and from the page `reason`, `comment`, `shown`, "
        "`disputed`; `to: null` takes the word before back. The verdict stays what it was",
    ]
