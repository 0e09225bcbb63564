package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// crowded measures operations on one task, a page of pruning, and a complete heartbeat, while
// 50,000 tasks run in another worker.
func crowded() (figures, error) {
	return withCluster(func(db database) (figures, error) {
		var stores [2]*timedStore
		for i := range stores {
			store, err := openPostgres(db)
			if err != nil {
				return nil, err
			}
			stores[i] = &timedStore{Store: store}
		}
		found, err := crowdedOn(stores[0], stores[1], db)
		return found, errors.Join(err, stores[0].Close(), stores[1].Close())
	})
}

func crowdedOn(many, single *timedStore, db database) (figures, error) {
	n, pages, commands := 50_000/load, max(50/load, 2), 300/min(load, 30)
	old := nothings(pages*1000/min(load, 10), slots)
	if _, err := work(single, old, db); err != nil {
		return nil, err
	}
	var ids idList
	handle := handing(false)
	if err := enqueuePatient(many, n+2*commands); err != nil {
		return nil, err
	}
	// The worker always has a free slot.
	g, begun, err := begin(many, n+2*commands+100, func(ctx context.Context, r *task.Run) error {
		ids.add(r.ID())
		return handle(ctx, r)
	})
	if err != nil {
		return nil, err
	}
	defer func() { g.Stop(nil); g.Wait() }()
	if err := within(time.Minute, func() bool { return int(begun.Load()) >= n+2*commands }); err != nil {
		return nil, err
	}
	found, err := singly(single, ids.take(), commands)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for i := 0; i < 20/min(load, 5) && time.Since(began) < 10*patience; i++ {
		many.failClaim(errors.New("the answer of this claim is lost"))
		if err := within(time.Minute, func() bool { return many.complete.count() > i }); err != nil {
			return nil, fmt.Errorf("complete beat %d: %w", i, err)
		}
	}
	found["complete beat p99 ms"] = quantile(many.complete.take(), 0.99)
	var pruned times
	removed, err := prune(single, task.PruneRequest{Max: 1000}, &pruned)
	if err == nil && removed < old.n {
		err = fmt.Errorf("%d tasks pruned, %d have ended", removed, old.n)
	}
	found["page of pruning p99 ms"] = quantile(pruned.take(), 0.99)
	return found, err
}

// idList collects the ids of running tasks.
type idList struct {
	mu  sync.Mutex
	ids []string
}

func (l *idList) add(id string) {
	l.mu.Lock()
	l.ids = append(l.ids, id)
	l.mu.Unlock()
}

func (l *idList) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ids
}

// singly claims and ends tasks one after the other, with a worker of its own. Meanwhile it shows,
// cancels and interrupts running tasks.
func singly(store *timedStore, ids []string, commands int) (figures, error) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan struct{}, 1)
	var mux task.Mux
	task.Handle(&mux, noop, func(context.Context, *task.Run, empty) error { return nil })
	w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Logger: quiet,
		Observe: func(_ context.Context, e task.Event) {
			if e.Status.Ended() {
				ended <- struct{}{}
			}
		}})
	if err != nil {
		return nil, err
	}
	served := make(chan error, 1)
	go func() { served <- w.Serve(ctx) }()
	client := task.NewClient(store)
	store.claims.take()
	store.ends.take()
	var shown, cancelled, interrupted times
	for i := range commands {
		if _, err := noop.Enqueue(ctx, client, empty{}, nil); err != nil {
			return nil, err
		}
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			return nil, errors.New("a task of the other worker has not ended")
		}
		// One task of the crowd is shown and cancelled, another one is interrupted.
		for _, do := range []struct {
			t  *times
			fn func() error
		}{
			{&shown, func() error { _, err := client.Get(ctx, ids[2*i]); return err }},
			{&cancelled, func() error { return client.Cancel(ctx, ids[2*i]) }},
			{&interrupted, func() error { return client.Interrupt(ctx, ids[2*i+1]) }},
		} {
			began := time.Now()
			if err := do.fn(); err != nil {
				return nil, err
			}
			do.t.add(time.Since(began))
		}
	}
	found := figures{
		"claim p99 ms":     quantile(store.claims.take(), 0.99),
		"end p99 ms":       quantile(store.ends.take(), 0.99),
		"show p99 ms":      quantile(shown.take(), 0.99),
		"cancel p99 ms":    quantile(cancelled.take(), 0.99),
		"interrupt p99 ms": quantile(interrupted.take(), 0.99),
	}
	stop()
	return found, <-served
}
