package memstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Heartbeat implements task.Store.
func (s *Store) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	if err := s.enter(ctx); err != nil {
		return task.BeatReply{}, err
	}
	defer s.mu.Unlock()
	w, ok := s.workers[b.Worker]
	switch {
	case !ok && b.Seq == 1:
		w = &worker{since: time.Now(), beat: b}
		s.workers[b.Worker] = w
	case !ok || w.dead:
		return task.BeatReply{}, task.ErrWorkerGone
	case b.Seq > w.beat.Seq:
		if b.State == task.WorkerStopping && w.beat.State != b.State {
			s.signals.Wake(0, 0, 1)
		}
		w.beat.Seq, w.beat.State, w.beat.Unresponsive = b.Seq, b.State, slices.Clone(b.Unresponsive)
		w.beat.Paused = slices.Clone(b.Paused)
	}
	w.beat.Runs, w.beat.ListsAllRuns = nil, false
	reply := s.reply(b)
	if w.beat.State == task.WorkerStopped {
		w.died = true // the runs that it still holds must be reclaimed
		if len(s.held(b.Worker)) == 0 {
			delete(s.workers, b.Worker)
		}
	}
	return reply, nil
}

// reply returns what the worker may not know (rules 14, 25, 31).
func (s *Store) reply(b task.Beat) (reply task.BeatReply) {
	listed := make(map[task.Fence]bool, len(b.Runs))
	for _, f := range b.Runs {
		listed[f] = true
		if !s.holds(f) {
			reply.Lost = append(reply.Lost, f)
		}
	}
	for _, t := range s.held(b.Worker) {
		f := task.Fence{Task: t.ID, Run: t.Run, Worker: t.Worker}
		if verb, ok := s.asked[t.ID]; ok {
			reply.Commands = append(reply.Commands, task.PendingCommand{Fence: f, Verb: verb})
		}
		if b.ListsAllRuns && !listed[f] {
			reply.Missing = append(reply.Missing, clone(t))
		}
	}
	return reply
}

// Workers implements task.Store. The liveness of a worker is unknown unless it was killed with
// Kill.
func (s *Store) Workers(ctx context.Context) ([]task.WorkerInfo, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var all []task.WorkerInfo
	for _, w := range s.workers {
		life := task.LivenessUnknown
		if w.died {
			life = task.LivenessDead
		}
		all = append(all, task.WorkerInfo{Beat: w.beat, Liveness: life, Dead: w.dead, Since: w.since})
	}
	slices.SortFunc(all, func(a, b task.WorkerInfo) int { return cmp.Compare(a.Worker, b.Worker) })
	return all, nil
}

// Reclaim implements task.Store.
func (s *Store) Reclaim(ctx context.Context, req task.ReclaimRequest) (task.ReclaimReply, error) {
	if err := s.enter(ctx); err != nil {
		return task.ReclaimReply{}, err
	}
	defer s.mu.Unlock()
	w, ok := s.workers[req.Worker]
	if !ok {
		return task.ReclaimReply{Done: true}, nil
	}
	if !w.dead {
		if req.Evidence && !w.died || !req.Evidence && w.beat.Seq != req.Seq {
			return task.ReclaimReply{}, task.ErrWorkerAlive
		}
		w.dead, w.evidence = true, req.Evidence
		w.suspects, w.split = s.suspects(req.Worker)
	}
	left := task.ReclaimReply{Evidence: w.evidence, State: w.beat.State, Suspects: w.suspects, Split: w.split}
	held := s.held(req.Worker)
	for _, t := range held[:min(len(held), req.Max)] {
		left.Tasks = append(left.Tasks, clone(t))
	}
	if len(held) == 0 {
		left.Done = true
		delete(s.workers, req.Worker)
	}
	return left, nil
}

// suspects counts the suspects that a worker holds, and returns the id at which the second half of
// them begins. If there are none, it is that of the tasks that were in a crash.
func (s *Store) suspects(incarnation string) (n int, split string) {
	held := s.held(incarnation)
	crashed := slices.DeleteFunc(slices.Clone(held), func(t *task.Task) bool { return t.CrashStreak == 0 })
	suspects := slices.DeleteFunc(held, func(t *task.Task) bool { return !t.Suspect() })
	if n = len(suspects); n > 0 {
		crashed = suspects
	}
	if half := (len(crashed) + 1) / 2; half < len(crashed) {
		split = crashed[half].ID
	}
	return n, split
}

// held lists the tasks that a worker holds, by id.
func (s *Store) held(incarnation string) []*task.Task {
	var held []*task.Task
	for _, t := range s.tasks {
		if t.Status == task.StatusRunning && t.Worker == incarnation {
			held = append(held, t)
		}
	}
	slices.SortFunc(held, func(a, b *task.Task) int { return cmp.Compare(a.ID, b.ID) })
	return held
}
