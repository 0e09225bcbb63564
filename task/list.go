package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Find returns the tasks that a query admits, in its order. To go on, ask again with the last one's
// Query.PositionOf as Query.After, or use List. It looks until it has as many as are wanted: for
// fields that no index has that may be through all tasks, in steps. When ctx ends, the answer is
// what was found until then, and the cause.
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

// List returns a part of the tasks that a query admits, in its order, and where to go on. It is one
// step of a store, with a bound for what that looks at: a page may have fewer tasks than the limit,
// or none, although others follow. What follows is right even when tasks move meanwhile: a task
// that the query admits all the time is on one page.
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

// As returns a client as c is, whose commands are made in somebody's name and for a reason: both
// are kept in the history of each task, for [Client.Commands]. A text that is too long is cut.
func (c *Client) As(by, reason string) *Client {
	as := *c
	as.by, as.reason = storable(by, maxBy), storable(reason, MaxReason)
	return &as
}

// Commands returns what people have asked of a task, the oldest first and the newest MaxCommands of
// it, or ErrNotFound. A command whose answer was lost and that was sent again may be there twice.
func (c *Client) Commands(ctx context.Context, id string) ([]CommandRecord, error) {
	all, err := c.store.Commands(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("task: commands of %.80q: %w", id, err)
	}
	return all, nil
}

// BulkOptions say how a command is given to all tasks of a query. The zero value means all of them.
type BulkOptions struct {
	// DryRun: the tasks are counted, and nothing is done to them.
	DryRun bool
	// Limit bounds the tasks that are found. Zero means no bound.
	Limit int
	// Step, if set, is told after each part what has been done so far.
	Step func(BulkResult)
}

// BulkResult is what a command to all tasks of a query has done.
type BulkResult struct {
	// Found counts the tasks that the query admits, Done those to which it was done.
	Found, Done int
	// Changed counts those that had become something else before it was their turn, or were held by a
	// transaction that is still open; KeyBusy those to be retried whose key another unfinished task
	// has.
	Changed, KeyBusy int
	// Next is the Query.After with which to go on, empty when all have been looked at.
	Next string
}

// Plus is what two parts of one command have done, of which the other came later.
func (r BulkResult) Plus(other BulkResult) BulkResult {
	return BulkResult{r.Found + other.Found, r.Done + other.Done, r.Changed + other.Changed, r.KeyBusy + other.KeyBusy, other.Next}
}

// bulkStep is how many tasks are asked for, and commanded, at once.
const bulkStep = 500

// Bulk does a command to all tasks that a query admits: VerbRetry, VerbCancel, VerbInterrupt or
// VerbDelete, as the methods of these names do. A query that names no status means those for which
// the command is made: to retry, what has failed or was cancelled; to cancel, what waits or runs;
// to interrupt, what runs; to delete, what has ended. Limit, Brief and IDs of the query are not
// used.
//
// It goes from the newest task to the oldest, in steps of 500, each of which is one transaction:
// workers go on beside it. A task is left alone if it is no longer what the query has found.
// Whoever repeats a call, after an error or a lost answer, does nothing twice, and can go on from
// the Next of what was returned. It does not see tasks that come to be, or fail anew, while it goes
// on.
func (c *Client) Bulk(ctx context.Context, verb Verb, q Query, opt *BulkOptions) (done BulkResult, err error) {
	if opt == nil {
		opt = &BulkOptions{}
	}
	if q, err = bulkQuery(verb, q); err != nil {
		return done, err
	}
	cmd := Command{Verb: verb, By: c.by, Reason: c.reason}
	for done.Next = q.After; ; q.After = done.Next {
		if err := ctx.Err(); err != nil {
			return done, context.Cause(ctx)
		}
		if opt.Limit > 0 {
			q.Limit = min(bulkStep, opt.Limit-done.Found)
		}
		page, err := c.List(ctx, q)
		if err != nil {
			return done, err
		}
		if !opt.DryRun && len(page.Tasks) > 0 {
			if err := c.bulkStep(ctx, cmd, page.Tasks, &done); err != nil {
				return done, err
			}
		}
		done.Found += len(page.Tasks)
		done.Next = page.Next
		if opt.Step != nil {
			opt.Step(done)
		}
		if page.Next == "" || opt.Limit > 0 && done.Found >= opt.Limit {
			return done, nil
		}
	}
}

// bulkStep does a command to some tasks.
func (c *Client) bulkStep(ctx context.Context, cmd Command, tasks []Task, done *BulkResult) error {
	as := make([]Standing, len(tasks))
	for i, t := range tasks {
		as[i] = Standing{ID: t.ID, Status: t.Status, Created: t.Created, Since: t.Since}
	}
	step := *done
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

// bulkStatuses are the statuses for which a command is made, and those that it can be given for
// besides.
func bulkStatuses(verb Verb) (made, besides []Status) {
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

// bulkQuery is a query for the tasks to which a command is done.
func bulkQuery(verb Verb, q Query) (Query, error) {
	made, besides := bulkStatuses(verb)
	if made == nil {
		return q, invalid("%.40q cannot be done to all tasks of a query: use one of %s, %s, %s, %s", verb, VerbRetry, VerbCancel, VerbInterrupt, VerbDelete)
	}
	if len(q.IDs) > 0 {
		return q, invalid("a query of ids is for single commands")
	}
	for _, s := range append(slices.Clone(q.Statuses), q.Status) {
		if s != "" && !slices.Contains(made, s) && !slices.Contains(besides, s) {
			return q, invalid("%s is nothing that can be done to a task that is %s: leave the status out, or use some of %v", verb, s, append(made, besides...))
		}
	}
	if q.Status == "" && len(q.Statuses) == 0 {
		q.Statuses = made
		if q.Order == OrderFinished && verb == VerbDelete {
			q.Statuses = nil // the order says it
		}
	}
	q.Limit, q.Brief = bulkStep, true
	return q, nil
}
