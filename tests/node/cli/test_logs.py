import json
import logging
import re
import warnings
from pathlib import Path

import pytest

from altyn.node.load_settings import load
from altyn.node.logs import chosen_categories, log_start, logging_to
from altyn.node.options import SettingsError
from altyn.node.settings import Settings
from altyn.node.sync.gossip import refused


def settings(folder: Path, *options: str) -> Settings:
    (folder / "regtest").mkdir(exist_ok=True)
    return load([f"-datadir={folder}", "-regtest", "-printtoconsole=0", *options])


def logged(folder: Path) -> str:
    return (folder / "regtest" / "debug.log").read_text()


def test_lines_look_like_cores_and_are_appended(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with logging_to(settings(tmp_path)):
            logging.getLogger("altyn.node.chain.chain").info(text)
    assert re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (one|two)\n){2}", logged(tmp_path))


def test_debug_messages_carry_their_category_and_only_chosen_ones_are_there(tmp_path: Path) -> None:
    with logging_to(settings(tmp_path, "-debug=net", "-debug=rpc", "-debugexclude=rpc", "-logtimemicros")):
        for name in ("altyn.p2p.peer", "altyn.node.rpc.server", "altyn.node.mempool.pool"):
            logging.getLogger(name).debug("said by %s", name)
    assert re.fullmatch(r"\S+\.\d{6}Z \[net\] said by altyn\.p2p\.peer\n", logged(tmp_path))


def test_why_transactions_of_peers_were_refused_can_be_had_alone(tmp_path: Path) -> None:
    with logging_to(settings(tmp_path, "-debug=mempoolrej")):
        refused.debug("ff (wtxid=ff) from peer=3 was not accepted: dust")
        logging.getLogger("altyn.node.sync.gossip").debug("of no interest")
    assert logged(tmp_path).endswith("Z [mempoolrej] ff (wtxid=ff) from peer=3 was not accepted: dust\n")
    assert logged(tmp_path).count("\n") == 1


def test_warnings_of_libraries_go_to_the_log_and_not_to_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with logging_to(settings(tmp_path)):
            warnings.warn("mind the step", stacklevel=1)
            logging.getLogger("altyn.node").error("it broke")
    assert "mind the step" in logged(tmp_path)
    assert "[error] it broke" in logged(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_text_that_is_no_unicode_is_escaped(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # a test report with this text could not be sent on
    with logging_to(settings(tmp_path)):
        logging.getLogger("altyn.node").info("half a pair: %s", "\ud800")
    assert "half a pair: \\ud800" in logged(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_secrets_on_the_command_line_are_not_written(tmp_path: Path) -> None:
    arguments = ["-rpcuser=alice", "-rpcpassword=hunter2", "-rpcauth=alice:a$b", "-par=2"]
    with logging_to(settings(tmp_path)):
        log_start(settings(tmp_path), "1", arguments)
    text = logged(tmp_path)
    assert not any(secret in text for secret in ("alice", "hunter2", "a$b"))
    assert 'Command-line arg: par="2"' in text


def test_a_long_log_is_shortened_at_the_start(tmp_path: Path) -> None:
    kept = settings(tmp_path)
    path = kept.folder / "debug.log"
    path.write_text("x" * 99 + "\n" + ("y" * 99 + "\n") * 120_000)
    with logging_to(kept):
        pass
    assert 9_000_000 < path.stat().st_size <= 10_000_000
    assert path.read_text().startswith("y" * 99 + "\n")


@pytest.mark.parametrize(
    ("options", "net", "rpc"),
    [
        ([], False, False),
        (["-debug"], True, True),
        (["-debug=1", "-debugexclude=net"], False, True),
        (["-debug=net", "-debug=0"], False, False),
        (["-debug=all"], True, True),
        (["-nodebug"], False, False),
    ],
)
def test_categories_are_chosen_as_in_core(tmp_path: Path, options: list[str], net: bool, rpc: bool) -> None:
    shown = chosen_categories(settings(tmp_path, *options))
    assert ("net" in shown, "rpc" in shown) == (net, rpc)


def test_unknown_categories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Unsupported logging category -debug=moon"):
        chosen_categories(settings(tmp_path, "-debug=moon"))


def test_a_json_log_is_an_object_a_line(tmp_path: Path) -> None:
    with logging_to(settings(tmp_path, "-logformat=json", "-debug=net")):
        logging.getLogger("altyn.p2p.peer").debug('said "so"\nand more')
        try:
            raise ValueError("why")
        except ValueError:
            logging.getLogger("altyn.node").exception("it broke")
    first, second = map(json.loads, logged(tmp_path).splitlines())
    assert (first["level"], first["category"], first["message"]) == ("debug", "net", 'said "so"\nand more')
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first["time"])
    assert second["level"] == "error"
    assert "ValueError: why" in second["exception"]


def test_an_unknown_form_of_the_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Invalid value for -logformat: 'xml'"):
        settings(tmp_path, "-logformat=xml")


def test_a_log_of_its_largest_size_goes_on_in_a_new_file(tmp_path: Path) -> None:
    with logging_to(settings(tmp_path, "-logfilesize=1")):
        for _ in range(13):
            logging.getLogger("altyn.node").info("x" * 100_000)
    sizes = [path.stat().st_size for path in (tmp_path / "regtest").glob("debug.log*")]
    assert len(sizes) == 2
    assert all(size <= 1_000_000 for size in sizes)


def test_a_log_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "regtest" / "debug.log"
    with logging_to(settings(tmp_path)) as categories:
        logging.getLogger("altyn.node").info("before")
        path.rename(path.with_suffix(".old"))
        categories.reopen()
        logging.getLogger("altyn.node").info("after")
    assert "before" not in logged(tmp_path)
    assert "after" in logged(tmp_path)
