"""The `packhound` command: arguments to calls, errors to exit codes.

Exit codes: 0 ok, 1 a bug, 2 usage, 3 bad input, 4 not permitted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from packhound.console import fleet
from packhound.kit.errors import FAULT, OK, USAGE, Stop

VERSION = "0.1.0"
app = App(name="packhound", version=VERSION, help="Packet hunters: find traffic, keep it, prove that nothing was lost.",
          help_format="plaintext", result_action="return_value")  # fmt: skip
filters_app = App(name="filter", help="Look at HuntFilters.", help_format="plaintext", result_action="return_value")
app.command(filters_app)

Read = Annotated[list[str] | None, Parameter(name=["--read", "-r"], consume_multiple=True,
                                             help="Capture files (pcap, pcapng, gz, zst); - is stdin.")]  # fmt: skip
Json = Annotated[bool, Parameter(name="--json", negative="", help="Results as JSON.")]
Config = Annotated[Path | None, Parameter(name="--config", help="Settings file (TOML or YAML).")]
ShowProgress = Annotated[bool | None, Parameter(name="--progress", help="Progress on standard error.")]
Out = Annotated[Path | None, Parameter(name="--out", help="Folder of recordings and tables.")]


def _flags(**given: tuple[str, str, Any]) -> dict[str, tuple[str, Any]]:
    return {key: (flag, value) for key, flag, value in given.values()}


@app.command
def run(
    *,
    read: Read = None,
    interface: Annotated[list[str] | None, Parameter(name=["--interface", "-i"], help="Interface, or any.")] = None,
    filter: Annotated[list[Path] | None, Parameter(name=["--filter", "-f"], consume_multiple=True,
                                                   help="HuntFilter files or folders; watched.")] = None,
    out: Out = None,
    duration: Annotated[float | None, Parameter(help="Stop after so many seconds.")] = None,
    count: Annotated[int | None, Parameter(help="Stop after so many packets.")] = None,
    snaplen: Annotated[int | None, Parameter(help="Bytes captured of a packet.")] = None,
    bpf: Annotated[str | None, Parameter(help="pcap-filter expression: what is captured at all.")] = None,
    names: Annotated[bool | None, Parameter(help="Host names on all flows, not only on matched ones.")] = None,
    kernel: Annotated[str | None, Parameter(help="auto, native or portable.")] = None,
    config: Config = None,
    print_config: Annotated[bool, Parameter(negative="", help="Show every setting and where it came from.")] = False,
    progress: ShowProgress = None,
    json: Json = False,
) -> int:  # fmt: skip
    """Hunt on a capture or a live interface.

    For example:

      packhound run -r capture.pcapng -f filters/ --out out
      packhound run -i eth0 -f alice.yaml --duration 60
      packhound run -i any -f filters/ --bpf 'not port 22' --json

    """
    from packhound.run import capture, options

    settings = options.read(config, _flags(
        a=("output.out", "--out", str(out) if out else None), b=("capture.duration", "--duration", duration),
        c=("capture.count", "--count", count), d=("capture.snaplen", "--snaplen", snaplen),
        e=("capture.bpf", "--bpf", bpf), f=("flows.names", "--names", names), g=("capture.kernel", "--kernel", kernel),
    ))  # fmt: skip
    if print_config:
        return _print_config(settings, json=json)
    return capture.run(read or (), interface or (), filter or (), settings.value, json=json, progress=progress)


@app.command
def inspect(
    *,
    read: Read = None,
    kind: Annotated[str | None, Parameter(help="Only these kinds, with commas: flow, sip, tls, dns, http, ...")] = None,
    bpf: Annotated[str | None, Parameter(help="pcap-filter expression: what is read at all.")] = None,
    count: Annotated[int | None, Parameter(help="Stop after so many packets.")] = None,
    kernel: Annotated[str | None, Parameter(help="auto, native or portable.")] = None,
    config: Config = None,
    progress: ShowProgress = None,
    json: Json = True,
) -> int:
    """Print every flow and every dissected message of a capture, one JSON object a line.

    For example:

      packhound inspect -r capture.pcap --kind flow
      packhound inspect -r a.pcap b.pcap.gz --kind tls,dns

    """
    from packhound.run import capture, options

    del json  # the only form there is
    settings = options.read(config, _flags(
        a=("capture.bpf", "--bpf", bpf), b=("capture.count", "--count", count), c=("capture.kernel", "--kernel", kernel)
    ))  # fmt: skip
    return capture.inspect(read or (), kind, settings.value, progress=progress)


@app.command
def interfaces(*, json: Json = False) -> int:
    """List the interfaces of this machine and whether they can be captured.

    For example:

      packhound interfaces --json

    """
    from packhound.run import capture

    return capture.interfaces(json=json)


@app.command
def replay(
    *,
    read: Read = None,
    interface: Annotated[str, Parameter(name=["--interface", "-i"], help="Interface to play onto.")],
    speed: Annotated[float, Parameter(help="1 is the capture's own pace, 2 twice as fast.")] = 1.0,
    topspeed: Annotated[bool, Parameter(negative="", help="As fast as the interface takes it.")] = False,
    progress: ShowProgress = None,
    json: Json = False,
) -> int:
    """Play a capture onto an interface, at its own pace or another.

    For example:

      packhound replay -r capture.pcap -i veth0 --speed 10

    """
    from packhound.kit.errors import Usage
    from packhound.run import capture

    if not read:
        raise Usage("replay needs -r FILE")
    if not topspeed and not 0 < speed <= 1_000_000:
        raise Usage(f"--speed {speed} is not a pace; for no pauses at all use --topspeed")
    return capture.replay(read, interface, speed=None if topspeed else speed, json=json, progress=progress)


@app.command
def query(
    sql: str,
    *,
    out: Out = None,
    limit: Annotated[int, Parameter(help="Most rows.")] = 10_000,
    json: Json = False,
) -> int:
    """Ask the tables of a run: flows, calls, messages, alerts. One SELECT in DuckDB's SQL.

    For example:

      packhound query --out out 'SELECT "ip.src", count(*) FROM flows GROUP BY 1 ORDER BY 2 DESC'

    """
    from packhound.run import stored

    return stored.query(sql, out or Path("packhound-out"), limit=limit, json=json)


@app.command
def calls(*, out: Out = None, limit: Annotated[int, Parameter(help="Most rows.")] = 10_000, json: Json = False) -> int:
    """List the calls of a run.

    For example:

      packhound calls --out out --json

    """
    from packhound.run import stored

    return stored.calls(out or Path("packhound-out"), limit=limit, json=json)


@app.command
def demo(
    *, out: Annotated[Path, Parameter(help="Where results go.")] = Path("packhound-demo"), json: Json = False
) -> int:
    """Hunt a SIP user and a TLS server name in the captures of examples/.

    For example:

      packhound demo

    """
    from packhound.run import demonstration

    return demonstration.demo(out, json=json)


@app.command
def version(*, json: Json = False) -> int:
    """Print the version and which kernel runs here.

    For example:

      packhound version --json

    """
    from packhound.run import show
    from packhound.run.capture import available

    found = {"version": VERSION, "kernel": available(), "python": sys.version.split()[0]}
    said = "packhound {version}, {kernel} kernel, Python {python}".format_map(found)
    show.line(show.as_json(found) if json else said)
    return OK


@filters_app.command(name="check")
def filter_check(files: list[Path], /, *, json: Json = False) -> int:
    """Check HuntFilters and explain what is decided in the kernel, in the engine and on fields.

    For example:

      packhound filter check filters/*.yaml

    """
    from packhound.run import stored

    return stored.check(files, json=json)


fleet.register(app, filters_app)


def _print_config(settings: Any, *, json: bool) -> int:
    from packhound.run import show

    if json:
        show.line(show.as_json({row.key: {"value": row.value, "from": row.origin} for row in settings.rows()}))
    else:
        show.table([(row.key, row.value, row.origin) for row in settings.rows()], ("SETTING", "VALUE", "FROM"))
    return OK


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(command(sys.argv[1:] if arguments is None else arguments))


def command(arguments: list[str]) -> int:
    """Run one command line; the exit code. Errors are one line on standard error that says what to do."""
    from packhound.run import TapError
    from packhound.run.show import complain

    try:
        result = app(list(map(_named, arguments)), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        complain(f"{error}; see packhound --help")
        return USAGE
    except Stop as stop:
        complain(stop.reason)
        for note in stop.notes:
            complain(note)
        return stop.exit_code
    except TapError as error:
        complain(str(error))
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return 130
    return result if isinstance(result, int) else OK if result is None else FAULT


def _named(argument: str) -> str:
    """Standard input by its path: the parser takes a lone hyphen for an option."""
    return "/dev/stdin" if argument == "-" else argument


if __name__ == "__main__":
    main()
