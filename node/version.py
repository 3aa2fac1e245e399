"""What this software calls itself."""

from collections.abc import Sequence
from importlib.metadata import version

VERSION = version("altyn")


def user_agent(comments: Sequence[str] = ()) -> str:
    """Return the name by which peers know us, such as "/Altyn:0.1.0(comment; other)/" (BIP14)."""
    remarks = f"({'; '.join(comments)})" if comments else ""
    return f"/Altyn:{VERSION}{remarks}/"
