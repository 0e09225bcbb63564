// Package memstore keeps tasks in memory: the rules of [task.Store] in their plainest form, for
// tests and examples. The tasks are gone when the process ends.
//
// Its clock is time.Now, so that it works inside a testing/synctest bubble.
package memstore

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// Store is a [task.Store] of maps and a mutex. The zero Store is not usable: call New.
type Store struct {
	mu    sync.Mutex
	tasks map[string]*task.Task
	keys  map[keyOf]holder
	first map[string]first // of tasks that were replaced
	asked map[string]task.Verb
	logs  map[string][]byte
	steps map[string]map[string]task.StepRecord // by task and name
	keep  map[string]task.Retention             // of a task's last run
	// Of an ended task with a Retention of its own; zero: never.
	expires map[string]time.Time
	history map[string][]task.RunRecord
	done    map[string][]task.CommandRecord
	workers map[string]*worker
	bounded map[string]*task.Task // those that have a StartBefore
	paused  map[string]bool
	// schedules has the sets, by their names.
	schedules map[string]*scheduleSet
	closed    bool
	signals   storekit.Signals
}

// worker is a registered worker. Kill sets died, and Reclaim the fields after it.
type worker struct {
	beat     task.Beat
	since    time.Time
	died     bool
	dead     bool
	evidence bool
	suspects int
	split    string
}

var _ task.Store = (*Store)(nil)

// New returns an empty store. The caller closes it, after the workers and clients that use it have
// ended.
func New() *Store {
	return &Store{
		tasks:   make(map[string]*task.Task),
		keys:    make(map[keyOf]holder),
		first:   make(map[string]first),
		asked:   make(map[string]task.Verb),
		logs:    make(map[string][]byte),
		steps:   make(map[string]map[string]task.StepRecord),
		keep:    make(map[string]task.Retention),
		expires: make(map[string]time.Time),
		history: make(map[string][]task.RunRecord),
		done:    make(map[string][]task.CommandRecord),
		workers: make(map[string]*worker),
		bounded: make(map[string]*task.Task),
		paused:  make(map[string]bool),

		schedules: make(map[string]*scheduleSet),
	}
}

// Kill marks a worker's process as dead, in place of a SIGKILL: for tests.
func (s *Store) Kill(incarnation string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w, ok := s.workers[incarnation]; ok {
		w.died = true
		s.signals.Wake(0, 0, 1)
	}
}

// Add implements task.Store.
func (s *Store) Add(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	now := time.Now()
	added := make([]task.AddResult, len(tasks))
	for i, n := range tasks {
		added[i] = s.add(n, now)
	}
	s.wake()
	return added, nil
}

func (s *Store) add(n task.NewTask, now time.Time) task.AddResult {
	if t, ok := s.tasks[n.ID]; ok {
		if t.Kind != n.Kind || !bytes.Equal(s.firstPayload(t), n.Payload) {
			return task.AddResult{ID: n.ID, Conflict: true}
		}
		return task.AddResult{ID: n.ID, Outcome: task.OutcomeExisting}
	}
	if n.Key != "" {
		if held, ok := s.hold(n, now); !ok {
			return held
		}
	}
	s.tasks[n.ID] = &task.Task{
		ID: n.ID, Kind: n.Kind, Queue: n.Queue, Key: n.Key, Payload: bytes.Clone(n.Payload), Meta: maps.Clone(n.Meta), Priority: n.Priority,
		Status: task.StatusQueued, Created: now, Since: now, RunAt: now.Add(n.Delay),
	}
	if n.StartBefore > 0 {
		s.bind(s.tasks[n.ID], now.Add(n.StartBefore))
	}
	return task.AddResult{ID: n.ID}
}

// Claim implements task.Store.
func (s *Store) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	w, ok := s.workers[req.Worker]
	if !ok || w.dead {
		return nil, task.ErrWorkerGone
	}
	now := time.Now()
	var ready []*task.Task
	for _, t := range s.tasks {
		if t.Status.Claimable() && !t.RunAt.After(now) && !s.paused[t.Queue] &&
			(len(req.Queues) == 0 || slices.Contains(req.Queues, t.Queue)) && (req.MinPriority == nil || t.Priority >= *req.MinPriority) && !slices.Contains(req.Except, t.ID) {
			ready = append(ready, t)
		}
	}
	slices.SortFunc(ready, order)
	room := make(map[string]task.KindClaim)
	for _, k := range req.Kinds {
		room[k.Kind] = k
	}
	suspects, group := req.Suspects, req.Suspicion
	if req.Interrupted {
		suspects = 0
		ready = slices.DeleteFunc(ready, func(t *task.Task) bool { return t.Status != task.StatusInterrupted })
	}
	var got []task.Task
	for _, t := range ready {
		k := room[t.Kind]
		if k.Max <= 0 || len(got) >= req.Max || t.Suspect() && (suspects <= 0 || group != 0 && t.Suspicion != group) {
			continue
		}
		if t.Suspect() {
			if suspects--; group == 0 {
				suspects = 0
			}
		}
		k.Max--
		room[t.Kind] = k
		t.Run = max(t.Run+1, now.UnixMilli())
		t.Runs++
		t.Status, t.Since, t.Started, t.Worker, t.Limits = task.StatusRunning, now, now, req.Worker, k.Limits
		s.keep[t.ID] = k.Retention
		s.unbound(t)
		h := append(s.history[t.ID], task.RunRecord{
			Run: t.Run, Worker: t.Worker, Host: w.beat.Host, PID: w.beat.PID, Started: now, Status: task.StatusRunning,
		})
		s.history[t.ID] = h[max(0, len(h)-task.MaxHistory):]
		got = append(got, clone(t))
	}
	return got, nil
}

// order is the order of rule 5.
func order(a, b *task.Task) int {
	begun := func(t *task.Task) int {
		if t.Status == task.StatusInterrupted {
			return 0
		}
		return 1
	}
	return cmp.Or(
		-cmp.Compare(a.Priority, b.Priority),
		cmp.Compare(begun(a), begun(b)),
		a.RunAt.Compare(b.RunAt),
		cmp.Compare(a.ID, b.ID),
	)
}

// Apply implements task.Store.
func (s *Store) Apply(ctx context.Context, changes []task.Change) []error {
	errs := make([]error, len(changes))
	if err := s.enter(ctx); err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	defer s.mu.Unlock()
	for i, c := range changes {
		errs[i] = s.apply(c, time.Now())
		if errs[i] == nil && c.Status.Claimable() {
			s.wake()
		}
	}
	return errs
}

func (s *Store) apply(c task.Change, now time.Time) error {
	t, ok := s.tasks[c.Task]
	if !ok {
		return task.ErrNotFound
	}
	if !s.holds(c.Fence) {
		return s.late(c)
	}
	t.Counters = c.Counters
	if len(c.Log) > 0 {
		log := append(s.logs[c.Task], c.Log...)
		s.logs[c.Task] = log[max(0, len(log)-task.MaxLog):]
	}
	if c.Checkpoint != nil {
		t.Checkpoint = bytes.Clone(c.Checkpoint)
	}
	if c.Progress != nil {
		t.Progress = *c.Progress
	}
	if c.Status == task.StatusRunning {
		if c.Step != nil {
			rec := *c.Step
			rec.Body, rec.Run, rec.Saved = bytes.Clone(rec.Body), c.Run, now
			s.recordStep(c.Task, rec)
		}
		return nil
	}
	if s.asked[c.Task] == task.VerbCancel && c.Status.Claimable() {
		c.Status, c.Reason = task.StatusCancelled, "" // rule 23
	}
	delete(s.asked, c.Task)
	t.Status, t.Reason, t.Error, t.Since = c.Status, c.Reason, c.Error, now
	if c.Status == task.StatusSucceeded {
		t.Result = bytes.Clone(c.Result)
	}
	if c.Status.Ended() {
		s.finished(t, now)
		switch keep := s.keep[t.ID].Of(c.Status); {
		case keep > 0:
			s.expires[t.ID] = now.Add(keep)
		case keep < 0:
			s.expires[t.ID] = time.Time{}
		}
	} else {
		if t.RunAt = now.Add(c.Delay); !c.RunAt.IsZero() {
			t.RunAt = c.RunAt
		}
	}
	h := s.history[c.Task]
	last := &h[len(h)-1]
	last.Ended, last.Status, last.Reason, last.Error = now, c.Status, c.Reason, c.Error
	last.Crashed, last.Reclaimed = c.Crashed, c.Reclaimed
	return nil
}

// late returns the meaning of a change whose run is no longer held: a repetition, a contradiction,
// or a loss (rule 9).
func (s *Store) late(c task.Change) error {
	for _, r := range s.history[c.Task] {
		if r.Run != c.Run || r.Worker != c.Worker || r.Reclaimed || r.Status == task.StatusRunning || c.Status == task.StatusRunning {
			continue
		}
		if r.Status == c.Status && r.Reason == c.Reason || r.Status == task.StatusCancelled && c.Status.Claimable() {
			return nil
		}
		return task.ErrAlreadyFinished
	}
	return task.ErrLeaseLost
}

func (s *Store) holds(f task.Fence) bool {
	t, ok := s.tasks[f.Task]
	return ok && t.Status == task.StatusRunning && t.Run == f.Run && t.Worker == f.Worker
}

// finished releases what an ended task held.
func (s *Store) finished(t *task.Task, now time.Time) {
	t.Finished, t.Suspicion = now, 0
	s.unbound(t)
	s.release(t, now)
}

// Wait implements task.Store.
func (s *Store) Wait(ctx context.Context, seen task.Generations) (task.Generations, error) {
	return s.signals.Wait(ctx, seen)
}

// Close implements task.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.signals.Close()
	return nil
}

// enter locks the store, unless it is closed or ctx has ended.
func (s *Store) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return task.ErrClosed
	}
	s.expire(time.Now())
	return nil
}

// expire implements rule 43.
func (s *Store) expire(now time.Time) {
	for _, t := range s.bounded {
		if !t.StartBefore.After(now) {
			t.Status, t.Reason, t.Since = task.StatusCancelled, task.ReasonExpired, now
			s.finished(t, now)
		}
	}
}

// bind gives a task a StartBefore.
func (s *Store) bind(t *task.Task, before time.Time) {
	t.StartBefore = before
	s.bounded[t.ID] = t
}

// unbound removes a task's StartBefore.
func (s *Store) unbound(t *task.Task) {
	t.StartBefore = time.Time{}
	delete(s.bounded, t.ID)
}

// wake notifies the waiting calls that a task may have become claimable, and tell that there is a
// command for a run.
func (s *Store) wake() { s.signals.Wake(1, 0, 0) }

func (s *Store) tell() { s.signals.Wake(0, 1, 0) }

func clone(t *task.Task) task.Task {
	c := *t
	c.Payload, c.Checkpoint, c.Result = bytes.Clone(t.Payload), bytes.Clone(t.Checkpoint), bytes.Clone(t.Result)
	c.Meta = maps.Clone(t.Meta)
	return c
}
