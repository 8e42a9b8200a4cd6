"""The header of a file of systemd's journal.

Source:
    https://systemd.io/JOURNAL_FILE_FORMAT/#header
"""

from __future__ import annotations

import struct
from typing import NamedTuple

#: Later than all times that are some [us since 1970].
NEVER = 1 << 55
#: State of a file that is being written; of one that nobody will write again.
ONLINE, ARCHIVED = 1, 2
_SIGNATURE = b"LPKSHHRH"
#: Flags of what a reader must know: three ways to compress, keyed hashes, offsets in 32 bits.
_KNOWN = 0b11111
#: Of the header, as much as is read [bytes].
_LAYOUT = struct.Struct("<8s2IB7x16s16s16s16s15Q")
SIZE = _LAYOUT.size


class Header(NamedTuple):
    """What stands there. Tables and arrays are offsets; times are in microseconds since 1970."""

    signature: bytes
    compatible: int
    incompatible: int
    state: int
    file_id: bytes
    machine_id: bytes
    boot_id: bytes
    seqnum_id: bytes
    size: int
    arena: int
    data_hash_table: int
    data_hash_table_size: int
    field_hash_table: int
    field_hash_table_size: int
    tail_object: int
    objects: int
    entries: int
    tail_seqnum: int
    head_seqnum: int
    entry_array: int
    first: int
    last: int
    tail_monotonic: int

    @property
    def unknown(self) -> int:
        """Flags of a format that is newer than what is known here; 0: it can be read."""
        return self.incompatible & ~_KNOWN

    @classmethod
    def of(cls, head: bytes) -> Header | None:
        """Out of a file's first bytes; None: it is no journal, or they are too few."""
        whole = len(head) >= SIZE and head.startswith(_SIGNATURE)
        return cls(*_LAYOUT.unpack_from(head)) if whole else None
