"""Who may call: the cookie of this run, a user and password, salted passwords (`rpcauth`), lists of methods."""

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from altyn.node.options import SettingsError
from altyn.node.settings import Settings

COOKIE_USER = "__cookie__"
_MODES = {"owner": 0o600, "group": 0o640, "all": 0o644}


class Cookie:
    """A password for one run, in a file that only its owner can read: `__cookie__:PASSWORD`."""

    def __init__(self, path: Path, mode: int = 0o600) -> None:
        self.path = path
        self.mode = mode
        self.password = secrets.token_hex(32)

    def write(self) -> None:
        """Put the file in place in one step: a reader finds the whole of it or nothing. Raises OSError."""
        temporary = self.path.with_name(self.path.name + ".tmp")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{COOKIE_USER}:{self.password}")
            os.fchmod(descriptor, self.mode)
        temporary.replace(self.path)

    def remove(self) -> None:
        """Delete the file, unless another run has replaced it."""
        try:
            if self.path.read_text("ascii") == f"{COOKIE_USER}:{self.password}":
                self.path.unlink()
        except FileNotFoundError:
            pass


class Users:
    """Checks Basic credentials against everything that is allowed; in constant time."""

    def __init__(
        self,
        passwords: Mapping[str, str] | None = None,
        salted: Iterable[str] = (),
        whitelists: Iterable[str] = (),
        *,
        whitelist_default: bool = True,
    ) -> None:
        """Take plain passwords by user, `user:salt$hash` lines and `user:method,method` lines. Raises SettingsError."""
        self._passwords = dict(passwords or {})
        self._salted = [_parse_salted(line) for line in salted]
        self._whitelists: dict[str, frozenset[str]] = {}
        self._whitelist_default = False
        for line in whitelists:
            self._whitelist_default = whitelist_default
            user, _, text = line.partition(":")
            names = frozenset(name for name in text.replace(" ", ",").split(",") if name)
            before = self._whitelists.get(user)
            self._whitelists[user] = names if before is None else before & names

    @classmethod
    def from_settings(cls, settings: Settings, cookie: Cookie | None) -> Self:
        """Allow what the settings say, and the cookie if there is one. Raises SettingsError."""
        passwords = {COOKIE_USER: cookie.password} if cookie else {}
        if settings.rpcpassword:
            passwords[settings.rpcuser] = settings.rpcpassword
        salted = filter(None, settings.rpcauth)  # an empty one says nothing
        return cls(passwords, salted, settings.rpcwhitelist, whitelist_default=settings.rpcwhitelistdefault)

    def identify(self, authorization: str | None) -> str | None:
        """Return the user that an `Authorization` header proves to be, None if it proves nothing."""
        scheme, _, encoded = (authorization or "").partition(" ")
        if scheme != "Basic":
            return None
        try:
            user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except ValueError:  # no base64, or no text
            return None
        if not colon:
            return None
        expected = self._passwords.get(user)
        if expected is not None and hmac.compare_digest(expected.encode(), password.encode()):
            return user
        for name, salt, digest in self._salted:
            if name == user:
                computed = hmac.new(salt.encode(), password.encode(), hashlib.sha256).hexdigest()
                if hmac.compare_digest(computed, digest):
                    return user
        return None

    def may_call_anything(self, user: str) -> bool:
        """Whether the user may call at all (Core: rpcwhitelistdefault)."""
        return user in self._whitelists or not self._whitelist_default

    def may_call(self, user: str, method: str) -> bool:
        """Whether the user may call `method`."""
        allowed = self._whitelists.get(user)
        return method in allowed if allowed is not None else not self._whitelist_default


def make_cookie(settings: Settings) -> Cookie | None:
    """Return the cookie of this run, None when a password is configured instead. Raises SettingsError."""
    if settings.rpcpassword or settings.rpccookiefile in {"", "0"}:
        return None
    readers = settings.rpccookieperms
    if readers not in _MODES:
        raise SettingsError(f"Invalid -rpccookieperms={readers}; must be one of 'owner', 'group', or 'all'.")
    return Cookie(settings.path(settings.rpccookiefile), _MODES[readers])


def _parse_salted(line: str) -> tuple[str, str, str]:
    user, colon, rest = line.partition(":")
    salt, dollar, digest = rest.partition("$")
    if not (colon and dollar and user and salt and digest) or ":" in rest or "$" in digest:
        raise SettingsError("Invalid -rpcauth argument.")
    return user, salt, digest
