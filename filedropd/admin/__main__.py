"""``python -m filedropd.admin``, where the command is not installed."""

from filedropd.admin.commands import main

main(prog_name="filedropd-admin")
