package task

import (
	"bytes"
	"context"
	"fmt"
)

// Client enqueues tasks and looks at them. It is cheap, and safe for concurrent use.
type Client struct {
	store Store
}

// NewClient returns a client of a store, which stays the caller's to close.
func NewClient(s Store) *Client { return &Client{store: s} }

// Enqueue records a new task of a kind that is known by its name. When it has returned without an
// error the task survives this process. opt may be nil. Whether any worker knows the kind is not
// asked: the task waits for one that does.
//
// An error that is ErrInvalid is the caller's; after any other one it is not known whether the task
// was recorded, and enqueuing again with the same Options.ID is safe.
func (c *Client) Enqueue(ctx context.Context, kind string, payload []byte, opt *Options) (Enqueued, error) {
	var o Options
	if opt != nil {
		o = *opt
	}
	if o.ID == "" {
		o.ID = newID()
	}
	if err := checkID(o.ID); err != nil {
		return Enqueued{}, err
	}
	if err := checkName("kind", kind); err != nil {
		return Enqueued{}, err
	}
	if len(payload) > MaxPayload {
		return Enqueued{}, invalid("payload has %d bytes, at most %d are kept: put it into a file and enqueue the file's name", len(payload), MaxPayload)
	}
	if o.Delay < 0 {
		return Enqueued{}, invalid("delay %v is negative", o.Delay)
	}
	added, err := c.store.Add(ctx, []NewTask{{
		ID: o.ID, Kind: kind, Payload: bytes.Clone(payload), Priority: o.Priority, Delay: o.Delay,
	}})
	if err != nil {
		return Enqueued{ID: o.ID}, fmt.Errorf("task: enqueue %s: %w", o.ID, err)
	}
	return Enqueued{ID: o.ID, Existed: added[0].Existed}, nil
}

// Get returns a task, or ErrNotFound.
func (c *Client) Get(ctx context.Context, id string) (Task, error) {
	found, err := c.store.Find(ctx, Query{IDs: []string{id}})
	if err != nil {
		return Task{}, fmt.Errorf("task: get %s: %w", id, err)
	}
	if len(found) == 0 {
		return Task{}, fmt.Errorf("%w: %.80q", ErrNotFound, id)
	}
	return found[0], nil
}

// Find returns the tasks that a query admits, the newest first.
func (c *Client) Find(ctx context.Context, q Query) ([]Task, error) {
	found, err := c.store.Find(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("task: find: %w", err)
	}
	return found, nil
}

// History returns the runs of a task, the oldest first, or ErrNotFound.
func (c *Client) History(ctx context.Context, id string) ([]RunRecord, error) {
	runs, err := c.store.History(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("task: history of %.80q: %w", id, err)
	}
	return runs, nil
}

// Workers lists the workers that are registered now.
func (c *Client) Workers(ctx context.Context) ([]WorkerInfo, error) {
	ws, err := c.store.Workers(ctx)
	if err != nil {
		return nil, fmt.Errorf("task: workers: %w", err)
	}
	return ws, nil
}
