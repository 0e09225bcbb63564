package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Find returns the tasks that a query matches, in its order. To go on, ask again with Query.After
// set to the Query.PositionOf of the last task, or use List. Find searches until it has as many as
// are wanted: for fields without an index it may read all tasks, in steps. When ctx ends, it
// returns what was found until then, and the cause.
func (c *Client) Find(ctx context.Context, q Query) ([]Task, error) {
	var all []Task
	for want := cmp.Or(q.Limit, 100); ; {
		q.Limit = want - len(all)
		page, err := c.List(ctx, q)
		all = append(all, page.Tasks...)
		if err != nil || page.Next == "" || len(all) >= want {
			return all, err
		}
		q.After = page.Next
	}
}

// List returns a part of the tasks that a query matches, in its order, and where to go on. It is
// one step of a store, which bounds the tasks that it reads: a page may have fewer tasks than the
// limit, or none, although others follow. Paging is right even when tasks move meanwhile: a task
// that the query matches all the time is on one page.
func (c *Client) List(ctx context.Context, q Query) (Page, error) {
	if err := q.check(); err != nil {
		return Page{}, err
	}
	found, err := c.store.Find(ctx, q)
	page := Page{Tasks: found}
	more := (*MoreError)(nil)
	switch {
	case errors.As(err, &more):
		page.Next = more.After
	case err != nil:
		return Page{}, fmt.Errorf("task: find: %w", err)
	case len(found) > 0 && len(found) >= cmp.Or(q.Limit, 100):
		page.Next = q.PositionOf(found[len(found)-1]).String()
	}
	return page, nil
}

// As returns a copy of the client whose commands are made in a person's name and for a reason. Both
// are kept in the history of each task, for [Client.Commands]. A text that is too long is cut.
func (c *Client) As(by, reason string) *Client {
	as := *c
	as.by, as.reason = storable(by, maxBy), storable(reason, MaxReason)
	return &as
}

// Commands returns the commands that people have given for a task, the newest MaxCommands of them,
// the oldest first, or ErrNotFound. A command that was sent again, because its answer was lost, may
// be listed twice.
func (c *Client) Commands(ctx context.Context, id string) ([]CommandRecord, error) {
	all, err := c.store.Commands(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("task: commands of %.80q: %w", id, err)
	}
	return all, nil
}

// BulkOptions define how a command is applied to all tasks of a query. The zero value means all of
// them.
type BulkOptions struct {
	// DryRun: the tasks are counted, and nothing is done to them.
	DryRun bool
	// Limit bounds the tasks that are found. Zero means no bound.
	Limit int
	// Step, if set, is called after each part with what has been done so far.
	Step func(BulkResult)
}

// BulkResult is what a command for all tasks of a query has done.
type BulkResult struct {
	// Found counts the tasks that the query matches, Done those to which the command was applied.
	Found, Done int
	// Changed counts those whose status had changed before it was their turn, or that were held by a
	// transaction that is still open. KeyBusy counts those that were to be retried, and whose key
	// another unfinished task holds.
	Changed, KeyBusy int
	// Next is the Query.After with which to go on, empty when all have been read.
	Next string
}

// Plus adds the results of two parts of one command, of which other came later.
func (r BulkResult) Plus(other BulkResult) BulkResult {
	return BulkResult{r.Found + other.Found, r.Done + other.Done, r.Changed + other.Changed, r.KeyBusy + other.KeyBusy, other.Next}
}

const (
	bulkPage        = 500         // how many tasks Bulk reads at once
	bulkTransaction = 100         // and how many of them it commands at once
	bulkMaxPause    = time.Second // the longest pause between two transactions
)

// Bulk applies a command to all tasks that a query matches: VerbRetry, VerbCancel, VerbInterrupt or
// VerbDelete, as the methods of these names do. If the query names no status, it means those that
// the command is for:
//
//   - retry: tasks that have failed or were cancelled
//   - cancel: tasks that wait or run
//   - interrupt: tasks that run
//   - delete: tasks that have ended
//
// Limit, Brief and IDs of the query are not used.
//
// Bulk goes from the newest task to the oldest, in steps of 500. A transaction commands 100 tasks.
// Between two transactions Bulk pauses for half of the time that the first one took, a second at
// most, so that the store stays quick for the workers, which go on meanwhile.
//
// Bulk leaves a task alone whose status is no longer what the query has found. To repeat a call,
// after an error or a lost answer, does nothing twice; the call can also go on from the Next of the
// result. Bulk does not see tasks that are created, or fail again, while it goes on.
func (c *Client) Bulk(ctx context.Context, verb Verb, q Query, opt *BulkOptions) (done BulkResult, err error) {
	if opt == nil {
		opt = &BulkOptions{}
	}
	if q, err = bulkQuery(verb, q); err != nil {
		return done, err
	}
	cmd := Command{Verb: verb, By: c.by, Reason: c.reason}
	var took time.Duration
	for done.Next = q.After; ; q.After = done.Next {
		if err := ctx.Err(); err != nil {
			return done, context.Cause(ctx)
		}
		if opt.Limit > 0 {
			q.Limit = min(bulkPage, opt.Limit-done.Found)
		}
		page, err := c.List(ctx, q)
		if err != nil {
			return done, err
		}
		if opt.DryRun {
			done.Found += len(page.Tasks)
		} else if err := c.bulkStep(ctx, cmd, page.Tasks, &done, &took); err != nil {
			return done, err
		}
		done.Next = page.Next
		if opt.Step != nil {
			opt.Step(done)
		}
		if page.Next == "" || opt.Limit > 0 && done.Found >= opt.Limit {
			return done, nil
		}
	}
}

// bulkStep applies a command to the tasks of a page. It pauses before each transaction; took is how
// long the one before has taken.
func (c *Client) bulkStep(ctx context.Context, cmd Command, tasks []Task, done *BulkResult, took *time.Duration) error {
	for some := range slices.Chunk(tasks, bulkTransaction) {
		if !pause(ctx, min(*took/2, bulkMaxPause)) {
			return context.Cause(ctx)
		}
		began := time.Now()
		if err := c.commandAll(ctx, cmd, some, done); err != nil {
			return err
		}
		*took = time.Since(began)
	}
	return nil
}

// commandAll applies a command to some tasks.
func (c *Client) commandAll(ctx context.Context, cmd Command, tasks []Task, done *BulkResult) error {
	as := make([]Standing, len(tasks))
	for i, t := range tasks {
		as[i] = Standing{ID: t.ID, Status: t.Status, Created: t.Created, Since: t.Since}
	}
	step := *done
	step.Found += len(tasks)
	for _, err := range c.store.ControlAll(ctx, cmd, as) {
		switch {
		case err == nil:
			step.Done++
		case errors.Is(err, ErrChanged):
			step.Changed++
		case errors.Is(err, ErrKeyBusy):
			step.KeyBusy++
		default:
			return fmt.Errorf("task: %s all: %w", cmd.Verb, err)
		}
	}
	*done = step
	return nil
}

// bulkStatuses returns the statuses of the tasks that a command is usually for, and the others to
// which it can be applied if the query names them.
func bulkStatuses(verb Verb) (usual, others []Status) {
	waiting := []Status{StatusQueued, StatusInterrupted}
	switch verb {
	case VerbRetry:
		return []Status{StatusFailed, StatusCancelled}, waiting
	case VerbCancel:
		return append(waiting, StatusRunning), nil
	case VerbInterrupt:
		return []Status{StatusRunning}, nil
	case VerbDelete:
		return []Status{StatusSucceeded, StatusFailed, StatusCancelled}, nil
	}
	return nil, nil
}

// bulkQuery returns a query for the tasks to which a command is applied.
func bulkQuery(verb Verb, q Query) (Query, error) {
	usual, others := bulkStatuses(verb)
	if usual == nil {
		return q, invalid("%.40q cannot be done to all tasks of a query: use one of %s, %s, %s, %s", verb, VerbRetry, VerbCancel, VerbInterrupt, VerbDelete)
	}
	if len(q.IDs) > 0 {
		return q, invalid("a query of ids is for single commands")
	}
	for _, s := range append(slices.Clone(q.Statuses), q.Status) {
		if s != "" && !slices.Contains(usual, s) && !slices.Contains(others, s) {
			return q, invalid("%s is nothing that can be done to a task that is %s: leave the status out, or use some of %v", verb, s, append(usual, others...))
		}
	}
	if q.Status == "" && len(q.Statuses) == 0 {
		q.Statuses = usual
		if q.Order == OrderFinished && verb == VerbDelete {
			q.Statuses = nil // the order says it
		}
	}
	q.Limit, q.Brief = bulkPage, true
	return q, nil
}
