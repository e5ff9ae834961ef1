"""Entry point of a worker: run by path with `python -I`, so that only the folder beside this file is ours."""

import importlib
import sys

if __name__ == "__main__":
    # By name at run time: the package is found beside this file, not as a part of `engine`.
    sys.exit(importlib.import_module("_interlock_host.host").main(sys.argv[1:]))
