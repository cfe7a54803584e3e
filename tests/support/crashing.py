"""The operator, made to die at its nth call of the Kubernetes API: `python -m tests.support.crashing N before|after`.

`before`: the call is never sent; `after`: it was answered, and nobody lived to hear it.
"""

from __future__ import annotations

import itertools
import os
import sys
from typing import Any

from packhound.operator.__main__ import main
from packhound.operator.cluster import Cluster

DIED = 77


def arm(at: int, when: str) -> None:
    calls, request = itertools.count(1), Cluster._request

    def dying(self: Cluster, *given: Any) -> Any:
        mine = next(calls) == at
        if mine and when == "before":
            os._exit(DIED)
        try:
            return request(self, *given)
        finally:
            if mine:
                os._exit(DIED)

    Cluster._request = dying  # type: ignore[method-assign]


if __name__ == "__main__":
    arm(int(sys.argv[1]), sys.argv[2])
    sys.exit(main())
