package test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// verify checks, after the last process has ended, that the store has kept its promises:
//
//   - every accepted task is in the store and has succeeded, and the counts agree;
//   - the counters agree with the history, and the history agrees with what was done to the
//     processes;
//   - the effects are those of runs that held the task at that time, no checkpoint was lost, and no
//     step was left out;
//   - no worker, no lock file and no connection is left.
//
// The worker processes themselves check that they leave no goroutine behind (workerMain). For the
// tests, TestMain does.
func (f *fixture) verify() {
	f.t.Helper()
	all := f.tasks("")
	effects := ask(f, f.ledger.all)
	var cut tally
	for _, t := range all {
		delete(f.accepted, t.ID)
		h := ask(f, func(ctx context.Context) ([]task.RunRecord, error) { return f.client.History(ctx, t.ID) })
		for _, breach := range slices.Concat(checkRecord(t, h, f.overlap()), f.checkFates(h), checkEffects(t, h, effects[t.ID])) {
			f.t.Errorf("task %s: %s\n%s%s", t.ID, breach, describe(h), fmt.Sprintln(effects[t.ID]))
		}
		cut.add(t, h, effects[t.ID])
		f.histories = append(f.histories, h)
	}
	for id := range f.accepted {
		f.t.Errorf("task %s was accepted and is gone", id)
	}
	if n := f.count(task.StatusSucceeded); n != len(all) || f.unfinished() != 0 {
		f.t.Errorf("%d tasks are counted as succeeded and %d as unfinished, of %d", n, f.unfinished(), len(all))
	}
	if ws := f.workers(); len(ws) > 0 {
		f.t.Errorf("workers are left: %+v", ws)
	}
	f.t.Logf("%d tasks, %d runs cut short, %s", len(all), cut.runs, cut)
	if cut.runs < f.points {
		f.t.Errorf("only %d points, want %d", cut.runs, f.points)
	}
	f.close()
	f.checkLeft()
}

// overlap is the tolerance for an overlap of two runs. PostgreSQL's now() is the beginning of a
// transaction, and the process may be descheduled between that and the transaction's snapshot.
func (f *fixture) overlap() time.Duration {
	if strings.HasPrefix(f.address, "sqlite:") {
		return 0
	}
	return 500 * time.Millisecond
}

// checkRecord compares a task with its history.
func checkRecord(t task.Task, h []task.RunRecord, overlap time.Duration) (breaches []string) {
	breach := func(format string, args ...any) { breaches = append(breaches, fmt.Sprintf(format, args...)) }
	if t.Status != task.StatusSucceeded {
		breach("it is %s (%s) %s", t.Status, t.Reason, t.Error)
	}
	if len(h) != t.Runs {
		breach("%d runs, but a history of %d", t.Runs, len(h))
	}
	var n task.Counters
	for i, r := range h {
		last := i == len(h)-1
		switch {
		case r.Status == task.StatusSucceeded && last && r.Run == t.Run:
		case r.Status == task.StatusInterrupted && r.Crashed && !last:
			n.Crashes++
		case givenBack(r) && !last:
		case r.Status == task.StatusInterrupted && !last:
			n.Interruptions++
		default:
			breach("run %d became %s", r.Run, r.Status)
		}
		if r.Ended.Before(r.Started) {
			breach("run %d ended before it began", r.Run)
		}
		if i > 0 && (r.Run <= h[i-1].Run || r.Started.Add(overlap).Before(h[i-1].Ended)) {
			breach("run %d does not come after run %d", r.Run, h[i-1].Run)
		}
	}
	if t.Attempts != 0 || t.Crashes != n.Crashes || t.Interruptions != n.Interruptions {
		breach("its counters are %+v, by its history %+v", t.Counters, n)
	}
	return breaches
}

// givenBack reports whether a run was claimed by prefetch, or at last call, and ended before its
// handler began.
func givenBack(r task.RunRecord) bool {
	return r.Status == task.StatusQueued && r.Error == "" || r.Status == task.StatusInterrupted && r.Reason == task.ReasonReleased
}

// checkFates compares a history with what was done to the processes that had its runs.
func (f *fixture) checkFates(h []task.RunRecord) (breaches []string) {
	for i, r := range h {
		if r.Status != task.StatusInterrupted || givenBack(r) {
			continue
		}
		end, ok := f.fates[r.PID]
		if !ok || !end.may(r) {
			breaches = append(breaches, fmt.Sprintf("run %d of process %d (%s) was interrupted: %s crashed=%t taken=%t %s", r.Run, r.PID, end.name, r.Reason, r.Crashed, r.Reclaimed, r.Error))
		}
		if heir := f.heirs[r.PID]; heir != 0 && i+1 < len(h) && h[i+1].PID != heir {
			breaches = append(breaches, fmt.Sprintf("after run %d of process %d, process %d had it and not %d", r.Run, r.PID, h[i+1].PID, heir))
		}
	}
	return breaches
}

// checkEffects checks the effects of a task, in the order in which the ledger accepted them. They
// must be those of its runs one after the other. Each run must do one step after the other, and
// begin at a checkpoint that is not behind what an earlier run did. A step may only be repeated if
// the run that did it was cut short before its checkpoint was saved.
func checkEffects(t task.Task, h []task.RunRecord, effects []effect) (breaches []string) {
	breach := func(format string, args ...any) { breaches = append(breaches, fmt.Sprintf(format, args...)) }
	var w work
	if err := json.Unmarshal(t.Payload, &w); err != nil {
		breach("payload: %v", err)
	}
	runs := make(map[int64]task.RunRecord)
	for _, r := range h {
		runs[r.Run] = r
	}
	var (
		fence int64
		next  = begun // the expected step
		done  int     // the steps done by all runs
	)
	for _, e := range effects {
		r, known := runs[e.fence]
		switch {
		case !known || r.PID != e.pid:
			breach("effect %+v is of no run in its history", e)
		case givenBack(r):
			breach("effect %+v of a run that was given back", e)
		case e.fence < fence:
			breach("effect %+v of a stale run", e)
		case e.fence > fence:
			if e.step != begun {
				breach("effect %+v before its run had begun", e)
			}
		case next == begun: // the first step of a run
			if e.step > done || e.step < done-1 || e.step < done && t.Kind == handover.Name {
				breach("effect %+v follows %d done steps", e, done)
			}
		case e.step != next:
			breach("effect %+v instead of step %d", e, next)
		}
		if fence = e.fence; e.step == begun {
			next = begun
			continue
		}
		next = e.step + 1
		done = max(done, next)
	}
	if done != w.Steps {
		breach("%d steps were done, of %d", done, w.Steps)
	}
	if w.InTx && countStep(effects, w.Steps-1) != 1 {
		breach("the step that shares a transaction with the task's end was done %d times", countStep(effects, w.Steps-1))
	}
	for step := 0; w.Exact && step < w.Steps; step++ {
		if n := countStep(effects, step); n != 1 {
			breach("step %d, which shares a transaction with its checkpoint, was done %d times", step, n)
		}
	}
	return breaches
}

func countStep(effects []effect, step int) (n int) {
	for _, e := range effects {
		if e.step == step {
			n++
		}
	}
	return n
}

func describe(h []task.RunRecord) string {
	var b strings.Builder
	for _, r := range h {
		fmt.Fprintf(&b, "  run %d pid %d %s to %s: %s %s crashed=%t taken=%t %s\n", r.Run, r.PID, r.Started.Format("05.000"), r.Ended.Format("05.000"),
			r.Status, r.Reason, r.Crashed, r.Reclaimed, r.Error)
	}
	return b.String()
}

// checkLeft checks what the processes, and the test's own store, have left behind.
func (f *fixture) checkLeft() {
	f.t.Helper()
	if path, ok := strings.CutPrefix(f.address, "sqlite:"); ok {
		if left := files(f.t, path+"-workers"); !slices.Equal(left, []string{"notify"}) && !slices.Equal(left, []string{"notify", "stop"}) {
			f.t.Errorf("in %s: %v", filepath.Base(path)+"-workers", left)
		}
		return
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	db, err := sql.Open("pgx", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			f.t.Error(err)
		}
	}()
	db.SetMaxOpenConns(1)
	const look = `select count(*), coalesce(string_agg(pid || ' ' || application_name || ' ' || coalesce(state, '') || ' ' || query, '; '), '') from pg_stat_activity
		where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()`
	var (
		n    int
		what string
	)
	for { // a server notices the end of a connection with a delay
		if err := db.QueryRowContext(ctx, look).Scan(&n, &what); err != nil {
			f.t.Fatalf("%d connections are left: %s; %v", n, what, err)
		}
		if n == 0 || !pause(ctx, 10*time.Millisecond) {
			break
		}
	}
	if n > 0 {
		f.t.Errorf("%d connections are left: %s", n, what)
	}
}

// tally counts points. A point is a run that was cut short. The end of one process is a point for
// each of its tasks, since each of them was at a different place in its life.
type tally struct {
	runs                int
	first, middle, last int
	reasons             map[string]int
}

func (c *tally) add(t task.Task, h []task.RunRecord, effects []effect) {
	var w work
	_ = json.Unmarshal(t.Payload, &w) // checkEffects has reported it
	for _, r := range h {
		if r.Status != task.StatusInterrupted || givenBack(r) {
			continue
		}
		c.runs++
		done := 0
		for _, e := range effects {
			if e.fence <= r.Run {
				done = max(done, e.step+1)
			}
		}
		switch done {
		case 0:
			c.first++
		case w.Steps:
			c.last++
		default:
			c.middle++
		}
		if c.reasons == nil {
			c.reasons = make(map[string]int)
		}
		reason := string(r.Reason)
		if r.Crashed {
			reason += " (crashed)"
		}
		c.reasons[reason]++
	}
}

func (c tally) String() string {
	return fmt.Sprintf("%v: %d before the first step, %d between steps, %d after the last", c.reasons, c.first, c.middle, c.last)
}
