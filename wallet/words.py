"""Recovery words (BIP39): a wallet's entropy as words a person can write down."""

import unicodedata
from functools import cache

from mnemonic import Mnemonic

from altyn.wallet.errors import WalletError

LANGUAGES = (
    "english",
    "japanese",
    "korean",
    "spanish",
    "chinese_simplified",
    "chinese_traditional",
    "french",
    "italian",
    "czech",
    "portuguese",
)
"""The word lists of BIP39. English first: it is the one every wallet reads."""
_ENTROPY_SIZES = {12: 16, 15: 20, 18: 24, 21: 28, 24: 32}


@cache
def _word_list(language: str) -> Mnemonic:
    return Mnemonic(language)


def entropy_size(word_count: int) -> int:
    """Return the bytes of entropy that make so many words. Raises WalletError."""
    try:
        return _ENTROPY_SIZES[word_count]
    except KeyError:
        raise WalletError(f"recovery words are 12, 15, 18, 21 or 24, not {word_count}") from None


def from_entropy(entropy: bytes, language: str = "english") -> str:
    """Write 16, 20, 24, 28 or 32 bytes of entropy as 12 to 24 words."""
    words: str = _word_list(language).to_mnemonic(entropy)
    return words


def to_entropy(words: str, language: str | None = None) -> bytes:
    """Read words back to entropy; the language is found out when left out.

    Raises WalletError that says which word is unknown, or that the checksum is wrong.
    """
    normal = normalize(words)
    count = len(normal.split(" "))
    if count not in _ENTROPY_SIZES:
        raise WalletError(f"recovery words are 12, 15, 18, 21 or 24, not {count}")
    languages = [language] if language else detect_languages(normal)
    for name in languages:
        try:
            return bytes(_word_list(name).to_entropy(normal.split(" ")))
        except (ValueError, LookupError):  # the wrong checksum, in this language
            continue
    raise WalletError("the recovery words do not fit together (wrong checksum): check each word and their order")


def detect_languages(words: str) -> list[str]:
    """Return the languages that have all of the words; the Chinese lists share some. Raises WalletError if none."""
    unknown: str | None = None
    fitting = []
    for language in LANGUAGES:
        listed = {normalize(word) for word in _word_list(language).wordlist}
        missing = [number for number, word in enumerate(normalize(words).split(" "), 1) if word not in listed]
        if not missing:
            fitting.append(language)
        elif language == "english" and unknown is None:
            unknown = f"word {missing[0]}"
    if not fitting:
        raise WalletError(f"the recovery words are not from one BIP39 list: {unknown} is not an English one")
    return fitting


def to_seed(words: str, passphrase: str = "") -> bytes:
    """Return the 64-byte seed that words and an optional extra passphrase lead to; the words are not checked."""
    seed: bytes = Mnemonic.to_seed(normalize(words), passphrase)
    return seed


def normalize(words: str) -> str:
    """Bring words to the form that is hashed: NFKD, small letters, one space between."""
    return " ".join(unicodedata.normalize("NFKD", words).lower().split())
