"""The long proofs as commands: `scripts/campaign kills --number 1000`.

Each is a module of this folder with a docstring, `run(args)` and, where there are any,
`options(parser)`; it fails by an exception or by a status that is not 0.
"""

import argparse
import ast
import sys
import time
from importlib import import_module
from pathlib import Path

CAMPAIGNS = (
    "cost",
    "day",
    "days",
    "debian",
    "devices",
    "faults",
    "fuzz",
    "gate",
    "hours",
    "kills",
    "mutations",
    "power-cuts",
    "properties",
    "servers",
    "skewed",
    "stalls",
    "stops",
    "synchronisation",
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/campaign",
        description="The long proofs: how much is lost, how exact, how fast, how much it costs.",
        epilog="\n".join(f"  {name:17} {_headline(name)}" for name in CAMPAIGNS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("campaign", choices=CAMPAIGNS)
    parser.add_argument("options", nargs=argparse.REMAINDER, help="`CAMPAIGN --help` lists them")
    asked = parser.parse_args()
    campaign = import_module(module_of(asked.campaign))
    own = argparse.ArgumentParser(
        prog=f"scripts/campaign {asked.campaign}", description=campaign.__doc__
    )
    getattr(campaign, "options", lambda _: None)(own)
    args = own.parse_args(asked.options)
    began_s = time.monotonic()
    status = campaign.run(args)
    print(f"took {time.monotonic() - began_s:.0f} s")
    return status or 0


def module_of(name: str) -> str:
    return f"{__package__}.{name.replace('-', '_')}"


def _headline(name: str) -> str:
    """Return the first line of a campaign's docstring, without loading what it needs."""
    file = Path(__file__).with_name(f"{name.replace('-', '_')}.py")
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
