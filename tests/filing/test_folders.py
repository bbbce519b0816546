from __future__ import annotations

from pathlib import Path

import pytest

from filing import folders
from filing.folders import AwayError, Folders, declared_mount_points, file_system, is_local, mounted
from inspection.errors import SolderwatchError


def test_the_file_system_is_told_by_its_mount(tmp_path: Path) -> None:
    """The type comes from the innermost mount that holds the path."""
    assert file_system(Path("/proc/self")) == "proc"
    assert file_system(tmp_path) not in {"proc", "unknown"}
    assert is_local("ext4")
    assert not is_local("nfs4")
    assert not is_local("cifs")
    assert not is_local("a type of next year")


def test_leases_are_trusted_by_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a network share the kernel's word on writers does not count, unless the configuration says so."""
    table = tmp_path / "mountinfo"
    table.write_text("1 1 0:1 / / rw - ext4 /dev/x rw\n2 1 0:2 / /mnt/my\\040share rw shared:1 - nfs4 server:/x rw\n")
    monkeypatch.setattr(folders, "_MOUNTS", table)
    assert file_system(Path("/mnt/my share/inbox")) == "nfs4"
    assert file_system(Path("/mnt/my shares")) == "ext4"
    local = Folders({"inbox": tmp_path}, "auto")
    local.look()
    assert local.leases("inbox")
    table.write_text("1 1 0:1 / / rw - nfs4 server:/x rw\n")
    local.look()
    assert not local.leases("inbox")
    forced = Folders({"inbox": tmp_path}, "lease")
    forced.look()
    assert forced.leases("inbox")


def test_an_unmounted_share_is_away_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a share was seen mounted, the empty folder below its mount point is not taken for it."""
    table = tmp_path / "mountinfo"
    root = "1 1 0:1 / / rw - ext4 /dev/x rw\n"
    share = f"2 1 0:2 / {tmp_path}/mnt rw - nfs4 server:/x rw\n"
    monkeypatch.setattr(folders, "_MOUNTS", table)
    (tmp_path / "mnt" / "inbox").mkdir(parents=True)
    table.write_text(root + share)
    looked_at = Folders({"inbox": tmp_path / "mnt" / "inbox"})
    looked_at.look()
    table.write_text(root)
    with pytest.raises(AwayError, match="mnt is not mounted"):
        looked_at.look()
    table.write_text(root + share)
    looked_at.look()


def test_fstab_says_what_ought_to_be_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that is not mounted yet at the first start is away as well, and nothing is made below its mount point."""
    fstab = tmp_path / "fstab"
    lines = ("server:/x {}/mnt/ nfs4 defaults 0 0", "server:/y {}/other nfs4 noauto 0 0", "#s:/z {}/third nfs4 rw 0 0")
    fstab.write_text("# shares\n" + "".join(f"{line.format(tmp_path)}\n" for line in lines))
    monkeypatch.setattr(folders, "_FSTAB", fstab)
    assert declared_mount_points(tmp_path / "mnt" / "inbox") == {f"{tmp_path}/mnt"}
    assert declared_mount_points(tmp_path / "other" / "inbox") == set()
    assert declared_mount_points(tmp_path / "third" / "inbox") == set()
    (tmp_path / "mnt").mkdir()
    share = Folders({"inbox": tmp_path / "mnt" / "inbox"})
    with pytest.raises(SolderwatchError, match=r"paths\.inbox: .*mnt is not mounted: mount it"):
        share.make()
    assert list((tmp_path / "mnt").iterdir()) == []


def test_a_folder_mounted_onto_itself_is_no_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What systemd does for ReadWritePaths= is not taken for the share that ought to be mounted there."""
    table = tmp_path / "mountinfo"
    lines = [
        "1 0 8:1 / / rw - ext4 /dev/x rw",
        "2 1 8:1 /mnt/axi /mnt/axi rw - ext4 /dev/x rw",
        "3 1 0:50 / /mnt/real rw - nfs4 server:/x rw",
        "4 3 0:50 / /mnt/real rw - nfs4 server:/x rw",
        "5 1 8:1 /srv/pictures /mnt/bound rw - ext4 /dev/x rw",
        "6 1 0:51 / /mnt/line\u2028break rw - tmpfs t rw",
    ]
    table.write_text("\n".join(lines))
    monkeypatch.setattr(folders, "_MOUNTS", table)
    kinds = {"/": "ext4", "/mnt/real": "nfs4", "/mnt/bound": "ext4", "/mnt/line\u2028break": "tmpfs"}
    assert mounted() == kinds
    table.write_text("")
    assert file_system(tmp_path) == "unknown"


def test_a_new_configuration_does_not_forget_what_was_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reload while a share is away it is still away, and its folder is not made below the mount point."""
    table = tmp_path / "mountinfo"
    monkeypatch.setattr(folders, "_MOUNTS", table)
    (tmp_path / "mnt" / "inbox").mkdir(parents=True)
    table.write_text(f"1 0 8:1 / / rw - ext4 /dev/x rw\n2 1 0:2 / {tmp_path}/mnt rw - nfs4 server:/x rw\n")
    before = Folders({"inbox": tmp_path / "mnt" / "inbox"})
    before.look()
    table.write_text("1 0 8:1 / / rw - ext4 /dev/x rw\n")
    after = Folders({"inbox": tmp_path / "mnt" / "inbox", "io": tmp_path / "mnt" / "io"}, before=before)
    with pytest.raises(SolderwatchError, match="not mounted"):
        after.make()


def test_a_way_beneath_follows_no_link_and_stays_with_its_folder(tmp_path: Path) -> None:
    """Links and .. on the way are refused; what is renamed meanwhile is still what was opened."""
    root, elsewhere = tmp_path / "io", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "link").symlink_to(elsewhere)
    (root / "file").touch()
    looked_at = Folders({"io": root})
    looked_at.look()
    for bad in ("link", "file", "link/deeper", "..", "a/../.."):
        with pytest.raises(NotADirectoryError), looked_at.beneath("io", Path(bad), make=True):
            pass
    with pytest.raises(FileNotFoundError), looked_at.beneath("io", Path("missing")):
        pass
    with looked_at.beneath("io", Path("lot7/board1"), make=True) as folder:
        (root / "lot7").rename(tmp_path / "moved")
        (root / "lot7").symlink_to(elsewhere)
        (folder / "x").touch()
    with (
        pytest.raises(FileNotFoundError, match="io/lot9/missing"),
        looked_at.beneath("io", Path("lot9"), make=True) as folder,
    ):
        (folder / "missing").unlink()
    assert (tmp_path / "moved" / "board1" / "x").exists()
    assert list(elsewhere.iterdir()) == []


def test_a_replaced_folder_is_entered_only_after_a_look(tmp_path: Path) -> None:
    """Between two looks a folder may have been unmounted: the one below it is not written into."""
    root = tmp_path / "io"
    root.mkdir()
    looked_at = Folders({"io": root})
    looked_at.look()
    root.rename(tmp_path / "old")
    with pytest.raises(AwayError), looked_at.beneath("io"):
        pass
    root.mkdir()
    with pytest.raises(AwayError, match="not the folder it was"), looked_at.beneath("io"):
        pass
    looked_at.look()
    with looked_at.beneath("io") as folder:
        assert folder.samefile(root)


@pytest.mark.parametrize(
    ("link", "target", "said"),
    [
        ("data/inbox", "/nowhere/at/all", "data/inbox: a link to /nowhere/at/all, which is not there"),
        ("data/inbox", "../gone", "data/inbox: a link to ../gone, which is not there"),
        ("data", "gone", "data/inbox: beyond {}/data, a link to gone, which is not there"),
        ("data/inbox", "inbox", "data/inbox: a link to inbox, which is not there"),
    ],
)
def test_a_folder_that_is_a_link_to_nothing_is_told_as_that(link: str, target: str, said: str, tmp_path: Path) -> None:
    """At the start, where it used to be "File exists": what is a link, and where it leads."""
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(target)
    line = Folders({"inbox": tmp_path / "data" / "inbox"})
    with pytest.raises(SolderwatchError) as told:
        line.make()
    assert said.format(tmp_path) in str(told.value)
    assert "mend the link" in str(told.value)
    if target != "inbox":
        with pytest.raises(AwayError) as away:
            line.look()
        assert f"{away.value.filename}: {away.value.strerror}".endswith(said.format(tmp_path))
    (tmp_path / link).unlink()
    (tmp_path / "gone").mkdir()
    (tmp_path / link).symlink_to(tmp_path / "gone")
    line.make()
    line.look()
