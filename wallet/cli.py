"""`altyn-wallet`: the wallet on the command line."""

import json
import os
import sys
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from altyn.consensus.limits import COIN, MAX_MONEY
from altyn.wallet.builder import format_coins
from altyn.wallet.errors import NodeError, WalletError
from altyn.wallet.keychain import GAP_LIMIT, KINDS
from altyn.wallet.options import (
    Options,
    ask_passphrase,
    backend_of,
    first_line,
    group_options,
    network_of,
    open_wallet,
    own_command,
    path_of,
    take_options,
    with_options,
)
from altyn.wallet.scan import Progress
from altyn.wallet.statement import HistoryEntry, Payment
from altyn.wallet.wallet import Wallet
from altyn.wallet.words import LANGUAGES


class Coins(click.ParamType[int]):
    """An amount in coins, as satoshis: "0.5" is 50,000,000. `all` is -1."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if value == "all":
            return -1
        try:
            satoshis = Decimal(value) * COIN
            if satoshis.is_finite() and satoshis == int(satoshis) and 0 < satoshis <= MAX_MONEY:
                return int(satoshis)
        except InvalidOperation:
            pass
        return self.fail(
            f"{value!r} is no amount of coins: use a number such as 0.5, with at most 8 decimals", param, ctx
        )


class SatPerVbyte(click.ParamType[int]):
    """A feerate in sat/vB with up to three decimals, as satoshis per 1000 vbytes."""

    name = "sat/vB"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            rate = Decimal(value) * 1000
            if rate.is_finite() and rate == int(rate) and rate > 0:
                return int(rate)
        except InvalidOperation:
            pass
        return self.fail(f"{value!r} is no feerate: use satoshis per vbyte, such as 2 or 1.5", param, ctx)


class Group(click.Group):
    """Turns what the wallet refuses into one line on stderr and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except WalletError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="altyn")
@group_options
def main(**given: Any) -> None:
    """Keep coins and pay with them, through any node with compact filters.

    The node may be Altyn's full or light node, or bitcoind with -blockfilterindex=1.

    \b
    altyn-wallet create                         make a wallet, write down its words
    altyn-wallet address                        get an address to be paid at
    altyn-wallet balance                        see what there is
    altyn-wallet send bcrt1q... 0.5             pay
    altyn-wallet --testnet default --wallet bob balance     use a local network
    """
    click.get_current_context().obj = take_options(given)


# Showing


def _print(options: Options, data: dict[str, Any], text: str) -> None:
    click.echo(json.dumps(data) if options.as_json else text)


def _progress(options: Options) -> Progress:
    """Show how far a scan is, on a terminal and only when it takes a while."""

    def show(first: int, height: int, tip: int) -> None:
        if height - first < 1_000 and tip - first < 1_000:
            return
        share = (height - first + 1) / (tip - first + 1)
        click.echo(f"\rscanned to block {height} of {tip} ({share:.0%})", nl=height == tip, err=True)

    return show if sys.stderr.isatty() and not options.as_json else lambda first, height, tip: None


def _sync(wallet: Wallet, options: Options, *, may_fail: bool = False) -> bool:
    """Follow the chain; where the answer is worth something without, say that it may be old."""
    try:
        wallet.sync(_progress(options))
    except NodeError as error:
        if not may_fail or wallet.height < 0:
            raise
        click.echo(f"Not up to date, this is what was known at block {wallet.height}: {error}", err=True)
        return False
    return True


# The commands


_birthday_help = "Blocks below this height are not looked at"
_extension_option = click.option(
    "--extension", is_flag=True, help="Ask for an extra BIP39 passphrase, which belongs to the words."
)


def _extension(asked: bool) -> str:
    if not asked:
        return os.environ.get("ALTYN_WALLET_EXTENSION", "")
    return str(click.prompt("Extra BIP39 passphrase", hide_input=True, confirmation_prompt=True, err=True))


@main.command()
@click.option(
    "--words", "word_count", type=click.Choice(["12", "15", "18", "21", "24"]), default="12", show_default=True
)
@click.option("--language", type=click.Choice(LANGUAGES), default="english", show_default=True, help="Of the words.")
@click.option("--birthday", type=click.IntRange(min=0), help=f"{_birthday_help}; the node's tip if left out.")
@_extension_option
@with_options
def create(options: Options, word_count: str, language: str, birthday: int | None, extension: bool) -> None:
    """Make a new wallet and show its recovery words, this once.

    \b
    altyn-wallet create
    altyn-wallet create --wallet savings --words 24
    """
    _warn_of_mainnet(options)
    passphrase = ask_passphrase(options, new=True)
    wallet, words = Wallet.create(
        path_of(options),
        network_of(options),
        passphrase,
        backend_of(options) if birthday is None else None,
        word_count=int(word_count),
        language=language,
        extension=_extension(extension),
        birthday=birthday,
    )
    with wallet:
        info = wallet.info()
    path, born = info["path"], info["birthday"]
    _print(
        options,
        {"wallet": options.wallet, "path": path, "network": options.network, "birthday": born, "words": words},
        f"Made {path}.\n\nWrite down these words, in order. Whoever has them has the money:\n\n    {words}\n\n"
        f"Birthday: block {born}. Get an address with: {own_command(options, 'address')}",
    )


@main.command()
@click.option("--words-file", type=click.Path(dir_okay=False, path_type=Path), help="The words, instead of a prompt.")
@click.option("--birthday", type=click.IntRange(min=0), default=0, show_default=True, help=f"{_birthday_help}.")
@_extension_option
@with_options
def restore(options: Options, words_file: Path | None, birthday: int, extension: bool) -> None:
    """Make a wallet from recovery words and look for its money.

    \b
    altyn-wallet restore --birthday 840000
    altyn-wallet restore --words-file words.txt --wallet again
    """
    _warn_of_mainnet(options)
    words = first_line(words_file) if words_file else os.environ.get("ALTYN_WALLET_WORDS", "")
    if not words:
        if not sys.stdin.isatty():
            raise WalletError("no recovery words: name a file with --words-file, or set ALTYN_WALLET_WORDS")
        words = click.prompt("Recovery words", hide_input=True, err=True)
    passphrase = ask_passphrase(options, new=True)
    wallet = Wallet.restore(
        path_of(options),
        network_of(options),
        passphrase,
        words,
        backend_of(options),
        extension=_extension(extension),
        birthday=birthday,
    )
    with wallet:
        complete = _sync_restored(wallet, options)
        balance, path = wallet.balance(), wallet.info()["path"]
    data = {"wallet": options.wallet, "path": path, "network": options.network, "birthday": birthday}
    _print(
        options,
        {**data, "height": balance.height, "total_sat": balance.total, "complete": complete},
        f"Restored {path}: {format_coins(balance.total)} coins as of block {balance.height}.",
    )


def _sync_restored(wallet: Wallet, options: Options) -> bool:
    try:
        wallet.sync(_progress(options))
    except NodeError as error:
        click.echo(f"The wallet is restored, but not scanned yet: {error}", err=True)
        return False
    return True


@main.command()
@click.option(
    "--type", "kind", type=click.Choice(list(KINDS)), default="bech32", show_default=True, help="bech32m: taproot."
)
@with_options
def address(options: Options, kind: str) -> None:
    """Get a fresh address to be paid at.

    \b
    altyn-wallet address
    altyn-wallet address --type bech32m
    """
    with open_wallet(options) as wallet:
        fresh = wallet.address(kind)
        unused = wallet.unused_addresses(kind)
    if unused > GAP_LIMIT:
        click.echo(
            f"The last {unused} addresses were not paid: a wallet restored from the words looks no further than "
            f"{GAP_LIMIT}. Use older ones first.",
            err=True,
        )
    _print(options, {"address": fresh, "type": kind, "network": options.network}, fresh)


@main.command()
@with_options
def balance(options: Options) -> None:
    """Show what there is, after following the chain to its tip.

    \b
    altyn-wallet balance
    altyn-wallet balance --json
    """
    with open_wallet(options) as wallet:
        current = _sync(wallet, options, may_fail=True)
        found = wallet.balance()
    data = {
        "confirmed_sat": found.confirmed,
        "pending_sat": found.pending,
        "immature_sat": found.immature,
        "spendable_sat": found.spendable,
        "total_sat": found.total,
        "height": found.height,
        "up_to_date": current,
    }
    lines = [f"{format_coins(found.total)} coins as of block {found.height}"]
    if found.pending:
        lines.append(f"{format_coins(found.pending)} of it not in a block yet")
    if found.immature:
        lines.append(f"{format_coins(found.immature)} of it mined, not spendable yet")
    _print(options, data, "\n".join(lines))


@main.command()
@click.argument("address")
@click.argument("amount", type=Coins())
@click.option("--feerate", type=SatPerVbyte(), help="sat/vB; asked of the node when left out.")
@click.option(
    "--change", type=click.Choice(list(KINDS)), default="bech32", show_default=True, help="Address of the change."
)
@click.option(
    "--replaceable/--final", default=True, show_default=True, help="Whether its fee may be raised later (BIP125)."
)
@click.option("--dry-run", is_flag=True, help="Build and sign, but do not send.")
@with_options
def send(
    options: Options, address: str, amount: int, feerate: int | None, change: str, replaceable: bool, dry_run: bool
) -> None:
    """Pay AMOUNT coins to ADDRESS; `all` sends everything, less the fee.

    \b
    altyn-wallet send bcrt1q... 0.5
    altyn-wallet send bcrt1q... 0.5 --feerate 2
    altyn-wallet send bcrt1q... all --dry-run
    """
    _warn_of_mainnet(options)
    with open_wallet(options) as wallet:
        passphrase = ask_passphrase(options)
        _sync(wallet, options)
        payment = wallet.send(
            [(address, None if amount < 0 else amount)],
            passphrase,
            feerate=feerate,
            change_kind=change,
            replaceable=replaceable,
            dry_run=dry_run,
        )
    if payment.feerate.source == "fallback":
        rate = payment.feerate.per_kvb / 1000
        click.echo(
            f"The node has no fee estimate, so {rate:g} sat/vB is paid; choose another with --feerate.", err=True
        )
    verb = "Sent" if payment.is_sent else "Not sent"
    fee = f"fee {payment.fee} satoshis ({payment.fee / payment.transaction.vsize:.2f} sat/vB)"
    text = f"{verb}: {format_coins(payment.amount)} coins, {fee}\n{payment.txid}"
    _print(options, _payment_json(payment), text if payment.is_sent else f"{text}\n{payment.transaction.raw.hex()}")


def _payment_json(payment: Payment) -> dict[str, Any]:
    return {
        "txid": payment.txid,
        "amount_sat": payment.amount,
        "fee_sat": payment.fee,
        "change_sat": payment.change,
        "vsize": payment.transaction.vsize,
        "feerate_sat_vb": payment.feerate.per_kvb / 1000,
        "feerate_source": payment.feerate.source,
        "sent": payment.is_sent,
        "hex": payment.transaction.raw.hex(),
    }


@main.command()
@click.option("--count", type=click.IntRange(min=1), help="Only the last so many.")
@with_options
def history(options: Options, count: int | None) -> None:
    """List payments and receipts, oldest first.

    \b
    altyn-wallet history
    altyn-wallet history --count 10 --json
    """
    with open_wallet(options) as wallet:
        current = _sync(wallet, options, may_fail=True)
        entries, height = wallet.history(), wallet.height
    entries = entries[-count:] if count else entries
    data = {"transactions": [_entry_json(entry) for entry in entries], "height": height, "up_to_date": current}
    _print(options, data, "\n".join(map(_entry_text, entries)) or "Nothing yet.")


def _entry_json(entry: HistoryEntry) -> dict[str, Any]:
    return {
        "txid": entry.txid,
        "state": str(entry.state),
        "reason": entry.reason,
        "amount_sat": entry.amount,
        "fee_sat": entry.fee,
        "height": entry.height,
        "confirmations": entry.confirmations,
        "time": entry.time,
        "coinbase": entry.is_coinbase,
        "addresses": list(entry.addresses),
    }


def _entry_text(entry: HistoryEntry) -> str:
    state = f"block {entry.height}" if entry.height is not None else str(entry.state)
    reason = f"  ({entry.reason})" if entry.reason else ""
    when = datetime.fromtimestamp(entry.time).astimezone().strftime("%Y-%m-%d %H:%M")
    return f"{when}  {format_coins(entry.amount):>17}  {state:<12}  {entry.txid}{reason}"


@main.command()
@with_options
def info(options: Options) -> None:
    """Show where the wallet lies, its descriptors and how far it has looked; no secrets.

    \b
    altyn-wallet info --json
    """
    with Wallet.open(path_of(options), network_of(options)) as wallet:
        facts = wallet.info()
    lines = [f"{name}: {value}" for name, value in facts.items() if name != "descriptors"]
    lines += [
        f"{each['type']}{' change' if each['change'] else ''}: {each['descriptor']}" for each in facts["descriptors"]
    ]
    _print(options, {"wallet": options.wallet, **facts}, "\n".join(lines))


def _warn_of_mainnet(options: Options) -> None:
    if network_of(options).name == "mainnet":
        click.echo("Altyn is unaudited: on the main network use it for money you can afford to lose.", err=True)


if __name__ == "__main__":
    main()
