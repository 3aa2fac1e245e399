"""The networks: everything that makes one chain differ from another, as one frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from altyn.consensus.block import Block, Header
from altyn.consensus.encoding import var_bytes
from altyn.consensus.hashes import sha256d
from altyn.consensus.limits import COIN, COINBASE_MATURITY
from altyn.consensus.merkle import merkle_root
from altyn.consensus.script.flags import NONE, P2SH, WITNESS
from altyn.consensus.transaction import NULL_OUTPOINT, Transaction, TxIn, TxOut

ALWAYS_ACTIVE = -1
NEVER_ACTIVE = -2
NO_TIMEOUT = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class VersionBitsDeployment:
    """A soft fork that miners signal (BIP9): the bit, median times in seconds, and how much of a window must signal.

    `start_time` may be ALWAYS_ACTIVE or NEVER_ACTIVE, `timeout` NO_TIMEOUT.
    """

    name: str
    bit: int
    start_time: int
    timeout: int
    window: int
    threshold: int
    min_activation_height: int = 0


@dataclass(frozen=True, slots=True)
class TrustedSnapshot:
    """Unspent outputs at a block, whose hash was worked out by many: they may be used before they are proved."""

    height: int
    block_hash: bytes
    coins_hash: bytes
    """Of all coins (Core: hash_serialized_3)."""
    chain_tx_count: int
    """Transactions from genesis to that block."""


@dataclass(frozen=True, slots=True)
class Network:
    """One chain. Hashes are 32 bytes in internal order, times in seconds, amounts in satoshis."""

    name: str
    """Our name; also in NETWORKS under `chain`, Core's name in RPC."""
    chain: str
    folder: str
    """Below the data directory."""

    magic: bytes
    port: int
    rpc_port: int
    genesis: Block
    pow_limit: int
    """The easiest target."""

    bip34_height: int
    bip65_height: int
    bip66_height: int
    csv_height: int
    segwit_height: int
    bip34_hash: bytes | None = None
    """The block at `bip34_height`: on its chain no coinbase repeats a txid for long, so BIP30 needs no check."""
    version_bits: tuple[VersionBitsDeployment, ...] = ()
    unknown_rules_height: int = 0
    """Signals of deployments that are not listed mean something from here on: those before are of buried ones."""
    script_flag_exceptions: Mapping[bytes, int] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    """Flags of single blocks that break later rules, by block hash."""
    bip30_exceptions: Mapping[int, bytes] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    """Blocks, by height, whose coinbase repeated an unspent one."""

    pow_hash: str = "sha256d"
    difficulty_rule: str = "bitcoin"
    target_spacing: int = 600
    target_timespan: int = 14 * 24 * 3600
    allow_min_difficulty_blocks: bool = False
    """A block 20 minutes (two spacings) after its parent may have the easiest target."""
    no_retargeting: bool = False
    enforce_bip94: bool = False
    halving_interval: int = 210_000
    initial_subsidy: int = 50 * COIN
    coinbase_maturity: int = COINBASE_MATURITY

    minimum_chain_work: int = 0
    assume_valid: bytes | None = None
    """Scripts of this block's ancestors need no check."""
    snapshots: tuple[TrustedSnapshot, ...] = ()
    """Lowest first; no others are loaded (Core: m_assumeutxo_data)."""
    signet_challenge: bytes | None = None
    prune_after_height: int = 1000
    """Height from which on old blocks may be removed."""
    known_transactions: tuple[int, int, float] = (0, 0, 0.0)
    """A time, the transactions up to it, and those per second since: to guess how far synchronisation is."""

    pubkey_prefix: int = 111
    script_prefix: int = 196
    secret_prefix: int = 239
    ext_public_prefix: bytes = bytes.fromhex("043587cf")
    ext_secret_prefix: bytes = bytes.fromhex("04358394")
    bech32_hrp: str = "tb"
    dns_seeds: tuple[str, ...] = ()
    is_test_chain: bool = True
    is_mockable: bool = False
    """Whether its clock may be set by RPC."""

    @property
    def retarget_interval(self) -> int:
        """Blocks between two adjustments of the difficulty."""
        return self.target_timespan // self.target_spacing

    def __str__(self) -> str:
        return self.name


def _hash(displayed: str) -> bytes:
    return bytes.fromhex(displayed)[::-1]


def genesis_block(
    time: int,
    nonce: int,
    bits: int,
    *,
    text: bytes = b"The Times 03/Jan/2009 Chancellor on brink of second bailout for banks",
    script_pubkey: bytes = bytes.fromhex(
        "4104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb6"
        "49f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac"
    ),
    subsidy: int = 50 * COIN,
) -> Block:
    """Build a first block the way Bitcoin's was: 0x1d00ffff, the number 4 and `text` in the coinbase."""
    push = bytes([len(text)]) if len(text) <= 75 else bytes([0x4C, len(text)])
    script_sig = bytes.fromhex("04ffff001d0104") + push + text
    coinbase = Transaction(1, [TxIn(NULL_OUTPOINT, script_sig)], [TxOut(subsidy, script_pubkey)])
    return Block(Header(1, bytes(32), merkle_root([coinbase.txid]), time, bits, nonce), [coinbase])


def _version_bits(
    taproot: tuple[int, int, int] = (ALWAYS_ACTIVE, NO_TIMEOUT, 0),
    *,
    window: int = 2016,
    threshold: int = 1512,
    dummy_start: int = NEVER_ACTIVE,
) -> tuple[VersionBitsDeployment, ...]:
    start, timeout, height = taproot
    return (
        VersionBitsDeployment("testdummy", 28, dummy_start, NO_TIMEOUT, window, threshold),
        VersionBitsDeployment("taproot", 2, start, timeout, window, threshold, height),
    )


MAINNET = Network(
    name="mainnet",
    chain="main",
    folder="",
    magic=bytes.fromhex("f9beb4d9"),
    port=8333,
    rpc_port=8332,
    genesis=genesis_block(1231006505, 2083236893, 0x1D00FFFF),
    pow_limit=(1 << 224) - 1,
    bip34_height=227_931,
    bip34_hash=_hash("000000000000024b89b42a942fe0d9fea3bb44ab7bd1b19115dd6a759c0808b8"),
    bip65_height=388_381,
    bip66_height=363_725,
    csv_height=419_328,
    segwit_height=481_824,
    version_bits=_version_bits((1619222400, 1628640000, 709_632), threshold=1815),
    unknown_rules_height=483_840,
    script_flag_exceptions=MappingProxyType(
        {
            _hash("00000000000002dc756eebf4f49723ed8d30cc28a5f108eb94b1ba88ac4f9c22"): NONE,  # breaks BIP16
            # breaks taproot
            _hash("0000000000000000000f14c35b2d841e986ab5441de8c585d5ffe55ea1e395ad"): P2SH | WITNESS,
        }
    ),
    bip30_exceptions=MappingProxyType(
        {
            91_842: _hash("00000000000a4d0a398161ffc163c503763b1f4360639393e0e4c8e300e0caec"),
            91_880: _hash("00000000000743f190a18c5577a3c2d2a1f610ae9601ac046a38084ccb7cd721"),
        }
    ),
    minimum_chain_work=0x1128750F82F4C366153A3A030,
    prune_after_height=100_000,
    assume_valid=_hash("00000000000000000000ccebd6d74d9194d8dcdc1d177c478e094bfad51ba5ac"),
    snapshots=(
        TrustedSnapshot(
            840_000,
            _hash("0000000000000000000320283a032748cef8227873ff4872689bf23f1cda83a5"),
            _hash("a2a5521b1b5ab65f67818e5e8eccabb7171a517f9e2382208f77687310768f96"),
            991_032_194,
        ),
    ),
    known_transactions=(1723649144, 1_059_312_821, 6.721086701157182),
    pubkey_prefix=0,
    script_prefix=5,
    secret_prefix=128,
    ext_public_prefix=bytes.fromhex("0488b21e"),
    ext_secret_prefix=bytes.fromhex("0488ade4"),
    bech32_hrp="bc",
    dns_seeds=(
        "seed.bitcoin.sipa.be.",
        "dnsseed.bluematt.me.",
        "seed.bitcoin.jonasschnelli.ch.",
        "seed.btc.petertodd.net.",
        "seed.bitcoin.sprovoost.nl.",
        "dnsseed.emzy.de.",
        "seed.bitcoin.wiz.biz.",
        "seed.mainnet.achownodes.xyz.",
    ),
    is_test_chain=False,
)

TESTNET3 = Network(
    name="testnet3",
    chain="test",
    folder="testnet3",
    magic=bytes.fromhex("0b110907"),
    port=18333,
    rpc_port=18332,
    genesis=genesis_block(1296688602, 414098458, 0x1D00FFFF),
    pow_limit=(1 << 224) - 1,
    bip34_height=21_111,
    bip34_hash=_hash("0000000023b3a96d3484e5abb3755c413e7d41500f8e2a5c3f0dd01299cd8ef8"),
    bip65_height=581_885,
    bip66_height=330_776,
    csv_height=770_112,
    segwit_height=834_624,
    version_bits=_version_bits((1619222400, 1628640000, 0)),
    unknown_rules_height=836_640,
    script_flag_exceptions=MappingProxyType(
        {_hash("00000000dd30457c001f4095d208cc1296b0eed002427aa599874af7a432b105"): NONE}  # breaks BIP16
    ),
    allow_min_difficulty_blocks=True,
    minimum_chain_work=0x17DDE1C649F3708D14B6,
    assume_valid=_hash("000000007a61e4230b28ac5cb6b5e5a0130de37ac1faf2f8987d2fa6505b67f4"),
    snapshots=(
        TrustedSnapshot(
            2_500_000,
            _hash("0000000000000093bcb68c03a9a168ae252572d348a2eaeba2cdf9231d73206f"),
            _hash("f841584909f68e47897952345234e37fcd9128cd818f41ee6c3ca68db8071be7"),
            66_484_552,
        ),
    ),
    known_transactions=(1723613341, 187_917_082, 3.265051477698455),
    dns_seeds=(
        "testnet-seed.bitcoin.jonasschnelli.ch.",
        "seed.tbtc.petertodd.net.",
        "seed.testnet.bitcoin.sprovoost.nl.",
        "testnet-seed.bluematt.me.",
        "seed.testnet.achownodes.xyz.",
    ),
)

TESTNET4 = Network(
    name="testnet4",
    chain="testnet4",
    folder="testnet4",
    magic=bytes.fromhex("1c163f28"),
    port=48333,
    rpc_port=48332,
    genesis=genesis_block(
        1714777860,
        393743547,
        0x1D00FFFF,
        text=b"03/May/2024 000000000000000000001ebd58c244970b3aa9d783bb001011fbe8ea8e98e00e",
        script_pubkey=b"\x21" + bytes(33) + b"\xac",
    ),
    pow_limit=(1 << 224) - 1,
    bip34_height=1,
    bip65_height=1,
    bip66_height=1,
    csv_height=1,
    segwit_height=1,
    version_bits=_version_bits(),
    difficulty_rule="testnet4",
    allow_min_difficulty_blocks=True,
    enforce_bip94=True,
    minimum_chain_work=0x9A0FE15D0177D086304,
    assume_valid=_hash("0000000002368b1e4ee27e2e85676ae6f9f9e69579b29093e9a82c170bf7cf8a"),
    known_transactions=(1723651702, 757_229, 0.01570402633472492),
    dns_seeds=("seed.testnet4.bitcoin.sprovoost.nl.", "seed.testnet4.wiz.biz."),
)


def signet_magic(challenge: bytes) -> bytes:
    """Return the message start of the signet with this block challenge (BIP325)."""
    return sha256d(var_bytes(challenge))[:4]


_SIGNET_CHALLENGE = bytes.fromhex(
    "512103ad5e0edad18cb1f0fc0d28a3d4f1f3e445640337489abb10404f2d1e086be430"
    "210359ef5021964fe22d6f8e05b2463c9540ce96883fe3b278760f048f5189f2e6c452ae"
)

SIGNET = Network(
    name="signet",
    chain="signet",
    folder="signet",
    magic=signet_magic(_SIGNET_CHALLENGE),
    port=38333,
    rpc_port=38332,
    genesis=genesis_block(1598918400, 52613770, 0x1E0377AE),
    pow_limit=0x377AE << 216,
    bip34_height=1,
    bip65_height=1,
    bip66_height=1,
    csv_height=1,
    segwit_height=1,
    version_bits=_version_bits(threshold=1815),
    minimum_chain_work=0xB463EA0A4B8,
    assume_valid=_hash("00000008414aab61092ef93f1aacc54cf9e9f16af29ddad493b908a01ff5c329"),
    snapshots=(
        TrustedSnapshot(
            160_000,
            _hash("0000003ca3c99aff040f2563c2ad8f8ec88bd0fd6b8f0895cfaf1ef90353a62c"),
            _hash("fe0a44309b74d6b5883d246cb419c6221bcccf0b308c9b59b7d70783dbdf928a"),
            2_289_496,
        ),
    ),
    signet_challenge=_SIGNET_CHALLENGE,
    known_transactions=(1723655233, 5_507_045, 0.06271073277261494),
    dns_seeds=("seed.signet.bitcoin.sprovoost.nl.", "seed.signet.achownodes.xyz."),
)

REGTEST = Network(
    name="regtest",
    chain="regtest",
    folder="regtest",
    magic=bytes.fromhex("fabfb5da"),
    port=18444,
    rpc_port=18443,
    genesis=genesis_block(1296688602, 2, 0x207FFFFF),
    pow_limit=(1 << 255) - 1,
    bip34_height=1,
    bip65_height=1,
    bip66_height=1,
    csv_height=1,
    segwit_height=0,
    version_bits=_version_bits(window=144, threshold=108, dummy_start=0),
    target_timespan=24 * 3600,
    allow_min_difficulty_blocks=True,
    no_retargeting=True,
    enforce_bip94=True,  # as Core 28 does; later versions ask for it by option
    halving_interval=150,
    snapshots=(
        TrustedSnapshot(
            110,
            _hash("696e92821f65549c7ee134edceeeeaaa4105647a3c4fd9f298c0aec0ab50425c"),
            _hash("6657b736d4fe4db0cbc796789e812d5dba7f5c143764b1b6905612f1830609d1"),
            111,
        ),
        TrustedSnapshot(
            200,
            _hash("5e93653318f294fb5aa339d00bbf8cf1c3515488ad99412c37608b139ea63b27"),
            _hash("4f34d431c3e482f6b0d67b64609ece3964dc8d7976d02ac68dd7c9c1421738f2"),
            201,
        ),
        TrustedSnapshot(
            299,
            _hash("3bb7ce5eba0be48939b7a521ac1ba9316afee2c7bada3a0cca24188e6d7d96c0"),
            _hash("a4bf3407ccb2cc0145c49ebba8fa91199f8a3903daf0883875941497d2493c27"),
            334,
        ),
    ),
    bech32_hrp="bcrt",
    dns_seeds=("dummySeed.invalid.",),
    is_mockable=True,
)

_BUILT_IN = (MAINNET, TESTNET3, TESTNET4, SIGNET, REGTEST)
NETWORKS: Mapping[str, Network] = MappingProxyType(
    {network.name: network for network in _BUILT_IN} | {network.chain: network for network in _BUILT_IN}
)
"""The built-in networks, by our name and by Core's chain name."""


def custom_signet(challenge: bytes) -> Network:
    """Return the signet whose blocks must satisfy `challenge`: its own magic, no assumptions about its history."""
    return replace(
        SIGNET,
        signet_challenge=challenge,
        magic=signet_magic(challenge),
        minimum_chain_work=0,
        assume_valid=None,
        snapshots=(),
        known_transactions=(0, 0, 0.0),
        dns_seeds=(),
    )
