import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from altyn.node.options import SettingsError
from altyn.node.rpc.auth import COOKIE_USER, Cookie, Users


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_the_cookie_is_private_whole_and_gone_at_the_end(tmp_path: Path) -> None:
    cookie = Cookie(tmp_path / ".cookie")
    cookie.write()
    assert cookie.path.stat().st_mode & 0o777 == 0o600
    text = cookie.path.read_text()
    assert text == f"{COOKIE_USER}:{cookie.password}"
    assert len(cookie.password) == 64
    assert Users({COOKIE_USER: cookie.password}).identify(basic(text)) == COOKIE_USER
    cookie.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_cookie_that_another_run_wrote_is_left_alone(tmp_path: Path) -> None:
    old, new = Cookie(tmp_path / ".cookie"), Cookie(tmp_path / ".cookie")
    old.write()
    new.write()
    old.remove()
    assert new.password in new.path.read_text()


def test_salted_passwords_are_recognised() -> None:
    salt = "f7efda5c189b999524f151318c0c86"
    digest = hmac.new(salt.encode(), b"secret", hashlib.sha256).hexdigest()
    users = Users(salted=[f"alice:{salt}${digest}"])
    assert users.identify(basic("alice:secret")) == "alice"
    assert users.identify(basic("alice:wrong")) is None
    assert users.identify(basic("bob:secret")) is None


@pytest.mark.parametrize("line", ["", "alice", "alice:salt", "alice:salt$", "alice:salt$a$b", "alice:sa:lt$aa"])
def test_malformed_salted_passwords_are_refused(line: str) -> None:
    with pytest.raises(SettingsError, match=r"Invalid -rpcauth argument\."):
        Users(salted=[line])


@pytest.mark.parametrize(
    "header", [None, "", "Basic", "Basic ?", "Bearer abc", "Basic " + base64.b64encode(b"\xff:a").decode()]
)
def test_headers_that_prove_nothing_are_nobody(header: str | None) -> None:
    assert Users({"": ""}).identify(header) is None


def test_with_a_whitelist_users_outside_of_it_may_call_nothing_by_default() -> None:
    users = Users(whitelists=["alice:getblock, getblockcount", "alice:getblock"])
    assert users.may_call("alice", "getblock")
    assert not users.may_call("alice", "getblockcount")
    assert not users.may_call_anything("bob")
    assert not users.may_call("bob", "getblock")
    assert Users(whitelists=["alice:getblock"], whitelist_default=False).may_call("bob", "stop")
    assert Users().may_call("bob", "stop")
