"""The cryptography of the encrypted transport (BIP324): key schedule and ciphers that forget their past."""

import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

REKEY_INTERVAL = 224
"""Packets after which both ciphers of a direction change their keys."""
LENGTH_SIZE = 3
HEADER_SIZE = 1
TAG_SIZE = 16
EXPANSION = LENGTH_SIZE + HEADER_SIZE + TAG_SIZE
"""Bytes of a packet beside its contents."""
TERMINATOR_SIZE = 16
_IGNORE = 0x80
_NONCE = struct.Struct("<IQ")


class LengthCipher:
    """FSChaCha20: one key stream through all chunks of an interval; its next 32 bytes are the key of the next one."""

    def __init__(self, key: bytes) -> None:
        self._epoch = self._chunks = 0
        self._stream = self._start(key)

    def crypt(self, chunk: bytes) -> bytes:
        """Encrypt or decrypt, which is the same."""
        out = self._stream.update(chunk)
        self._chunks += 1
        if self._chunks == REKEY_INTERVAL:
            self._chunks = 0
            self._epoch += 1
            self._stream = self._start(self._stream.update(bytes(32)))
        return out

    def _start(self, key: bytes) -> CipherContext:
        counter_and_nonce = struct.pack("<QQ", 0, self._epoch)
        return Cipher(algorithms.ChaCha20(key, counter_and_nonce), mode=None).encryptor()


class PacketCipher:
    """FSChaCha20Poly1305: a nonce for each packet, and a new key, made by the old one, for each interval."""

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._epoch = self._packets = 0

    def encrypt(self, plain: bytes, aad: bytes) -> bytes:
        """Return the ciphertext and its tag."""
        out = self._aead.encrypt(_NONCE.pack(self._packets, self._epoch), plain, aad)
        self._next()
        return out

    def decrypt(self, sealed: bytes, aad: bytes) -> bytes | None:
        """Return the plain text, None when the tag is wrong: nothing that follows can be read then."""
        try:
            out = self._aead.decrypt(_NONCE.pack(self._packets, self._epoch), sealed, aad)
        except InvalidTag:
            return None
        self._next()
        return out

    def _next(self) -> None:
        self._packets += 1
        if self._packets == REKEY_INTERVAL:
            stream = self._aead.encrypt(_NONCE.pack(0xFFFFFFFF, self._epoch), bytes(32), b"")
            self._aead = ChaCha20Poly1305(stream[:32])
            self._packets = 0
            self._epoch += 1


class Packets:
    """One direction of a session: packets in order, each an encrypted length and an authenticated ciphertext."""

    def __init__(self, length_key: bytes, packet_key: bytes) -> None:
        self._lengths, self._packets = LengthCipher(length_key), PacketCipher(packet_key)

    def seal(self, contents: bytes, *, aad: bytes = b"", ignore: bool = False) -> bytes:
        """Return the next packet, `EXPANSION` bytes longer than `contents`; `ignore` makes it a decoy."""
        length = self._lengths.crypt(len(contents).to_bytes(LENGTH_SIZE, "little"))
        return length + self._packets.encrypt(bytes((_IGNORE if ignore else 0,)) + contents, aad)

    def open_length(self, encrypted: bytes) -> int:
        """Return how many bytes of contents the next packet has, from its first three."""
        return int.from_bytes(self._lengths.crypt(encrypted), "little")

    def open(self, sealed: bytes, *, aad: bytes = b"") -> tuple[bool, bytes] | None:
        """Return whether the packet is a decoy, and its contents, from what follows its length; None if forged."""
        plain = self._packets.decrypt(sealed, aad)
        return None if plain is None else (bool(plain[0] & _IGNORE), plain[HEADER_SIZE:])


@dataclass(frozen=True, slots=True)
class Session:
    """What two peers share. The terminators mark the end of the garbage that each side sends."""

    id: bytes
    sending: Packets
    receiving: Packets
    sending_terminator: bytes
    receiving_terminator: bytes

    @classmethod
    def derive(cls, shared_secret: bytes, magic: bytes, *, initiating: bool) -> "Session":
        """Make all keys of a session, from the 32 bytes that both sides came to and the network's magic."""

        def key(info: bytes) -> bytes:
            return HKDF(SHA256(), 32, b"bitcoin_v2_shared_secret" + magic, info).derive(shared_secret)

        initiator = Packets(key(b"initiator_L"), key(b"initiator_P"))
        responder = Packets(key(b"responder_L"), key(b"responder_P"))
        terminators = key(b"garbage_terminators")
        first, second = terminators[:TERMINATOR_SIZE], terminators[TERMINATOR_SIZE:]
        if initiating:
            return cls(key(b"session_id"), initiator, responder, first, second)
        return cls(key(b"session_id"), responder, initiator, second, first)
