package memstore

import (
	"context"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Control implements task.Store.
func (s *Store) Control(ctx context.Context, cmd task.Command) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	switch cmd.Verb {
	case task.VerbPause:
		s.paused[cmd.Queue] = true
		if cmd.Running {
			s.interruptQueue(cmd.Queue)
		}
		return nil
	case task.VerbResume:
		delete(s.paused, cmd.Queue)
		s.wake()
		return nil
	}
	t, ok := s.tasks[cmd.Task]
	if !ok {
		return task.ErrNotFound
	}
	switch cmd.Verb {
	case task.VerbCancel:
		return s.cancel(t)
	case task.VerbRetry:
		return s.retry(t, cmd)
	case task.VerbDelete:
		if !t.Status.Ended() {
			return task.ErrNotEnded
		}
		s.remove(t.ID)
		return nil
	case task.VerbInterrupt:
		if t.Status != task.StatusRunning {
			return task.ErrNotRunning
		}
		if _, ok := s.asked[t.ID]; !ok {
			s.asked[t.ID] = task.VerbInterrupt
			s.tell()
		}
		return nil
	}
	return task.ErrInvalid
}

// interruptQueue asks what runs of a queue to hand over.
func (s *Store) interruptQueue(queue string) {
	for _, t := range s.tasks {
		if t.Queue == queue && t.Status == task.StatusRunning && s.asked[t.ID] == "" {
			s.asked[t.ID] = task.VerbInterrupt
		}
	}
	s.tell()
}

// remove removes an ended task with all that belongs to it.
func (s *Store) remove(id string) {
	delete(s.tasks, id)
	delete(s.history, id)
	delete(s.logs, id)
	delete(s.steps, id)
	delete(s.keep, id)
	delete(s.expires, id)
}

// cancel is rule 23.
func (s *Store) cancel(t *task.Task) error {
	now := time.Now()
	switch {
	case t.Status == task.StatusRunning:
		s.asked[t.ID] = task.VerbCancel
		s.tell()
	case t.Status.Claimable():
		t.Status, t.Reason, t.Since = task.StatusCancelled, "", now
		s.finished(t, now)
	case t.Status != task.StatusCancelled:
		return task.ErrAlreadyFinished
	}
	return nil
}

// retry is rule 24.
func (s *Store) retry(t *task.Task, cmd task.Command) error {
	now := time.Now()
	switch {
	case t.Status == task.StatusRunning:
		return task.ErrRunning
	case t.Status == task.StatusSucceeded:
		return task.ErrAlreadyFinished
	case t.Status.Ended():
		if k := (keyOf{t.Kind, t.Key}); t.Key != "" {
			if _, ok := s.keys[k]; ok {
				return task.ErrKeyBusy
			}
			s.keys[k] = t.ID
		}
		delete(s.expires, t.ID)
		t.Status, t.Reason, t.Since, t.Finished = task.StatusQueued, "", now, time.Time{}
	}
	s.retrySteps(t, cmd, now)
	t.RunAt = now
	t.Attempts, t.CrashStreak, t.InterruptStreak, t.Suspicion = 0, 0, 0, 0
	s.wake()
	return nil
}
