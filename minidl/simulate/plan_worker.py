"""One of the processes that learn: ``python -m minidl.simulate.plan_worker``, for ``plan_runs.py``.

Reads a plan and a folder from the first line of standard input, and a case from every other; writes
the curve, and answers with lines of JSON: how far it is, that it is done, or a mistake.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import parallel  # noqa: F401  (first: it starts MPI)
from ..errors import UserError
from ..threads import use_threads
from .plan import Case, Plan
from .plan_folder import path_of, save
from .work import work_of

EVERY = 1.0  # seconds between two lines


def main() -> None:
    """Learn until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks ends this one
    requests, answers = sys.stdin.buffer, os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer

    def say(**what: Any) -> None:
        os.write(answers, json.dumps(what).encode() + b"\n")

    asked = requests.readline()
    try:
        try:
            if asked:  # else the process that asks has ended
                learn_all(json.loads(asked), requests, say)
        except UserError as error:
            say(mistake=str(error))
    except BrokenPipeError:  # the process that asks was killed: nobody listens
        sys.exit(1)


def learn_all(asked: dict[str, Any], requests: Any, say: Callable[..., None]) -> None:
    """Learn a case for every request."""
    use_threads(1)
    plan, folder = Plan.from_json(asked["plan"]), Path(asked["folder"])
    model, dataset = plan.open()
    model.measure_on(dataset.dataset, lambda line: None)
    work = work_of(plan.model, plan.options)
    for request in requests:
        case, said = Case(*json.loads(request)), 0.0

        def tell(share: float, loss: float) -> None:
            nonlocal said
            if time.monotonic() - said > EVERY:
                said = time.monotonic()
                say(share=share, loss=loss, done=False)

        learnt = plan.learning(case, model, dataset, work).run(tell)
        save(path_of(folder, case), learnt)
        say(share=1.0, loss=float(learnt.losses[-1]), done=True)


if __name__ == "__main__":
    main()
