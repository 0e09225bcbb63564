package task

import (
	"context"
	"fmt"
)

// Client enqueues tasks, reads them, and controls them: cancel, retry, pause and so on. It is
// cheap, and safe for concurrent use.
type Client struct {
	store Store
	tx    Tx // nil outside a transaction
	waits *waits

	by, reason string // of commands

	middleware []func(next EnqueueFunc) EnqueueFunc // the first is the outermost
}

// NewClient returns a client of a store. The caller closes the store; a client needs no closing.
func NewClient(s Store) *Client { return &Client{store: s, waits: &waits{store: s}} }

// Get returns a task, or ErrNotFound.
func (c *Client) Get(ctx context.Context, id string) (Task, error) {
	found, err := c.store.Find(ctx, Query{IDs: []string{id}})
	if err != nil {
		return Task{}, fmt.Errorf("task: get %.80q: %w", id, err)
	}
	if len(found) == 0 {
		return Task{}, fmt.Errorf("%w: %.80q", ErrNotFound, id)
	}
	return found[0], nil
}

// Count counts the tasks, and names the paused queues.
func (c *Client) Count(ctx context.Context) (Counts, error) {
	n, err := c.store.Count(ctx, CountQuery{})
	if err != nil {
		return Counts{}, fmt.Errorf("task: count: %w", err)
	}
	return n, nil
}

// History returns the newest MaxHistory runs of a task, the oldest first, or ErrNotFound.
func (c *Client) History(ctx context.Context, id string) ([]RunRecord, error) {
	runs, err := c.store.History(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("task: history of %.80q: %w", id, err)
	}
	return runs, nil
}

// Log returns the last MaxLog bytes that a task's runs have logged, or ErrNotFound. It may be about
// a second behind a run that goes on.
func (c *Client) Log(ctx context.Context, id string) ([]byte, error) {
	b, err := c.store.Log(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("task: log of %.80q: %w", id, err)
	}
	return b, nil
}

// Steps returns the records of a task's steps, with their results, in their order, and ErrNotFound
// for a task that does not exist. Steps that a person has skipped come last.
func (c *Client) Steps(ctx context.Context, id string) ([]StepRecord, error) {
	all, err := c.store.Steps(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("task: steps of %.80q: %w", id, err)
	}
	return all, nil
}

// Workers lists the workers that are registered now.
func (c *Client) Workers(ctx context.Context) ([]WorkerInfo, error) {
	ws, err := c.store.Workers(ctx)
	if err != nil {
		return nil, fmt.Errorf("task: workers: %w", err)
	}
	return ws, nil
}

// Cancel ends a waiting task at once. The context of a running task ends with ErrCancelled;
// whatever its handler then returns, except success or a permanent error, ends the task as
// cancelled. A task that is cancelled already is left as it is; for one that has succeeded or
// failed the error is ErrAlreadyFinished.
func (c *Client) Cancel(ctx context.Context, id string) error { return c.ask(ctx, VerbCancel, id) }

// RetryOptions define where a retried task begins. Nil options mean: at its last checkpoint.
type RetryOptions struct {
	// FromStart removes the task's checkpoint, its progress and the records of its steps, so that the
	// next run begins as the first one did.
	FromStart bool
	// SkipSteps are names of steps that the task shall not do: [Step] returns the zero value for them,
	// and [Each] processes no further item. A step that is done stays done, with its result. With
	// FromStart the records are removed first. The task must have run before. A name that is not a
	// step of its programs does no harm.
	SkipSteps []string
}

// Retry makes a failed or cancelled task run again, with all its attempts, and a task that waits
// for its time run now. Otherwise the error is ErrRunning or ErrAlreadyFinished, or ErrKeyBusy if
// another task has its key by now.
func (c *Client) Retry(ctx context.Context, id string, opt *RetryOptions) error {
	cmd := Command{Verb: VerbRetry, Task: id}
	if opt != nil {
		cmd.FromStart, cmd.SkipSteps = opt.FromStart, opt.SkipSteps
	}
	if len(cmd.SkipSteps) > 0 {
		if err := c.checkSkips(ctx, id, cmd.SkipSteps); err != nil {
			return err
		}
	}
	return c.control(ctx, cmd)
}

// checkSkips accepts steps that can be skipped. The first run of a task does not read records, so
// it must be over.
func (c *Client) checkSkips(ctx context.Context, id string, names []string) error {
	if len(names) > MaxSteps {
		return invalid("%d steps are to be skipped, a task has at most %d", len(names), MaxSteps)
	}
	for _, name := range names {
		if err := checkName("step", name); err != nil {
			return err
		}
	}
	t, err := c.Get(ctx, id)
	if err == nil && t.Runs == 0 {
		err = invalid("task %s has not run yet: its steps can be skipped once it has", id)
	}
	return err
}

// Interrupt makes a running task hand over: its context ends with ErrInterruptRequested. After its
// handler has returned the task is claimable at once, but for five seconds only by other workers. A
// task that does not run is ErrNotRunning.
func (c *Client) Interrupt(ctx context.Context, id string) error {
	return c.ask(ctx, VerbInterrupt, id)
}

// Delete removes an ended task at once, with everything that the store has of it: payload, Meta,
// runs, checkpoint, log, result. A task that waits or runs is ErrNotEnded: cancel it, and delete it
// when it has ended. Deleting it again is ErrNotFound. The id is free from then on: a repeated
// submit with that id creates a new task, which will run. What the store's own backups, write-ahead
// logs and freed pages still contain is not removed.
func (c *Client) Delete(ctx context.Context, id string) error { return c.ask(ctx, VerbDelete, id) }

func (c *Client) ask(ctx context.Context, verb Verb, id string) error {
	return c.control(ctx, Command{Verb: verb, Task: id})
}

func (c *Client) control(ctx context.Context, cmd Command) error {
	cmd.By, cmd.Reason = c.by, c.reason
	if err := c.store.Control(ctx, cmd); err != nil {
		return fmt.Errorf("task: %s %.80q: %w", cmd.Verb, cmd.Task, err)
	}
	return nil
}

// PauseOptions are the options of a pause.
type PauseOptions struct {
	// Running requests running tasks to hand over too. Each run of the queue gets the request as by
	// Client.Interrupt, even one whose claim was under way, and its task goes on after Resume.
	Running bool
}

// Pause keeps the tasks of a queue from being claimed. Running tasks go on unless opt, which may be
// nil, says otherwise. No claim begins after Pause has returned. It holds for every worker, until
// Resume. A queue that does not exist yet may be paused. After an error the pause may have been
// done in part; to pause again is safe.
func (c *Client) Pause(ctx context.Context, queue string, opt *PauseOptions) error {
	return c.steer(ctx, Command{Verb: VerbPause, Queue: queue, Running: opt != nil && opt.Running})
}

// Resume ends a Pause.
func (c *Client) Resume(ctx context.Context, queue string) error {
	return c.steer(ctx, Command{Verb: VerbResume, Queue: queue})
}

func (c *Client) steer(ctx context.Context, cmd Command) error {
	if err := checkName("queue", cmd.Queue); err != nil {
		return err
	}
	cmd.By, cmd.Reason = c.by, c.reason
	if err := c.store.Control(ctx, cmd); err != nil {
		return fmt.Errorf("task: %s queue %s: %w", cmd.Verb, cmd.Queue, err)
	}
	return nil
}

// Wait returns a task once it has ended, however it ended: check its Status. It reads the task at
// once, after 10 ms, then less and less often, at least once a second. All waiters of a client
// share their reads: hundreds cost the store little more than one. When ctx ends first, Wait
// returns the task as it was read last, empty if it never was, and the cause.
func (c *Client) Wait(ctx context.Context, id string) (Task, error) { return c.waits.wait(ctx, id) }
