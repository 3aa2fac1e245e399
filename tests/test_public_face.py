"""What `import altyn` offers, and what it costs."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import altyn
from altyn.consensus.networks import Network
from altyn.node.light.node import LightNode
from altyn.wallet.wallet import Wallet


def test_the_face_shows_what_the_rooms_hold() -> None:
    assert {name: getattr(altyn, name) for name in altyn.__all__} == {
        "LightNode": LightNode,
        "Network": Network,
        "Wallet": Wallet,
        "__version__": version("altyn"),
    }
    assert set(altyn.__all__) <= set(dir(altyn))


def test_importing_altyn_imports_no_room() -> None:
    program = "import sys, altyn; print([name for name in sys.modules if name.startswith('altyn.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_name_that_is_not_there_is_missed_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'altyn' has no attribute 'Walet'"):
        altyn.Walet  # noqa: B018 - looking is the test
    assert not hasattr(altyn, "Walet")
