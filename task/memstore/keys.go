package memstore

import (
	"bytes"
	"maps"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// keyOf is a key with its scope.
type keyOf struct{ kind, key string }

// holder is the task that holds a key: until its end, and until a time if there is one.
type holder struct {
	id    string
	until time.Time
	ended bool
}

// first is what is remembered about a task that was replaced: its payload before that, and the id
// of the new task that replaced it last.
type first struct {
	payload []byte
	by      string
}

// over reports whether an ended task no longer holds its key.
func (h holder) over(now time.Time) bool { return h.ended && !h.until.After(now) }

// firstPayload returns the payload with which a task was added.
func (s *Store) firstPayload(t *task.Task) []byte {
	if f, ok := s.first[t.ID]; ok {
		return f.payload
	}
	return t.Payload
}

// hold takes the key of a new task, or returns the outcome if the key is held (rules 21, 50).
func (s *Store) hold(n task.NewTask, now time.Time) (held task.AddResult, ok bool) {
	k := keyOf{n.Kind, n.Key}
	h, ok := s.keys[k]
	if !ok || h.over(now) {
		h = holder{id: n.ID}
		if n.KeyFor > 0 {
			h.until = now.Add(n.KeyFor)
		}
		s.keys[k] = h
		return held, true
	}
	held = task.AddResult{ID: h.id, Outcome: task.OutcomeExisting}
	switch t := s.tasks[h.id]; {
	case n.OnConflict == task.Discard:
		held.Outcome = task.OutcomeDiscarded
	case n.OnConflict == task.Replace && s.first[h.id].by == n.ID:
		held.Outcome = task.OutcomeReplaced
	case n.OnConflict == task.Replace && t != nil && t.Status.Claimable():
		s.replace(t, n, now)
		held.Outcome = task.OutcomeReplaced
	}
	return held, false
}

// replace gives a waiting task the values of a new one.
func (s *Store) replace(t *task.Task, n task.NewTask, now time.Time) {
	s.first[t.ID] = first{payload: s.firstPayload(t), by: n.ID}
	t.Payload, t.Meta, t.Priority, t.RunAt = bytes.Clone(n.Payload), maps.Clone(n.Meta), n.Priority, now.Add(n.Delay)
	s.unbound(t)
	if n.StartBefore > 0 && t.Runs == 0 {
		s.bind(t, now.Add(n.StartBefore))
	}
	t.Checkpoint, t.Progress = nil, task.Progress{}
	delete(s.steps, t.ID)
	t.Attempts, t.CrashStreak, t.InterruptStreak, t.Suspicion = 0, 0, 0, 0
	if t.Status != task.StatusQueued {
		t.Status, t.Since = task.StatusQueued, now
	}
	t.Reason = ""
}

// release releases the key of a task that has ended, unless it is held for longer.
func (s *Store) release(t *task.Task, now time.Time) {
	k := keyOf{t.Kind, t.Key}
	h, ok := s.keys[k]
	if !ok || h.id != t.ID {
		return
	}
	if h.ended = true; h.over(now) {
		delete(s.keys, k)
		return
	}
	s.keys[k] = h
}

// holdAgain takes the key of an ended task that is retried, unless another task holds it.
func (s *Store) holdAgain(t *task.Task, now time.Time) bool {
	if t.Key == "" {
		return true
	}
	k := keyOf{t.Kind, t.Key}
	h, ok := s.keys[k]
	switch {
	case !ok || h.over(now):
		h = holder{id: t.ID}
	case h.id != t.ID:
		return false
	}
	h.ended = false
	s.keys[k] = h
	return true
}

// forgetKeys drops the keys whose time is over.
func (s *Store) forgetKeys(now time.Time) {
	maps.DeleteFunc(s.keys, func(_ keyOf, h holder) bool { return h.over(now) })
}
