"""What the wallet refuses, as one line that says what to do.

WalletError
├── NodeError             the node's answer is an error, or makes no sense
│   ├── NodeUnreachable   no answer: it is away, or refuses the credentials
│   └── Rejected          it refused a transaction
├── StoreError            the wallet file is missing, damaged, locked, or of another program
├── WrongPassphrase
└── NotEnoughMoney
"""


class WalletError(Exception):
    """Something was refused or failed; the message is one line and says what to do."""


class NodeError(WalletError):
    """The node answered with an error, or with something that cannot be true. `code` is the JSON-RPC error code."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class NodeUnreachable(NodeError):
    """The node does not answer, or refuses the credentials."""


class Rejected(NodeError):
    """The node refused a transaction; the message is its reject reason."""


class StoreError(WalletError):
    """The wallet file is missing, damaged, in use, or not a wallet of this program."""


class WrongPassphrase(WalletError):
    """The passphrase does not open the secrets."""


class NotEnoughMoney(WalletError):
    """The spendable coins do not cover the payment and its fee."""
