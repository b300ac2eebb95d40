"""Doubles in memory, for our tests and for those of whoever builds on filedropd.

They keep the same promises as what they stand for, and pass the same suites (``tests/contracts``).
"""

from filedropd.testing.blobs import Faults, MemoryBlobs
from filedropd.testing.records import MemoryRecords
from filedropd.testing.responses import Response, parse_responses
from filedropd.testing.wire import Wire, request

__all__ = ["Faults", "MemoryBlobs", "MemoryRecords", "Response", "Wire", "parse_responses", "request"]
