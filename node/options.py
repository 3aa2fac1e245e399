"""How options are declared and written: bitcoind's command line style, bitcoin.conf, the environment.

Nothing here knows which options there are: `altyn.node.settings` declares them, in one class.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from altyn.consensus.limits import COIN
from altyn.p2p.upload import parse_bytes

T = TypeVar("T")
MAXIMUM_PORT = 65535
NEGATED = "0"
"""What an option that was negated (`-nolisten`) reads as."""


class SettingsError(Exception):
    """An option that cannot be used; the text is one line, in Core's words where Core has some."""


@dataclass(frozen=True, slots=True)
class Option:
    """One declared option. `parse` turns the text given into the typed value and raises ValueError or SettingsError."""

    name: str
    default: Any
    help: str
    group: str
    parse: Callable[[str], Any]
    value_name: str
    many: bool
    negatable: bool
    network_only: bool
    common: bool

    @property
    def is_flag(self) -> bool:
        """Whether the option stands alone, without a value."""
        return self.parse is parse_bool

    def read(self, text: str) -> Any:
        """Return the typed value of `text`. Raises SettingsError."""
        try:
            return self.parse(text)
        except ValueError:
            problem = _REFUSALS.get(self.parse, "Invalid value for -{}: '{}'")
            raise SettingsError(problem.format(self.name, text)) from None


@dataclass(frozen=True, slots=True)
class _Declaration:
    help: str
    group: str
    parse: Callable[[str], Any] | None
    value_name: str
    many: bool
    negatable: bool
    network_only: bool
    common: bool


def option(
    default: T,
    help: str,  # noqa: A002 - the word that every option library uses
    *,
    group: str,
    parse: Callable[[str], Any] | None = None,
    value_name: str = "",
    negatable: bool = True,
    network_only: bool = False,
    common: bool = False,
) -> T:
    """Declare an option as a field of a dataclass; its name is the field's, with dashes for underscores.

    The annotation says how it is read (bool, int, str, tuple for one that may be repeated) unless `parse` does.
    `network_only` options count in a configuration file only inside the section of their network, main net aside;
    `common` ones appear in the short help.
    """
    made: T = field(
        default=default,
        metadata={
            "option": _Declaration(
                help, group, parse, value_name, isinstance(default, tuple), negatable, network_only, common
            )
        },
    )
    return made


def declared_options(settings: type) -> dict[str, Option]:
    """Return the options that the dataclass `settings` declares, by name, in order."""
    options = {}
    for each in dataclasses.fields(settings):
        declaration: _Declaration | None = each.metadata.get("option")
        if declaration is None:
            continue
        name = each.name.replace("_", "-")
        parse = declaration.parse or _PARSERS.get(type(each.default), str)
        value_name = declaration.value_name or ("" if parse is parse_bool else "n" if parse is int else "value")
        options[name] = Option(
            name,
            each.default,
            declaration.help,
            declaration.group,
            parse,
            value_name,
            declaration.many,
            declaration.negatable,
            declaration.network_only,
            declaration.common,
        )
    return options


def parse_bool(text: str) -> bool:
    """Read a flag: nothing is true, a number is true unless zero. Raises ValueError."""
    return True if text == "" else int(text) != 0


def parse_int(text: str) -> int:
    """Read a whole number; an option without a value, or negated, is zero. Raises ValueError."""
    return int(text) if text else 0


def parse_amount(text: str) -> int:
    """Read decimal coins as satoshis (Core: ParseMoney). Raises ValueError."""
    whole, _, fraction = text.strip().partition(".")
    if not (whole + fraction).isdigit() or not (whole + fraction).isascii() or len(fraction) > 8 or len(whole) > 10:
        raise ValueError(f"not an amount: {text}")
    return int(whole or "0") * COIN + int((fraction or "0").ljust(8, "0"))


def parse_port(text: str) -> int:
    """Read a port; 0 where none is chosen. Raises ValueError."""
    port = parse_int(text)
    if not 0 <= port <= MAXIMUM_PORT:
        raise ValueError(f"not a port: {text}")
    return port


_REFUSALS: dict[Callable[[str], Any], str] = {
    parse_amount: "Invalid amount for -{}=<amount>: '{}'",
    parse_port: "Invalid port specified in -{}: '{}'",
    parse_bytes: "Unable to parse -{}: '{}'",
}
"""Core's words for a text that cannot be read, where it has its own for the kind of value."""
_PARSERS: dict[type, Callable[[str], Any]] = {bool: parse_bool, int: parse_int}


class Layer:
    """What one source says, by option name: the texts in order of precedence, and which options it negates."""

    def __init__(self, known: Collection[str]) -> None:
        self.known = known
        self.values: dict[str, list[str]] = {}
        self.negated: set[str] = set()

    def add(self, key: str, text: str) -> bool:
        """Take one occurrence; `noNAME` negates NAME and forgets what came before. Return whether it is known."""
        name = key
        if key not in self.known:
            name = key.removeprefix("no")
            if name == key or name not in self.known:
                return False
            if text in {"", "1"}:
                self.values.pop(name, None)
                self.negated.add(name)
                return True
            text = "1"  # -nofoo=0 negates twice
        self.values.setdefault(name, []).append(text)
        return True

    def __contains__(self, name: str) -> bool:
        return name in self.values or name in self.negated


def read_arguments(arguments: Sequence[str], known: Collection[str]) -> Layer:
    """Read a command line in bitcoind's style: `-name`, `-name=value`, `-noname`. Raises SettingsError."""
    layer = Layer(known)
    for argument in arguments:
        if not argument.startswith("-") or argument == "-":
            raise SettingsError(
                f"Command line contains unexpected token '{argument}', see altynd -h for a list of options."
            )
        key, _, text = argument.removeprefix("-").removeprefix("-").partition("=")
        if not layer.add(key, text):
            raise SettingsError(f"Error parsing command line arguments: Invalid parameter {argument}")
    return layer


def read_environment(environ: Mapping[str, str], known: Collection[str]) -> Layer:
    """Read the variables ALTYN_RPCPORT and the like, one for each option."""
    layer = Layer(known)
    for name in known:
        text = environ.get("ALTYN_" + name.upper().replace("-", "_"))
        if text is not None:
            layer.add(name, text)
    return layer


@dataclass(slots=True)
class ConfigFile:
    """The lines of a bitcoin.conf by section; "" holds those above the first section. Names keep their spelling."""

    sections: dict[str, list[tuple[str, str]]] = dataclasses.field(default_factory=dict)
    places: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    """The sections that are named, each with the file and the line."""
    warnings: list[str] = dataclasses.field(default_factory=list)

    def read(self, text: str, source: str = "", *, is_included: bool = False) -> None:
        """Add the lines of `text`. Raises SettingsError with the number of a line that makes no sense."""
        section = ""
        for number, line in enumerate(text.splitlines(), start=1):
            code, hash_sign, _ = line.partition("#")
            code = code.strip()
            if not code:
                continue
            if code.startswith("[") and code.endswith("]"):
                section = code[1:-1]
                self.sections.setdefault(section, [])
                self.places.append((section, f"{source}:{number}"))
                continue
            key, equals, value = (part.strip() for part in code.partition("="))
            where = f"Error reading configuration file: parse error on line {number}: {code}"
            if code.startswith("-"):
                raise SettingsError(f"{where}, options in configuration file must be specified without leading -")
            if not equals:
                hint = f", if you intended to specify a negated option, use {code}=1 instead"
                raise SettingsError(where + (hint if code.startswith("no") else ""))
            if key.rpartition(".")[2] == "conf":
                raise SettingsError(
                    "Error reading configuration file: conf cannot be set in the configuration file; "
                    "use includeconf= if you want to include additional config files"
                )
            if key.endswith("rpcpassword") and hash_sign:
                raise SettingsError(
                    f"Error reading configuration file: parse error on line {number}, "
                    "using # in rpcpassword can be ambiguous and should be avoided"
                )
            inner, dot, name = key.partition(".")
            if dot:
                self.places.append((f"{section}.{inner}" if section else inner, f"{source}:{number}"))
            if is_included and key.rpartition(".")[2] == "includeconf":
                self.warnings.append(f"-includeconf cannot be used from included files; ignoring -includeconf={value}")
                continue
            self.sections.setdefault(inner if dot else section, []).append((name if dot else key, value))

    def get(self, name: str, section: str = "") -> list[str]:
        """Return what a section says of an option, without looking at negation."""
        return [value for key, value in self.sections.get(section, []) if key == name]

    def layer(self, section: str, known: Collection[str]) -> tuple[Layer, list[str]]:
        """Return one section as a layer, and the names in it that are not known.

        The first line about an option wins in a file, other than on a command line (Core: reverse precedence).
        """
        layer, unknown = Layer(known), []
        for key, value in self.sections.get(section, []):
            if not layer.add(key, value):
                unknown.append(key)
        for values in layer.values.values():
            values.reverse()
        return layer, unknown


def choose(option: Option, layers: Sequence[Layer]) -> tuple[Any, bool]:
    """Return the typed value of an option and whether any layer sets it; the first layer has the last word.

    A repeatable option gathers what all layers say, up to one that negates it. Raises SettingsError.
    """
    gathered: list[str] = []
    for layer in layers:
        if option.name not in layer:
            continue
        if option.name in layer.negated and not option.negatable:
            raise SettingsError(
                "Error parsing command line arguments: "
                f"Negating of -{option.name} is meaningless and therefore forbidden"
            )
        values = layer.values.get(option.name, [])
        if not option.many:
            return option.read(values[-1] if values else NEGATED), True
        gathered += values
        if option.name in layer.negated:
            return tuple(map(option.read, gathered)), True
    if gathered:
        return tuple(map(option.read, gathered)), True
    return option.default, False


def sample_text(options: Mapping[str, Option]) -> str:
    """Return a configuration file in which every option stands with its help and its default, commented out."""
    lines = [
        "# Configuration of an Altyn node, in bitcoin.conf's form: it lies in the data directory.",
        "# Take away the # before what shall hold. The command line wins over the environment (ALTYN_NAME), and that",
        "# over this file. Options marked * count only in the section of their network, such as [regtest], or [main].",
    ]
    groups = dict.fromkeys(option.group for option in options.values())
    for group in groups:
        lines += ["", f"## {group}", ""]
        for option in options.values():
            if option.group == group and option.name not in {"conf", "includeconf"}:
                lines += [
                    f"# {option.help}{'*' if option.network_only else ''}",
                    f"#{option.name}={_shown(option)}",
                    "",
                ]
    return "\n".join(lines).rstrip()


def _shown(option: Option) -> str:
    default = option.default
    if option.parse is parse_amount:
        return f"{default / COIN:.8f}"
    if isinstance(default, bool):
        return str(int(default))
    return "" if isinstance(default, tuple) else str(default)
