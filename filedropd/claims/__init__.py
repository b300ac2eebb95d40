"""The rules of claims: who may have which bytes, and what counts as a copy. No I/O.

Each rule is a function from one :class:`~filedropd.claims.ledger.Ledger` to the next; the records run it in a
transaction and keep what came of it.  ``docs/lifecycle.md`` tells the rules in words, under the same letters:

- :mod:`.asking`: R (recipient), G (order), J (joining), O (opening), F (in flight);
- :mod:`.ending`: C (confirming), D (done);
- :mod:`.elapsing`: W (window), E (ends), X (crash).
"""
