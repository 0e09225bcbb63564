#!/usr/bin/env python3
"""A task in Python: {"dir": DIR, "out": FILE} writes the lines of sha256sum for the regular files of
DIR to FILE. After a stop, a crash or a SIGKILL it resumes where it was."""

import hashlib
import json
import os
import signal
import sys

stopping = False


def on_sigterm(signum, frame):
    global stopping
    stopping = True  # the loop below ends at its next safe place


def save(checkpoint):
    """A checkpoint is written to another file and renamed, so that it is complete or does not exist."""
    path = os.environ["LASTCALL_CHECKPOINT"]
    with open(path + ".new", "w") as f:
        json.dump(checkpoint, f)
    os.replace(path + ".new", path)


def load():
    """Returns the checkpoint of the last run; the first run starts from zero."""
    try:
        with open(os.environ["LASTCALL_CHECKPOINT"]) as f:
            return json.load(f)
    except FileNotFoundError:
        return {"done": 0, "size": 0}


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(f.read()).hexdigest()


def main():
    signal.signal(signal.SIGTERM, on_sigterm)
    payload = json.load(sys.stdin)
    if not os.path.isdir(payload.get("dir", "")) or not payload.get("out"):
        print("the payload must name a directory in dir, and a file in out:", payload, file=sys.stderr)
        return 65  # in the kind's permanentExitCodes: a retry would not help

    files = sorted(os.path.join(payload["dir"], name) for name in os.listdir(payload["dir"]))
    files = [path for path in files if os.path.isfile(path)]
    at = load()
    part = payload["out"] + "." + os.environ["LASTCALL_TASK_ID"]
    with open(part, "ab") as out:
        out.truncate(at["size"])  # drops what a killed run wrote after its last checkpoint
        for path in files[at["done"]:]:
            out.write(f"{digest(path)}  {path}\n".encode())
            out.flush()
            at = {"done": at["done"] + 1, "size": out.tell()}
            save(at)
            print(f"::progress {at['done'] / len(files):.3f} {at['done']} of {len(files)} files", flush=True)
            if stopping:
                return 1  # after SIGTERM any code means "interrupted"; the next run resumes
    os.replace(part, payload["out"])
    print(len(files), "files")
    return 0


sys.exit(main())
