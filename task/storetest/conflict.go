package storetest

import (
	"fmt"
	"slices"

	"github.com/lastcall-go/lastcall/task"
)

// conflicts is the case of rule 32.
func conflicts(t *T) {
	plain := func(id string) task.NewTask {
		return task.NewTask{ID: id, Kind: "k", Queue: "default", Payload: []byte(`{"a":1}`)}
	}
	but := func(n task.NewTask, change func(n *task.NewTask)) task.NewTask { change(&n); return n }
	t.join("w")
	waits, runs, ended := plain(t.id()), plain(t.id()), plain(t.id())
	long := but(plain(t.id()), func(n *task.NewTask) { n.Payload = make([]byte, task.MaxPayload) })
	empty := but(plain(t.id()), func(n *task.NewTask) { n.Payload = nil })
	t.addAll([]task.NewTask{ended}, []task.AddResult{{ID: ended.ID}})
	t.mustApply(change(t.claim("w", 1)[0], task.StatusSucceeded))
	t.addAll([]task.NewTask{runs}, []task.AddResult{{ID: runs.ID}})
	t.claim("w", 1)
	t.addAll([]task.NewTask{waits, long, empty}, []task.AddResult{{ID: waits.ID}, {ID: long.ID}, {ID: empty.ID}})
	for state, was := range map[string]task.NewTask{"waits": waits, "runs": runs, "has ended": ended, "is long": long, "is empty": empty} {
		t.addOne("the same task, which "+state, was, task.AddResult{ID: was.ID, Outcome: task.OutcomeExisting})
		for what, n := range map[string]task.NewTask{
			"another kind":                  but(was, func(n *task.NewTask) { n.Kind = "other" }),
			"the same JSON in other bytes":  but(was, func(n *task.NewTask) { n.Payload = append(slices.Clone(n.Payload), ' ') }),
			"another payload":               but(was, func(n *task.NewTask) { n.Payload = []byte("other") }),
			"another payload, and a key":    but(was, func(n *task.NewTask) { n.Payload, n.Key = []byte("other"), "key" }),
			"another payload of its length": but(was, func(n *task.NewTask) { n.Payload = flipped(n.Payload) }),
		} {
			t.addOne(fmt.Sprintf("%s than that of one which %s", what, state), n, task.AddResult{ID: n.ID, Conflict: true})
		}
		if got := t.get(was.ID); got.Kind != "k" || string(got.Payload) != string(was.Payload) || got.Key != "" {
			t.Errorf("one which %s has become %.200v", state, got)
		}
	}
	if got := t.keyed("k", "key"); got.Outcome == task.OutcomeExisting {
		t.Errorf("the key is %s's, which was not added", got.ID)
	}
	// Of two in one call, the first one counts.
	one, beside := plain(t.id()), plain(t.id())
	other := but(one, func(n *task.NewTask) { n.Payload = []byte("other") })
	t.addAll([]task.NewTask{one, other, beside, one}, []task.AddResult{{ID: one.ID}, {ID: one.ID, Conflict: true}, {ID: beside.ID}, {ID: one.ID, Outcome: task.OutcomeExisting}})
	if got := t.get(one.ID); string(got.Payload) != string(one.Payload) {
		t.Errorf("the payload is %s, want that of the first one", got.Payload)
	}
}

// flipped returns a payload of the same length with another last byte, or a payload of one byte.
func flipped(b []byte) []byte {
	if len(b) == 0 {
		return []byte{0}
	}
	c := slices.Clone(b)
	c[len(c)-1] ^= 1
	return c
}

// addOne adds a task and compares the answer.
func (t *T) addOne(what string, n task.NewTask, want task.AddResult) {
	t.Helper()
	added, err := t.Store.Add(t.Context(), []task.NewTask{n})
	if err != nil || len(added) != 1 || added[0] != want {
		t.Errorf("%s: %+v, %v, want %+v", what, added, err, want)
	}
}
