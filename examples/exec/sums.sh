#!/bin/sh
# A task in shell: {"dir": DIR, "out": FILE} writes the lines of sha256sum for the regular files of
# DIR to FILE. After a stop, a crash or a SIGKILL it resumes where it was.
set -eu

# The payload is JSON, on standard input. With jq: dir=$(jq -r .dir). This reads plain strings only.
payload=$(cat)
field() { printf '%s' "$payload" | sed -n 's/.*"'"$1"'" *: *"\([^"\\]*\)".*/\1/p'; }
dir=$(field dir) out=$(field out)
if [ ! -d "$dir" ] || [ -z "$out" ]; then
  echo "the payload must name a directory in dir, and a file in out: $payload" >&2
  exit 65 # in the kind's permanentExitCodes: a retry would not help
fi

# The checkpoint is the number of finished files; part has their lines. Lines that a killed run
# wrote after its last checkpoint are cut off.
done=0
if [ -s "$LASTCALL_CHECKPOINT" ]; then
  done=$(cat "$LASTCALL_CHECKPOINT")
fi
part=$out.$LASTCALL_TASK_ID
touch "$part"
head -n "$done" "$part" >"$part.new" && mv "$part.new" "$part"

# A checkpoint is written to another file and renamed, so that it is complete or does not exist.
save() {
  echo "$done" >"$LASTCALL_CHECKPOINT.new"
  mv "$LASTCALL_CHECKPOINT.new" "$LASTCALL_CHECKPOINT"
}

# On SIGTERM: lastcall saves the checkpoint as it is then, and the next run resumes from it.
trap 'save; exit 1' TERM

total=0
for file in "$dir"/*; do
  [ -f "$file" ] && total=$((total + 1))
done
n=0
for file in "$dir"/*; do
  [ -f "$file" ] || continue
  n=$((n + 1))
  [ "$n" -gt "$done" ] || continue
  sha256sum "$file" >>"$part"
  done=$n
  save
  percent=$((done * 100 / total))
  # Without $(...): SIGTERM goes to all processes of the task, and a subshell that it ends prints
  # nothing.
  printf '::progress %d.%02d %d of %d files\n' $((percent / 100)) $((percent % 100)) "$done" "$total"
done
mv "$part" "$out"
echo "$total files"
