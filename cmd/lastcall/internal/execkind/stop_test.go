package execkind

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/task"
)

func TestStop_AfterOurSIGTERMOnlySuccessAndPermanentCodesAreNoInterruption(t *testing.T) {
	for name, c := range map[string]struct {
		trap     string
		status   task.Status
		reason   task.Reason
		attempts int
		interr   int
		text     string
	}{
		"by the signal":  {"trap - TERM", task.StatusInterrupted, task.ReasonStop, 0, 1, ""},
		"any exit code":  {"trap 'exit 9' TERM", task.StatusInterrupted, task.ReasonStop, 0, 1, ""},
		"try again":      {"trap 'exit 75' TERM", task.StatusInterrupted, task.ReasonStop, 0, 1, ""},
		"another signal": {"trap 'kill -KILL $$' TERM", task.StatusInterrupted, task.ReasonStop, 0, 1, ""},
		"success":        {"trap 'exit 0' TERM", task.StatusSucceeded, "", 0, 0, ""},
		"permanent":      {"trap 'exit 64' TERM", task.StatusFailed, "", 1, 0, "which is permanent"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, c.trap+"; echo > ready; while :; do sleep 0.02; done")
			f.kind.OnStop, f.kind.Permanent = task.InterruptOnStop, []int{64}
			id := f.enqueue("{}")
			f.serve(time.Minute)
			f.prints("ready")
			f.stop()
			got, err := f.client.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			want(t, got, c.status, c.reason, c.attempts, c.interr, 0, c.text)
		})
	}
}

func TestStop_AProgramIsToldTheDeadlineBeforeSIGTERMAndItsLastCheckpointIsKept(t *testing.T) {
	f := newFixture(t, `
		trap 'read -r deadline left why < "$LASTCALL_STOP_FILE"
			echo "$deadline|$left|$why" > told
			echo 77 > "$LASTCALL_CHECKPOINT"; exit 1' TERM
		echo > ready; while :; do sleep 0.02; done`)
	f.kind.OnStop, f.kind.KillAfter = task.InterruptOnStop, 7*time.Second
	id := f.enqueue("{}")
	f.serve(time.Minute)
	f.prints("ready")
	before := time.Now()
	f.stop()
	got, err := f.client.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	want(t, got, task.StatusInterrupted, task.ReasonStop, 0, 1, 0, "")
	if string(got.Checkpoint) != `{"text":"77\n"}` {
		t.Errorf("checkpoint %s", got.Checkpoint)
	}
	told := strings.Split(f.prints("told"), "|")
	deadline, err := time.Parse(time.RFC3339, told[0])
	if d := deadline.Sub(before); err != nil || d < 6*time.Second || d > 10*time.Second || told[1] != "7.000" || told[2] != "stop" {
		t.Errorf("told %q: in %v, %v", told, d, err)
	}
}

func TestStop_WhatAProgramPrintsBeforeItsEndIsInTheRecord(t *testing.T) {
	f := newFixture(t, `
		trap 'echo "::progress 0.5 half of it"; echo at work; echo "last words" >&2; exit 1' TERM
		echo > ready; while :; do sleep 0.02; done`)
	f.kind.OnStop = task.InterruptOnStop
	id := f.enqueue("{}")
	f.serve(time.Minute)
	f.prints("ready")
	f.stop()
	got, err := f.client.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	want(t, got, task.StatusInterrupted, task.ReasonStop, 0, 1, 0, "")
	if got.Progress != (task.Progress{Fraction: 0.5, Message: "half of it"}) {
		t.Errorf("progress %+v", got.Progress)
	}
	if log := f.output(id); !strings.Contains(log, "at work\n") || !strings.Contains(log, "last words\n") {
		t.Errorf("the log is %q", log)
	}
}

func TestStop_AProgramThatFinishesHearsOfTheLastCallByItsFileAndOfTheInterruptBySIGTERM(t *testing.T) {
	f := newFixture(t, `
		trap 'cp "$LASTCALL_STOP_FILE" second; exit 1' TERM
		echo > ready
		until [ -s "$LASTCALL_STOP_FILE" ]; do sleep 0.02; done; cp "$LASTCALL_STOP_FILE" first.new; mv first.new first
		while :; do sleep 0.02; done`)
	id := f.enqueue("{}")
	f.reserve = 5 * time.Second
	f.serve(8 * time.Second) // 3 s until the interrupt, and then 2.5 s, of which recording takes 1.7
	f.prints("ready")
	f.stop()
	got, err := f.client.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	want(t, got, task.StatusInterrupted, task.ReasonStop, 0, 1, 0, "")
	for name, bound := range map[string][2]float64{"first": {1.5, 3}, "second": {0, 0.9}} {
		fields := strings.Fields(f.prints(name))
		if left, err := strconv.ParseFloat(fields[1], 64); err != nil || left < bound[0] || left > bound[1] || fields[2] != "stop" {
			t.Errorf("%s: %q, want %v seconds left", name, fields, bound)
		}
	}
}

func TestStop_AProgramThatEndsByItselfAfterTheLastCallIsInterruptedWhateverItsCode(t *testing.T) {
	f := newFixture(t, `echo > ready; until [ -s "$LASTCALL_STOP_FILE" ]; do sleep 0.02; done; exit 75`)
	id := f.enqueue("{}")
	f.serve(time.Minute)
	f.prints("ready")
	f.stop()
	got, err := f.client.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	want(t, got, task.StatusInterrupted, task.ReasonStop, 0, 1, 0, "exit code 75")
}

func TestKillAfter_WhoIgnoresSIGTERMIsKilledWithAllItsTreeAfterKillAfter(t *testing.T) {
	f := newFixture(t, stubborn)
	f.kind.OnStop, f.kind.KillAfter = task.InterruptOnStop, 300*time.Millisecond
	began := killed(f, time.Minute)
	if took := time.Since(began); took < 300*time.Millisecond || took > 10*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

func TestKillAfter_NeverReachesIntoWhatTheStopHasLeftForRecording(t *testing.T) {
	f := newFixture(t, stubborn)
	f.kind.OnStop, f.kind.KillAfter = task.InterruptOnStop, time.Hour
	began := killed(f, 5*time.Second) // two of these are left for recording
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

// stubborn ignores SIGTERM, and so does its child, which has a session of its own.
const stubborn = `trap '' TERM
	setsid sh -c 'trap "" TERM HUP; echo $$ > away; while :; do sleep 1000; done' &
	until [ -s away ]; do sleep 0.02; done
	echo $$ > own; while :; do sleep 1000; done`

// killed stops a fixture with a stubborn program, and checks that nothing of it is left and that
// the run is recorded. It returns when the stop began.
func killed(f *fixture, grace time.Duration) time.Time {
	f.t.Helper()
	id := f.enqueue("{}")
	f.serve(grace)
	pids := []string{f.prints("away"), f.prints("own")}
	began := time.Now()
	f.stop()
	got, err := f.client.Get(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	want(f.t, got, task.StatusInterrupted, task.ReasonStop, 0, 1, 0, "did not end in time after SIGTERM, and was killed")
	for _, s := range pids {
		if pid, err := strconv.Atoi(s); err != nil || proc.Alive(pid) {
			f.t.Errorf("%s lives (%v)", s, err)
		}
	}
	return began
}

func TestTimeout_IsAnAttemptAndKeepsTheCheckpoint(t *testing.T) {
	f := newFixture(t, `[ "$LASTCALL_RUN" = 2 ] && { grep -q 5 "$LASTCALL_CHECKPOINT"; exit; }
		trap 'cut -d" " -f3 "$LASTCALL_STOP_FILE" > why; echo 5 > "$LASTCALL_CHECKPOINT"; exit 9' TERM; while :; do sleep 0.02; done`)
	f.kind.Timeout, f.kind.MaxAttempts = time.Second, 2
	id := f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.ends(id), task.StatusSucceeded, "", 1, 0, 0, "")
	runs, err := f.client.History(t.Context(), id)
	if err != nil || len(runs) != 2 || !strings.HasPrefix(runs[0].Error, "task: timeout of the kind exceeded (1s): exit code 9") || f.prints("why") != "timeout" {
		t.Errorf("%+v, %v", runs, err)
	}
	f.stop()
}

func TestCancel_ACancelledTasksProgramIsEnded(t *testing.T) {
	f := newFixture(t, `trap 'cut -d" " -f3 "$LASTCALL_STOP_FILE" > why; exit 9' TERM; echo > ready; while :; do sleep 0.02; done`)
	id := f.enqueue("{}")
	f.serve(time.Minute)
	f.prints("ready")
	if err := f.client.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	want(t, f.ends(id), task.StatusCancelled, "", 0, 0, 0, "")
	if got := f.prints("why"); got != "cancelled" {
		t.Errorf("told %q", got)
	}
	f.stop()
}

func TestStop_AProgramThatIsStoppedHearsOfItsEnd(t *testing.T) {
	f := newFixture(t, `trap 'exit 9' TERM; echo > ready; kill -STOP $$; while :; do sleep 0.02; done`)
	f.kind.OnStop, f.kind.KillAfter = task.InterruptOnStop, time.Hour
	id := f.enqueue("{}")
	f.serve(time.Minute)
	f.prints("ready")
	f.stop()
	got, err := f.client.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	want(t, got, task.StatusInterrupted, task.ReasonStop, 0, 1, 0, "")
}

// dead checks that the processes whose ids the program has written are dead.
func (f *fixture) dead(names ...string) {
	f.t.Helper()
	for _, name := range names {
		if pid, err := strconv.Atoi(f.prints(name)); err != nil || proc.Alive(pid) {
			f.t.Errorf("%s (%d) lives, %v", name, pid, err)
		}
	}
}

func TestShim_ThatItsProgramStopsAgainAndAgainHoldsUpNoTimeout(t *testing.T) {
	if err := proc.BecomeSubreaper(); err != nil { // as lastcall serve does
		t.Fatal(err)
	}
	for name, how := range map[string]string{"once": "kill -STOP $PPID", "again and again": "(while :; do kill -STOP $PPID; done) &"} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, how+"\n"+stubborn)
			f.kind.Timeout, f.kind.KillAfter = 3*time.Second, 300*time.Millisecond
			id := f.enqueue("{}")
			f.serve(time.Minute)
			want(t, f.ends(id), task.StatusFailed, "", 1, 0, 0, "timeout of the kind exceeded (3s): ended by signal 9 (killed)")
			f.dead("own", "away")
			f.stop()
		})
	}
}

// The program has no timeout, and its shim cannot report that it has ended.
func TestShim_ThatIsStoppedTellsOfItsProgramsEndAllTheSame(t *testing.T) {
	f := newFixture(t, "kill -STOP $PPID; exit 0")
	id := f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.ends(id), task.StatusSucceeded, "", 0, 0, 0, "")
	f.stop()
}

func TestShim_ThatIsKilledIsACrashThoughTheProgramHoldsItsPipe(t *testing.T) {
	if err := proc.BecomeSubreaper(); err != nil { // as lastcall serve does
		t.Fatal(err)
	}
	f := newFixture(t, `exec 9> /proc/$PPID/fd/4; `+strings.Replace(stubborn, "echo $$ > own", "echo $$ > own; kill -KILL $PPID", 1))
	f.kind.MaxCrashes = 1
	id := f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.ends(id), task.StatusFailed, "", 0, 0, 1, "the shim that watched over the program has ended (killed by signal 9)")
	f.dead("own", "away")
	f.stop()
}

func TestRunner_CloseKillsWhatStillRuns(t *testing.T) {
	if err := proc.BecomeSubreaper(); err != nil { // as lastcall serve does
		t.Fatal(err)
	}
	f := newFixture(t, stubborn)
	f.kind.MaxCrashes = 1
	id := f.enqueue("{}")
	f.serve(time.Minute)
	f.prints("own")
	if err := f.runner.Close(t.Context()); err != nil {
		t.Error(err)
	}
	f.dead("own", "away")
	want(t, f.ends(id), task.StatusFailed, "", 0, 0, 1, "the last one: the ")
	f.stop()
}
