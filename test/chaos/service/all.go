//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// commandAll applies a command to all tasks of a queue. It repeats the call until there is an
// answer or its time is up, as the documentation of Bulk allows, and returns the ids of the tasks
// that were found and spared.
func (c *client) commandAll(ctx context.Context, call history.Call) ([]string, error) {
	verb := map[history.Op]task.Verb{history.CancelAll: task.VerbCancel, history.RetryAll: task.VerbRetry, history.DeleteAll: task.VerbDelete}[call.Op]
	c.spare.ids = nil
	for {
		_, err := c.all.Bulk(ctx, verb, task.Query{Queue: call.Queue}, nil)
		if err == nil || errors.Is(err, task.ErrInvalid) {
			return c.spare.ids, err
		}
		if !wire.Pause(ctx, 200*time.Millisecond) {
			return nil, fmt.Errorf("no answer in time, the last error was: %v", err) //nolint:errorlint // a part may be done
		}
	}
}

// sparing is a store that notes which tasks a command has not reached. One call at a time uses it.
type sparing struct {
	task.Store
	ids []string
}

// ControlAll implements task.Store.
func (s *sparing) ControlAll(ctx context.Context, cmd task.Command, seen []task.Standing) []error {
	errs := s.Store.ControlAll(ctx, cmd, seen)
	for i, err := range errs {
		if errors.Is(err, task.ErrChanged) || errors.Is(err, task.ErrKeyBusy) {
			s.ids = append(s.ids, seen[i].ID)
		}
	}
	return errs
}
