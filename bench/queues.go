package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/lastcall-go/lastcall/task"
)

// queuesPostgres processes n tasks that are spread over several queues.
func queuesPostgres(queues, n int) func() (figures, error) {
	return func() (figures, error) {
		return onPostgres(func(store task.Store, db database) (figures, error) {
			return workQueues(store, max(queues/load, 1), n/load, db)
		})
	}
}

func queuesSQLite(queues, n int) func() (figures, error) {
	return func() (figures, error) {
		return onSQLite(func(store task.Store, db database) (figures, error) {
			return workQueues(store, max(queues/load, 1), n/load, db)
		})
	}
}

// idleAfterQueues processes the tasks of many queues, and then counts the statements per second of
// an idle worker.
func idleAfterQueues(queues int) func() (figures, error) {
	return func() (figures, error) {
		return onPostgres(func(store task.Store, db database) (figures, error) {
			if _, err := workQueues(store, queues/load, queues/load, db); err != nil {
				return nil, err
			}
			return idleOn(store, db)
		}, noVacuum)
	}
}

func workQueues(store task.Store, queues, n int, db database) (figures, error) {
	w := nothings(n, slots)
	found, err := clocked(db, n, func() error { return enqueueInQueues(store, queues, n) })
	if err != nil {
		return nil, err
	}
	enqueued := found[perSecond]
	if found, err = serve(store, w, db); err != nil {
		return nil, err
	}
	found[enqueuedPerSecond] = enqueued
	return found, errors.Join(err, w.checkTasks(store))
}

func enqueueInQueues(store task.Store, queues, n int) error {
	client := task.NewClient(store)
	for made := 0; made < n; made += perCall {
		batch := make([]task.NewTask, min(perCall, n-made))
		for i := range batch {
			var err error
			queue := fmt.Sprintf("queue-%d", (made+i)%queues)
			if batch[i], err = noop.Prepare(empty{}, &task.EnqueueOptions{Queue: queue}); err != nil {
				return err
			}
		}
		if _, err := client.EnqueueMany(context.Background(), batch); err != nil {
			return err
		}
	}
	return nil
}
