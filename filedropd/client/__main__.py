"""``python -m filedropd.client``, where the command is not installed."""

from filedropd.client.command import main

main(prog_name="filedrop")
