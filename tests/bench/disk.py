"""What this disk allows: append 200 bytes and wait until they are durable, again and again.

No engine that promises to lose nothing can take more steps one after another than this.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

RECORD = b"x" * 199 + b"\n"


def appends_per_s(folder: Path, appends: int) -> float:
    """Append and `fdatasync` one record at a time."""
    path = folder / "disk-limit"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        start = time.perf_counter()
        for _ in range(appends):
            os.write(handle, RECORD)
            os.fdatasync(handle)
        return appends / (time.perf_counter() - start)
    finally:
        os.close(handle)
        path.unlink()


def main() -> int:
    """Measure in the folder in which the engines keep their files."""
    appends = 300 if "--quick" in sys.argv else 3000
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        rate = appends_per_s(Path(folder), appends)
    print(json.dumps({"bench": "disk", "steps": appends, "steps_per_s": round(rate, 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
