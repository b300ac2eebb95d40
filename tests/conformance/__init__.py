"""A conformance suite for one-time file drops: black box, over HTTP, for any server with a small adapter.

    python -m tests.conformance                             a filedropd of its own
    python -m tests.conformance --adapter filedropd-nginx   one on PostgreSQL and Redis, behind nginx
    python -m tests.conformance --url http://127.0.0.1:8002 a server that runs
    python -m tests.conformance --list                      what is looked at

:mod:`.adapters` says how files are left on a server, :mod:`.stacks` starts it as in production, and
:mod:`.limits` says what it cannot keep there; :mod:`.wire` is the client; each theme (:mod:`.parallel`,
:mod:`.looking`, …) has the cases, :mod:`.catalogue` all of them.  Everything goes over
loopback: 127.0.0.1, 127.0.0.2 and 127.0.0.3 are three recipients.
"""
