"""Submits jobs to the engine with a user's kit, past the coordinator's service, and prints how each ended.

Arguments: the user, the kit, HOSPITAL,HOSPITAL,... and the jobs.
"""

from __future__ import annotations

import json
import sys
import time

from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

PATIENCE = 240.0


def connected(user: str, kit: str, hospitals: set[str], end: float) -> Session:
    """A session, once all hospitals are there."""
    while True:
        try:
            session = new_secure_session(user, kit, timeout=5.0)
            while {c.name for c in session.get_system_info().client_info} != hospitals and time.monotonic() < end:
                time.sleep(0.5)
            return session
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def main(user: str, kit: str, hospitals: str, *jobs: str) -> None:
    """Submit, wait, print."""
    end = time.monotonic() + PATIENCE
    session = connected(user, kit, set(hospitals.split(",")), end)
    said = {session.submit_job(job): "" for job in jobs}
    while time.monotonic() < end:
        said = {handle: str(session.get_job_meta(handle)["status"]) for handle in said}
        if all(status.startswith(("FINISHED", "FAILED", "ABORTED")) for status in said.values()):
            break
        time.sleep(0.5)
    session.close()
    print("\n" + json.dumps(said), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
