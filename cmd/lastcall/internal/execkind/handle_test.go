package execkind

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/task"
)

func TestProgram_FindsItsPayloadAndWhoItIs(t *testing.T) {
	f := newFixture(t, `
		cat; echo; cmp "$LASTCALL_PAYLOAD_FILE" /dev/stdin </dev/stdin || :
		echo "file $(cat "$LASTCALL_PAYLOAD_FILE")"
		echo "$0 $1 in $(pwd) kind $LASTCALL_KIND run $LASTCALL_RUN task $LASTCALL_TASK_ID fence $LASTCALL_FENCE level $LEVEL"
		[ -e "$LASTCALL_CHECKPOINT" ] || echo no checkpoint
		[ -e "$LASTCALL_STOP_FILE" ] || echo no stop
		touch "$TMPDIR/left behind"; mktemp -d >/dev/null
		env | sort | cut -d= -f1 | tr '\n' ' '`)
	f.kind.Argv = append(f.kind.Argv, "two words")
	f.kind.Env = append(f.kind.Env, "LEVEL=high", "LASTCALL_KIND=another")
	id := f.enqueue(`{"a": "ü"}`)
	f.serve(time.Minute)
	got := f.ends(id)
	want(t, got, task.StatusSucceeded, "", 0, 0, 0, "")
	for _, line := range []string{
		`{"a": "ü"}`, `file {"a": "ü"}`, "no checkpoint", "no stop",
		fmt.Sprintf("name two words in %s kind k run 1 task %s fence %d level high", f.dir, id, got.Run),
		"LASTCALL_CHECKPOINT LASTCALL_FENCE LASTCALL_KIND LASTCALL_PAYLOAD_FILE LASTCALL_RUN LASTCALL_STOP_FILE LASTCALL_TASK_ID LEVEL PATH PWD TMPDIR",
	} {
		if !strings.Contains(f.output(id), line+"\n") && !strings.Contains(f.output(id), line+" \n") {
			t.Errorf("%q is missing in\n%s", line, f.output(id))
		}
	}
	f.tidy()
}

func TestExit_DecidesWhatBecomesOfTheTask(t *testing.T) {
	for name, c := range map[string]struct {
		script                           string
		status                           task.Status
		attempts, interruptions, crashes int
		text                             string
	}{
		"success":    {"exit 0", task.StatusSucceeded, 0, 0, 0, ""},
		"a failure":  {"echo first >&2; echo the disk is full >&2; echo; exit 3", task.StatusFailed, 1, 0, 0, "exit code 3, its last words: the disk is full"},
		"permanent":  {"exit 64", task.StatusFailed, 1, 0, 0, "exit code 64, which is permanent"},
		"a signal":   {"kill -SEGV $$", task.StatusFailed, 1, 0, 0, "ended by signal 11 (segmentation fault)"},
		"SIGTERM":    {"kill -TERM $$", task.StatusFailed, 1, 0, 0, "ended by signal 15 (terminated)"},
		"SIGKILL":    {"kill -KILL $$", task.StatusFailed, 0, 0, 2, "2 crashes without a new checkpoint, the last one: ended by signal 9 (killed), which was not lastcall's"},
		"in a shell": {"exit 137", task.StatusFailed, 1, 0, 0, "a shell says so when what it ran was killed by signal 9"},
		"not now":    {`[ "$LASTCALL_RUN" = 3 ] || exit 75`, task.StatusSucceeded, 0, 0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, c.script)
			f.kind.MaxCrashes, f.kind.Permanent = 2, []int{64, 65}
			id := f.enqueue("{}")
			f.serve(time.Minute)
			want(t, f.ends(id), c.status, "", c.attempts, c.interruptions, c.crashes, c.text)
			f.stop()
		})
	}
}

func TestCheckpoint_IsGivenBackByteForByteOnTheNextRun(t *testing.T) {
	f := newFixture(t, `
		case $LASTCALL_RUN in
		1) printf '{"at": 1}\n\n' > "$LASTCALL_CHECKPOINT"; exit 1;;
		2) printf '{"at": 1}\n\n' | cmp - "$LASTCALL_CHECKPOINT" || exit 64
		   printf 'a\377\000b' > "$LASTCALL_CHECKPOINT"; exit 1;;
		3) printf 'a\377\000b' | cmp - "$LASTCALL_CHECKPOINT" || exit 64
		   rm "$LASTCALL_CHECKPOINT"; exit 1;;
		4) printf 'a\377\000b' | cmp - "$LASTCALL_CHECKPOINT" || exit 64
		   : > "$LASTCALL_CHECKPOINT"; exit 1;;
		5) printf 'a\377\000b' | cmp - "$LASTCALL_CHECKPOINT" || exit 64
		esac`)
	f.kind.MaxAttempts, f.kind.Permanent = 5, []int{64}
	id := f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.ends(id), task.StatusSucceeded, "", 4, 0, 0, "")
	f.stop()
}

func TestCheckpoint_AndTheProgressAreKeptWhileTheProgramRuns(t *testing.T) {
	f := newFixture(t, `
		echo '::progress 0.42 half of a thing'
		echo 1 > "$LASTCALL_CHECKPOINT.new"; mv "$LASTCALL_CHECKPOINT.new" "$LASTCALL_CHECKPOINT"
		until [ -e go ]; do sleep 0.02; done
		echo 2 > "$LASTCALL_CHECKPOINT"
		while :; do sleep 0.02; done`)
	id := f.enqueue("{}")
	f.reserve = 3 * time.Second
	f.serve(4 * time.Second)
	got := f.reaches(id, "at checkpoint 1", func(t task.Task) bool { return string(t.Checkpoint) == `{"text":"1\n"}` })
	if got.Status != task.StatusRunning {
		t.Errorf("%+v", got)
	}
	got = f.reaches(id, "in progress", func(t task.Task) bool { return t.Progress.Fraction > 0 })
	if got.Progress.Fraction != 0.42 || got.Progress.Message != "half of a thing" {
		t.Errorf("progress %+v", got.Progress)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f.reaches(id, "at checkpoint 2", func(t task.Task) bool { return string(t.Checkpoint) == `{"text":"2\n"}` })
	f.stop()
	if log := f.output(id); strings.Contains(log, "progress") {
		t.Errorf("progress is in the log:\n%s", log)
	}
}

func TestCheckpoint_ThatIsTooLargeIsToldInTheLogAndInTheOutcome(t *testing.T) {
	f := newFixture(t, `head -c 2000000 /dev/zero > "$LASTCALL_CHECKPOINT"; until [ -e go ]; do sleep 0.02; done; exit 1`)
	id := f.enqueue("{}")
	f.serve(time.Minute)
	const said = "the checkpoint has 2000000 bytes, at most 1048576 are kept"
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !strings.Contains(f.output(id), said); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("log %q", f.output(id))
		}
	}
	if err := os.WriteFile(filepath.Join(f.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, f.ends(id), task.StatusFailed, "", 1, 0, 0, "exit code 1; "+said)
	if n := strings.Count(f.output(id), said); n != 1 {
		t.Errorf("told %d times", n)
	}
	f.stop()
}

func TestTree_WhatForksAwayIsKilledWithItsRun(t *testing.T) {
	f := newFixture(t, `
		setsid sh -c 'sh -c "trap \"\" TERM HUP; echo \$\$ > pid; while :; do sleep 1000; done" & exit' &
		until [ -s pid ]; do sleep 0.02; done`)
	id := f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.ends(id), task.StatusSucceeded, "", 0, 0, 0, "")
	pid, err := strconv.Atoi(f.prints("pid"))
	if err != nil || proc.Alive(pid) {
		t.Errorf("the daemon %d lives (%v)", pid, err)
	}
	f.stop()
}

func TestShim_ThatIsKilledIsACrashAndItsProgramIsKilled(t *testing.T) {
	if err := proc.BecomeSubreaper(); err != nil { // as lastcall serve does
		t.Fatal(err)
	}
	f := newFixture(t, `
		[ "$LASTCALL_RUN" = 1 ] || exit 0
		setsid sh -c 'echo $$ > away; while :; do sleep 1000; done' &
		echo $$ > own; until [ -s away ]; do sleep 0.02; done
		echo $PPID > shim; while :; do sleep 1000; done`)
	id := f.enqueue("{}")
	f.serve(time.Minute)
	shim, err := strconv.Atoi(f.prints("shim"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(shim)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	want(t, f.ends(id), task.StatusSucceeded, "", 0, 0, 1, "")
	runs, err := f.client.History(t.Context(), id)
	if err != nil || len(runs) != 2 || !runs[0].Crashed || !strings.Contains(runs[0].Error, "the shim that watched over the program has ended (killed by signal 9)") {
		t.Errorf("%+v, %v", runs, err)
	}
	for _, name := range []string{"own", "away"} {
		if pid, err := strconv.Atoi(f.prints(name)); err != nil || proc.Alive(pid) {
			t.Errorf("%s (%d) lives, %v", name, pid, err)
		}
	}
	f.stop()
}
