"""The command line of ``filedrop``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click
from click.shell_completion import get_completion_class

from filedropd.client.commands import exits, settings
from filedropd.client.commands.drops import list_, revoke, status
from filedropd.client.commands.entering import Commands
from filedropd.client.commands.get import get
from filedropd.client.commands.put import put
from filedropd.client.commands.usage import Misuse
from filedropd.client.errors import Local
from filedropd.client.version import VERSION

#: What the help and the manual say at their end.
EPILOG: Final = f"""\
\b
Exit status:
{exits.told()}

\b
Environment:
  FILEDROP_SERVER    where put leaves files
  FILEDROP_PASSWORD  the password, for put and get
  FILEDROP_CA        as --ca
  FILEDROP_CONFIG    the configuration file
  SSL_CERT_FILE      authorities to trust, in place of the system's
  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY
                     proxies, and servers to be reached without

\b
Files:
  $XDG_CONFIG_HOME/filedrop/config.toml
                     server, ca, expires, downloads: what need not be said each time
  $XDG_STATE_HOME/filedrop/drops.json
                     what was left from this machine; nobody else can read it
  NAME.part, NAME.part.claim
                     a file while it comes in, and what it takes to go on with it
"""


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=EPILOG
)
@click.version_option(VERSION, prog_name="filedrop")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="FILEDROP_CONFIG",
    metavar="FILE",
    help="The configuration file [FILEDROP_CONFIG; $XDG_CONFIG_HOME/filedrop/config.toml].",
)
@click.pass_context
def main(context: click.Context, config: Path | None) -> None:
    """Leave files for others to fetch once, and fetch what was left for you.

    A file is left with a filedropd, which hands it over once (or as often as you say), and then it is gone.

    \b
    Examples:
      export FILEDROP_SERVER=https://drop.example
      filedrop put report.pdf
      filedrop get https://drop.example/api/v1.0/file/5c0f...
      filedrop list
    """
    try:
        found = settings.load(config or settings.place(os.environ), required=config is not None)
    except Local as error:
        raise Misuse(error.detail, context) from error
    context.default_map = dict.fromkeys(main.commands, found)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete filedrop's words.

    \b
    Examples:
      filedrop completion bash > ~/.local/share/bash-completion/completions/filedrop
      filedrop completion fish > ~/.config/fish/completions/filedrop.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise Misuse(f"{shell} is not supported by this version of click.")
    click.echo(kind(main, {}, "filedrop", "_FILEDROP_COMPLETE").source())


for _command in (put, get, list_, status, revoke, completion):
    main.add_command(_command)

if __name__ == "__main__":
    main(prog_name="filedrop")
