"""The log: Core's lines and categories in `debug.log`, and on standard output if asked for. Never on standard error."""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from logging.handlers import RotatingFileHandler
from math import log2
from pathlib import Path
from typing import TextIO

from altyn.node.chain.tree import Entry
from altyn.node.events import TipChanged
from altyn.node.options import SettingsError
from altyn.node.settings import Settings

log = logging.getLogger(__name__)

_CATEGORY_NAMES = """
net tor mempool http bench zmq walletdb rpc estimatefee addrman selectcoins reindex cmpctblock rand prune proxy
mempoolrej libevent coindb qt leveldb validation i2p ipc lock blockstorage txreconciliation scan txpackages
"""
_CATEGORIES = frozenset(_CATEGORY_NAMES.split())
_LOGGERS = {
    "altyn.p2p": "net",
    "altyn.node.sync.refused": "mempoolrej",
    "altyn.node.sync": "net",
    "altyn.node.light": "net",
    "altyn.node.mempool": "mempool",
    "altyn.node.rpc": "rpc",
    "altyn.node.chain": "validation",
    "altyn.node.storage": "blockstorage",
    "aiohttp": "http",
    "asyncio": "libevent",
}
"""What the loggers of our rooms, and all below them, are called in Core."""
_LARGEST_KEPT, _KEPT = 11_000_000, 10_000_000
_ALL = frozenset({"", "1", "all"})
_NONE = frozenset({"0", "none"})


class CoreFormatter(logging.Formatter):
    """Lines as Core writes them: the time in UTC, and for debug messages their category."""

    def __init__(self, *, times: bool = True, microseconds: bool = False, threads: bool = False) -> None:
        super().__init__()
        self._times, self._microseconds, self._threads = times, microseconds, threads

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        category = _category(record.name) if record.levelno <= logging.DEBUG else ""
        if record.levelno >= logging.WARNING and record.levelname.lower() not in text[:9].lower():
            category = f"{category}:{record.levelname.lower()}".removeprefix(":")
        words = [
            _time(record, microseconds=self._microseconds) if self._times else "",
            f"[{record.threadName}]" if self._threads else "",
            f"[{category}]" if category else "",
            text,
        ]
        return " ".join(filter(None, words))


class ConsoleFormatter(logging.Formatter):
    """Lines for a person: the local time of day and the message."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {record.getMessage()}"
        return text + "\n" + self.formatException(record.exc_info) if record.exc_info else text


class JsonFormatter(logging.Formatter):
    """A JSON object a line, for machines: time (UTC), level, category, message, and thread if asked for."""

    def __init__(self, *, threads: bool = False) -> None:
        super().__init__()
        self._threads = threads

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _time(record, microseconds=True),
            "level": record.levelname.lower(),
            "category": _category(record.name) or "all",
            "message": record.getMessage(),
        }
        if self._threads:
            fields["thread"] = str(record.threadName)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


class _StandardOutput(logging.StreamHandler[TextIO]):
    """Lines go to what standard output is at the moment: bars that stand there let them pass above."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


class _LogFile(RotatingFileHandler):
    """A log that cannot be written, as on a full disk, says so once on standard error; the node goes on."""

    _has_failed = False

    def reopen(self) -> None:
        """Go on in a new file of the same name: something has moved this one away."""
        with self.lock or nullcontext():
            if self.stream is not None:
                self.stream.close()
            self.stream = self._open()

    def handleError(self, record: logging.LogRecord | None) -> None:  # noqa: N802 - logging's name
        del record
        if not self._has_failed:
            self._has_failed = True
            print(f"Error: {self.baseFilename} cannot be written: {sys.exception()}", file=sys.stderr)

    def close(self) -> None:
        try:
            super().close()
        except OSError:  # lines that found no space before
            self.handleError(None)


class LogCategories:
    """Which debug messages are logged, and into which file; may change while the node runs."""

    def __init__(self, shown: frozenset[str] = frozenset(), file: _LogFile | None = None) -> None:
        """`shown` as `chosen_categories` gives it."""
        self._shown = shown
        self._file = file

    def reopen(self) -> None:
        """Open the log file anew, for whoever moves logs away (Core: SIGHUP)."""
        if self._file is not None:
            self._file.reopen()

    def includes(self, name: str) -> bool:
        """Whether messages of a category are logged."""
        return name in self._shown

    def states(self) -> dict[str, bool]:
        """Return for every category of Core whether it is logged."""
        return {name: name in self._shown for name in sorted(_CATEGORIES)}

    def change(self, name: str, *, shown: bool) -> None:
        """Log a category, "all" for every one, from now on or no more. Raises KeyError for an unknown name."""
        if name not in _CATEGORIES | _ALL:
            raise KeyError(name)
        names = {*_CATEGORIES, ""} if name in _ALL else {name}
        self._shown = self._shown | names if shown else self._shown - names
        if self._shown:
            logging.getLogger().setLevel(logging.DEBUG)


@contextmanager
def logging_to(settings: Settings, *, for_people: bool = False) -> Iterator[LogCategories]:
    """Send the log where the settings say, and hand out what governs its debug messages; then close it.

    `for_people` shortens what goes to standard output. Raises SettingsError.
    """
    shown = chosen_categories(settings)
    formatter: logging.Formatter = CoreFormatter(
        times=settings.logtimestamps, microseconds=settings.logtimemicros, threads=settings.logthreadnames
    )
    if settings.logformat == "json":
        formatter = JsonFormatter(threads=settings.logthreadnames)
    file = None
    handlers: list[logging.Handler] = [logging.NullHandler()]
    if settings.debuglogfile != "0":
        path = settings.path(settings.debuglogfile)
        if settings.shrinkdebugfile and not shown:
            _shrink(path)
        try:
            size = settings.logfilesize * 1_000_000
            file = _LogFile(path, maxBytes=size, backupCount=3, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise SettingsError(f"Could not open debug log file {path}") from error
        handlers.append(file)
    categories = LogCategories(shown, file)
    if settings.printtoconsole:
        handlers.append(_StandardOutput(sys.stdout))
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(lambda record: _is_shown(record, categories))
    if for_people and settings.printtoconsole and settings.logformat != "json":
        handlers[-1].setFormatter(ConsoleFormatter())
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG if shown else logging.INFO)
    logging.captureWarnings(True)
    for handler in handlers:
        root.addHandler(handler)
    try:
        yield categories
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
        logging.captureWarnings(False)
        root.setLevel(before)


def chosen_categories(settings: Settings) -> frozenset[str]:
    """Return the categories whose debug messages are logged; "" among them stands for those that Core has not."""
    shown: set[str] = set()
    for name in settings.debug:
        if name in _ALL:
            shown |= {*_CATEGORIES, ""}
        elif name in _NONE:
            shown.clear()
        elif name in _CATEGORIES:
            shown.add(name)
        else:
            raise SettingsError(f"Unsupported logging category -debug={name}.")
    for name in settings.debugexclude:
        if name not in _CATEGORIES | _ALL | _NONE:
            raise SettingsError(f"Unsupported logging category -debugexclude={name}.")
        shown -= shown if name in _ALL else {name}
    return frozenset(shown)


def log_start(settings: Settings, version: str, arguments: list[str]) -> None:
    """Write the first lines of a run; values that are secret are left out."""
    log.info("Altyn version %s", version)
    for argument in arguments:
        name, equals, value = argument.lstrip("-").partition("=")
        secret = name in {"rpcpassword", "rpcauth", "rpcuser"}
        log.info('Command-line arg: %s="%s"', name, "****" if secret and equals else value)
    for text in settings.warnings:
        log.info("%s", text)
    log.info("Using data directory %s", settings.folder)
    if not settings.network.is_test_chain:
        log.warning("Altyn is unaudited: do not trust it with money that you cannot lose.")


class TipLog:
    """Writes a line for every new tip, as Core's UpdateTip does; `remarks` says what to warn of there."""

    def __init__(self, remarks: Callable[[Entry], Sequence[str]] = lambda entry: ()) -> None:
        self._remarks = remarks

    def __call__(self, event: object) -> None:
        """Receive an event."""
        if isinstance(event, TipChanged):
            self.line(event.new)

    def line(self, entry: Entry) -> None:
        """Write the line for `entry`."""
        remarks = ", ".join(self._remarks(entry))
        log.info(
            "UpdateTip: new best=%s height=%d version=0x%08x log2_work=%f tx=%d date='%s'%s",
            entry.hash[::-1].hex(),
            entry.height,
            entry.header.version & 0xFFFFFFFF,
            log2(entry.chain_work),
            entry.chain_tx_count,
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.time)),
            f" warning='{remarks}'" if remarks else "",
        )


def _time(record: logging.LogRecord, *, microseconds: bool) -> str:
    fraction = f".{int(record.created % 1 * 1_000_000):06d}" if microseconds else ""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + fraction + "Z"


def _category(logger: str) -> str:
    for prefix, category in _LOGGERS.items():
        if logger == prefix or logger.startswith(prefix + "."):
            return category
    return ""


def _is_shown(record: logging.LogRecord, categories: LogCategories) -> bool:
    return record.levelno >= logging.INFO or categories.includes(_category(record.name))


def _shrink(path: Path) -> None:
    """Keep the last part of a long log (Core: ShrinkDebugFile)."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return
    if size <= _LARGEST_KEPT:
        return
    with path.open("rb") as file:
        file.seek(size - _KEPT)
        tail = file.read()
    path.write_bytes(tail.partition(b"\n")[2])
