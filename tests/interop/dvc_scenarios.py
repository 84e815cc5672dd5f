"""Runs scenarios with the real dvc, in one process: importing dvc takes longer than all of them.

A JSON list of {"cwd": folder, "steps": [[argument, ...], ...]} comes on stdin, where `rm PATH` removes one; for each a list of exit codes goes to stdout.
"""

import contextlib
import io
import json
import os
import shutil
import sys

from dvc.cli import main

codes = []
for scenario in json.load(sys.stdin):
    os.chdir(scenario["cwd"])
    codes.append([])
    for step in scenario["steps"]:
        if step[0] == "rm":
            shutil.rmtree(step[1]) if os.path.isdir(step[1]) else os.unlink(step[1])
            continue
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            codes[-1].append(main(step))
print(json.dumps(codes), file=sys.__stdout__)
