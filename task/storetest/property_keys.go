package storetest

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/lastcall-go/lastcall/task"
)

// replace adds a task that replaces an unfinished one, which has its own id for a key.
func (m *model) replace(rt *rapid.T) {
	id := m.pick(rt, func(mt *modelTask) bool { return !mt.status.Ended() })
	mt := m.tasks[id]
	m.replaced++
	n := task.NewTask{ID: fmt.Sprintf("00000000-0000-7000-%04x-1%011d", 0x8000+m.nr%0x3fff, m.replaced), Kind: m.kind(), Queue: "default", Key: id,
		OnConflict: task.Replace, Payload: []byte(fmt.Sprint(m.replaced))}
	if rapid.Bool().Draw(rt, "delayed") {
		n.Delay = time.Hour
	}
	if rapid.Bool().Draw(rt, "bounded") {
		n.StartBefore = 1000 * time.Hour
	}
	want := task.AddResult{ID: id, Outcome: task.OutcomeExisting}
	if mt.status.Claimable() {
		want.Outcome = task.OutcomeReplaced
		mt.status, mt.check, mt.steps, mt.delayed, mt.bounded = task.StatusQueued, "", nil, n.Delay > 0, n.StartBefore > 0 && mt.runs == 0
		mt.counters.Attempts, mt.counters.CrashStreak, mt.counters.InterruptStreak, mt.counters.Suspicion = 0, 0, 0, 0
	}
	if got, err := m.store.Add(m.t.Context(), []task.NewTask{n}); err != nil || got[0] != want {
		rt.Fatalf("replaced: %+v, %v, want %+v", got, err, want)
	}
}
