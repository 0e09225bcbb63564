package httpapi

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// WaitsFor says why a task that can be claimed is not: its queue is paused, its time has not come,
// or no worker that is alive knows its kind. It is empty when the task does not wait, and when it
// waits only for a worker to have a hand free.
func WaitsFor(t task.Task, workers []task.WorkerInfo, paused []string, now time.Time) string {
	switch {
	case !t.Status.Claimable():
		return ""
	case !slices.Contains(kindsOf(workers), t.Kind):
		return noWorker(t.Kind)
	case slices.Contains(paused, t.Queue):
		return fmt.Sprintf("the queue %s is paused", t.Queue)
	case t.RunAt.After(now):
		return "its time, " + t.RunAt.UTC().Format(time.RFC3339)
	}
	return ""
}

func noWorker(kind string) string { return fmt.Sprintf("no running worker knows the kind %q", kind) }

// kindsOf are the kinds that somebody claims who is not dead.
func kindsOf(workers []task.WorkerInfo) []string {
	var kinds []string
	for _, w := range workers {
		if !w.Dead && w.Liveness != task.LivenessDead {
			kinds = append(kinds, w.Kinds...)
		}
	}
	return kinds
}

// kindCache remembers which kinds are known, so that a submit need not ask the store.
type kindCache struct {
	mu    sync.Mutex
	kinds []string
	at    time.Time
	busy  bool // somebody asks
}

const (
	// kindsTrusted is for how long a kind that was known counts as known, and kindsAsked how often
	// the store is asked about one that was not.
	kindsTrusted = 5 * time.Second
	kindsAsked   = 200 * time.Millisecond
)

// known says whether a worker knows a kind, or knew it a moment ago. It is true when the store does
// not say.
func (c *kindCache) known(ctx context.Context, client *task.Client, kind string) bool {
	c.mu.Lock()
	age, known := time.Since(c.at), slices.Contains(c.kinds, kind)
	ask := !c.busy && (age > kindsTrusted || !known && age > kindsAsked)
	if ask {
		c.busy = true
	}
	c.mu.Unlock()
	if !ask {
		return known
	}
	workers, err := client.Workers(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	if err != nil {
		return true
	}
	c.kinds, c.at = kindsOf(workers), time.Now()
	return slices.Contains(c.kinds, kind)
}
