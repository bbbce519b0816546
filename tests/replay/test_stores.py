"""Images in an S3-compatible store, read from a real server on this machine, are judged as those in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed")
pytest.importorskip("moto.server", reason="moto's server is not installed")

import boto3
from moto.server import ThreadedMotoServer
from replay_line import Replayed

from inspection.errors import ConfigError
from replay.archives import Store

BUCKET = "axi"


@pytest.fixture
def store(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The archive in a bucket of a server; its URI."""
    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    try:
        _, port = running.get_host_and_port()
        client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
        client.create_bucket(Bucket=BUCKET)
        for path in archive.rglob("*"):
            if path.is_file():
                client.put_object(Bucket=BUCKET, Key=f"2026/{path.relative_to(archive)}", Body=path.read_bytes())
        client.close()
        yield f"s3://{BUCKET}/2026?endpoint_override=127.0.0.1:{port}&scheme=http"
    finally:
        running.stop()


def test_a_store_is_judged_as_a_folder(replayed: Replayed, archive: Path, store: str) -> None:
    """The same images, verdicts, records and words; what is no image there is listed with the same reason."""
    replayed.run(store)
    here = Replayed(replayed.line, replayed.out.folder.with_name("here"))
    here.run(archive)
    told = [
        [
            {key: value for key, value in row.items() if key not in {"path", "ms", "day"}}
            | {"path": row["path"].removeprefix(root)}
            for row in one.rows()
        ]
        for one, root in ((replayed, f"s3://{BUCKET}/2026/"), (here, f"{archive}/"))
    ]
    assert told[0] == told[1]
    assert list(replayed.unread().values()) == list(here.unread().values())
    with pytest.raises(ConfigError, match="no such folder"):
        list(Store(store.replace("2026", "2025")).walk())
