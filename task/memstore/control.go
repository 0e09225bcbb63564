package memstore

import (
	"context"
	"errors"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Control implements task.Store.
func (s *Store) Control(ctx context.Context, cmd task.Command) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if cmd.Schedule != "" && (cmd.Verb == task.VerbPause || cmd.Verb == task.VerbResume) {
		return s.steerSchedule(cmd)
	}
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
	return s.control(cmd)
}

// ControlAll implements task.Store.
func (s *Store) ControlAll(ctx context.Context, cmd task.Command, seen []task.Standing) []error {
	errs := make([]error, len(seen))
	if err := s.enter(ctx); err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	defer s.mu.Unlock()
	for i, was := range seen {
		errs[i] = task.ErrChanged
		if t, ok := s.tasks[was.ID]; ok && t.Status == was.Status && t.Since.Equal(was.Since) {
			cmd.Task = was.ID
			if err := s.control(cmd); err == nil || errors.Is(err, task.ErrKeyBusy) || errors.Is(err, task.ErrInvalid) {
				errs[i] = err
			}
		}
	}
	return errs
}

// control applies a command to a task, and records it.
func (s *Store) control(cmd task.Command) error {
	t, ok := s.tasks[cmd.Task]
	if !ok {
		return task.ErrNotFound
	}
	if err := s.do(cmd, t); err != nil || cmd.Verb == task.VerbDelete {
		return err
	}
	all := append(s.done[t.ID], task.CommandRecord{Verb: cmd.Verb, At: time.Now(), By: cmd.By, Reason: cmd.Reason})
	s.done[t.ID] = all[max(0, len(all)-task.MaxCommands):]
	return nil
}

func (s *Store) do(cmd task.Command, t *task.Task) error {
	switch cmd.Verb {
	case task.VerbCancel:
		return s.cancel(t)
	case task.VerbRetry:
		return s.retry(t, cmd)
	case task.VerbDelete:
		if !t.Status.Ended() {
			return task.ErrNotEnded
		}
		if k := (keyOf{t.Kind, t.Key}); s.keys[k].id == t.ID {
			delete(s.keys, k)
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

// interruptQueue requests the running tasks of a queue to hand over.
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
	delete(s.first, id)
	delete(s.history, id)
	delete(s.done, id)
	delete(s.logs, id)
	delete(s.steps, id)
	delete(s.keep, id)
	delete(s.expires, id)
}

// cancel implements rule 23.
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

// retry implements rule 24.
func (s *Store) retry(t *task.Task, cmd task.Command) error {
	now := time.Now()
	switch {
	case t.Status == task.StatusRunning:
		return task.ErrRunning
	case t.Status == task.StatusSucceeded:
		return task.ErrAlreadyFinished
	case t.Status.Ended():
		if !s.holdAgain(t, now) {
			return task.ErrKeyBusy
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
