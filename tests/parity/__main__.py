"""`python -m tests.parity --scripts 10000 --poller all`: as many random scripts of 30 steps on each poller."""

from __future__ import annotations

import argparse
import sys
import time

from tests.parity.compare import POLLERS, no_holes, search


def main(arguments: list[str] | None = None) -> int:
    """Give 1 if the simulated kernel differs from the real one."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description="The simulated kernel against real loopback sockets.")
    parser.add_argument("--scripts", type=int, default=1000, help="how many scripts on each poller")
    parser.add_argument("--poller", choices=(*POLLERS, "all"), default="all")
    parser.add_argument("--seed", type=int, default=0, help="the first seed; each script has the next")
    options = parser.parse_args(arguments)
    seeds = range(options.seed, options.seed + options.scripts)
    for poller in POLLERS if options.poller == "all" else (options.poller,):
        late: list[int] = []
        began_s = time.process_time()
        with no_holes():
            found = search(seeds, poller, late.append)
        if found is not None:
            print(f"{poller}: seed {found[0]} differs:\n{found[1]}")
            return 1
        took_s = time.process_time() - began_s
        print(f"{poller}: {options.scripts} scripts, seeds {seeds.start} to {seeds.stop - 1}, no difference;"
              f" {took_s:.1f} CPU s; {len(late)} late once", flush=True)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
