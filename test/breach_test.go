package test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// story returns the history of a task that was killed after its second step and then completed.
func story() (task.Task, []task.RunRecord, []effect) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	t := task.Task{ID: "t", Kind: steps.Name, Status: task.StatusSucceeded, Run: 20, Runs: 2, Payload: []byte(`{"Steps": 3}`),
		Counters: task.Counters{Crashes: 1}}
	h := []task.RunRecord{
		{Run: 10, PID: 1, Started: at, Ended: at.Add(time.Second), Status: task.StatusInterrupted, Reason: task.ReasonLost, Crashed: true, Reclaimed: true},
		{Run: 20, PID: 2, Started: at.Add(2 * time.Second), Ended: at.Add(3 * time.Second), Status: task.StatusSucceeded},
	}
	e := []effect{{"t", begun, 10, 1}, {"t", 0, 10, 1}, {"t", 1, 10, 1}, {"t", begun, 20, 2}, {"t", 1, 20, 2}, {"t", 2, 20, 2}}
	return t, h, e
}

func TestChecker_FindsEachBreach(t *testing.T) {
	t.Parallel()
	check := func(tk task.Task, h []task.RunRecord, e []effect) []string {
		f := &fixture{fates: map[int]fate{1: {"killed", crashed}}, heirs: map[int]int{1: 2}}
		return slices.Concat(checkRecord(tk, h, 0), f.checkFates(h), checkEffects(tk, h, e))
	}
	if got := check(story()); len(got) > 0 {
		t.Fatalf("in order, and yet: %q", got)
	}
	for name, c := range map[string]struct {
		breach func(*task.Task, []task.RunRecord, *[]effect)
		want   string
	}{
		"not ended":              {func(tk *task.Task, _ []task.RunRecord, _ *[]effect) { tk.Status = task.StatusInterrupted }, "it is interrupted"},
		"a run without a record": {func(tk *task.Task, _ []task.RunRecord, _ *[]effect) { tk.Runs = 3 }, "a history of 2"},
		"a crash not counted":    {func(tk *task.Task, _ []task.RunRecord, _ *[]effect) { tk.Crashes = 0 }, "its counters are"},
		"an attempt":             {func(tk *task.Task, _ []task.RunRecord, _ *[]effect) { tk.Attempts = 1 }, "its counters are"},
		"two successes":          {func(_ *task.Task, h []task.RunRecord, _ *[]effect) { h[0].Status = task.StatusSucceeded }, "run 10 became succeeded"},
		"overlapping runs":       {func(_ *task.Task, h []task.RunRecord, _ *[]effect) { h[1].Started = h[0].Started }, "does not come after"},
		"a run that never ended": {func(_ *task.Task, h []task.RunRecord, _ *[]effect) { h[1].Ended = time.Time{} }, "ended before it began"},
		"another reason":         {func(_ *task.Task, h []task.RunRecord, _ *[]effect) { h[0].Reason = task.ReasonStop }, "was interrupted"},
		"a process that ran on": {func(_ *task.Task, h []task.RunRecord, e *[]effect) {
			h[0].PID, (*e)[0].pid, (*e)[1].pid, (*e)[2].pid = 3, 3, 3, 3
		}, "was interrupted"},
		"another heir": {func(_ *task.Task, h []task.RunRecord, e *[]effect) {
			h[1].PID, (*e)[3].pid, (*e)[4].pid, (*e)[5].pid = 3, 3, 3, 3
		}, "process 3 had it and not 2"},
		"a stale effect":          {func(_ *task.Task, _ []task.RunRecord, e *[]effect) { *e = append(*e, effect{"t", 2, 10, 1}) }, "of a stale run"},
		"an effect of nobody":     {func(_ *task.Task, _ []task.RunRecord, e *[]effect) { (*e)[5].fence = 30 }, "of no run in its history"},
		"another process's":       {func(_ *task.Task, _ []task.RunRecord, e *[]effect) { (*e)[5].pid = 1 }, "of no run in its history"},
		"a step left out":         {func(_ *task.Task, _ []task.RunRecord, e *[]effect) { *e = slices.Delete(*e, 5, 6) }, "2 steps were done, of 3"},
		"steps out of order":      {func(_ *task.Task, _ []task.RunRecord, e *[]effect) { (*e)[2].step = 2 }, "instead of step 1"},
		"a lost checkpoint":       {func(_ *task.Task, _ []task.RunRecord, e *[]effect) { (*e)[4].step = 0 }, "follows 2 done steps"},
		"a step twice, in order":  {func(tk *task.Task, _ []task.RunRecord, _ *[]effect) { tk.Kind = handover.Name }, "follows 2 done steps"},
		"a run that has no begin": {func(_ *task.Task, _ []task.RunRecord, e *[]effect) { *e = slices.Delete(*e, 3, 4) }, "before its run had begun"},
		"a shared step twice": {func(tk *task.Task, _ []task.RunRecord, e *[]effect) {
			tk.Payload = []byte(`{"Steps": 3, "InTx": true}`)
			*e = append((*e)[:3:3], append([]effect{{"t", 2, 10, 1}}, (*e)[3:]...)...)
		}, "was done 2 times"},
		"an exact step twice": {func(tk *task.Task, _ []task.RunRecord, _ *[]effect) {
			tk.Payload = []byte(`{"Steps": 3, "Exact": true}`)
		}, "step 1, which shares a transaction with its checkpoint, was done 2 times"},
	} {
		tk, h, e := story()
		c.breach(&tk, h, &e)
		got := check(tk, h, e)
		if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, c.want) }) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
