package httpapi

import (
	"context"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// kindCache caches the workers, so that a submit need not ask the store whether one of them knows
// its kind.
type kindCache struct {
	mu      sync.Mutex
	workers []task.WorkerInfo
	at      time.Time
	busy    bool // a request is reading the workers
}

const (
	// kindsTrusted is how long a known kind counts as known, and kindsAsked how often the store is
	// asked about an unknown one.
	kindsTrusted = 5 * time.Second
	kindsAsked   = 200 * time.Millisecond
)

// pendingReason returns [task.PendingReason] of a new task whose kind no worker knows, or knew a
// moment ago. It is empty when a worker knows the kind, and when the store cannot be asked.
func (c *kindCache) pendingReason(ctx context.Context, client *task.Client, kind string) string {
	c.mu.Lock()
	age, reason := time.Since(c.at), c.reason(kind)
	ask := !c.busy && (age > kindsTrusted || reason != "" && age > kindsAsked)
	if ask {
		c.busy = true
	}
	c.mu.Unlock()
	if !ask {
		return reason
	}
	workers, err := client.Workers(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	if err != nil {
		return ""
	}
	c.workers, c.at = workers, time.Now()
	return c.reason(kind)
}

// reason considers only the kind: neither the queue nor the time. c.mu is held.
func (c *kindCache) reason(kind string) string {
	return task.PendingReason(task.Task{Kind: kind, Status: task.StatusQueued}, c.workers, nil, time.Time{})
}

// check refuses a task whose kind no running worker knows.
func (c *kindCache) check(ctx context.Context, client *task.Client, kind string) error {
	c.mu.Lock()
	age, reason := time.Since(c.at), c.reason(kind)
	c.mu.Unlock()
	if reason == "" && age <= kindsTrusted {
		return nil
	}
	if age > kindsAsked {
		workers, err := client.Workers(ctx)
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.workers, c.at = workers, time.Now()
		reason = c.reason(kind)
		c.mu.Unlock()
	}
	if reason != "" {
		return problem("unknown-kind", "%s, and this server takes no others: mistyped? GET /v1/workers has the kinds that there are", reason)
	}
	return nil
}
