package httpapi

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// maxLines bounds the lines of counts and the queues that are told.
const maxLines = 1000

// counter counts the tasks of a store, once for all who ask at the same time: with a hundred thousand
// kinds an answer of the store has tens of megabytes, of which a thousand lines are kept.
type counter struct {
	client *task.Client
	seed   maphash.Seed
	turn   chan struct{} // held while the store is asked

	// Guarded by turn.
	began time.Time
	now   counted
}

// counted are the tasks as they were counted.
type counted struct {
	task.Counts
	// digest is of all lines, also of those that were added up.
	digest uint64
}

func newCounter(c *task.Client) *counter {
	return &counter{client: c, seed: maphash.MakeSeed(), turn: make(chan struct{}, 1)}
}

// count returns numbers that were counted since it was called.
func (c *counter) count(ctx context.Context) (counted, error) {
	called := time.Now()
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return counted{}, context.Cause(ctx)
	}
	defer func() { <-c.turn }()
	if c.began.After(called) {
		return c.now, nil
	}
	began := time.Now()
	all, err := c.client.Count(ctx)
	if err != nil {
		return counted{}, err
	}
	c.began, c.now = began, counted{Counts: all.Largest(maxLines), digest: digest(c.seed, all)}
	return c.now, nil
}

// digest tells counts apart.
func digest(seed maphash.Seed, c task.Counts) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, n := range c.Tasks {
		maphash.WriteComparable(&h, n)
	}
	for _, queue := range c.Paused {
		maphash.WriteComparable(&h, queue)
	}
	maphash.WriteComparable(&h, [2]int{c.SuspectsWaiting, c.SuspectsRunning})
	return h.Sum64()
}
