package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// interruptAll has 100,000 tasks run, and measures from the interrupt until all of them are recorded
// as interrupted.
func interruptAll() (float64, error) {
	return withCluster(func(server *pgtest.Server) (float64, error) {
		store, err := openPostgres(server)
		if err != nil {
			return 0, err
		}
		n := hundredThousand / load
		g, running, err := runAll(store, n)
		if err != nil {
			return 0, err
		}
		defer g.Stop(nil)
		if err := within(time.Minute, func() bool { return int(running.Load()) == n }); err != nil {
			return 0, fmt.Errorf("%d of %d tasks run: %w", running.Load(), n, err)
		}
		took, err := clocked(server.PID(), n, func() error {
			g.Stop(errors.New("the measure"))           // the kind wants its interrupt at last call
			if code := g.Wait().ExitCode(); code != 1 { // a stop with a cause
				return fmt.Errorf("exit code %d", code)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		counts, err := store.Count(context.Background())
		if err != nil {
			return 0, err
		}
		if len(counts.Tasks) != 1 || counts.Tasks[0].Status != task.Interrupted || counts.Tasks[0].N != n {
			return 0, fmt.Errorf("afterwards: %+v", counts.Tasks)
		}
		return milliseconds(took), store.Close()
	})
}

// runAll enqueues n tasks and runs all of them at once.
func runAll(store task.Store, n int) (*lastcall.Group, *atomic.Int64, error) {
	if _, err := enqueueOf(context.Background(), store, patient, n); err != nil {
		return nil, nil, err
	}
	running := new(atomic.Int64)
	var mux task.Mux
	task.Handle(&mux, patient, func(ctx context.Context, _ *task.Run, _ empty) error {
		running.Add(1)
		<-ctx.Done()
		return ctx.Err()
	})
	w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: n, Logger: quiet})
	if err != nil {
		return nil, nil, err
	}
	g, err := lastcall.New(context.Background(), lastcall.Config{Grace: time.Minute, Delay: -1, Logger: quiet})
	if err != nil {
		return nil, nil, err
	}
	return g, running, g.Go("worker", w.Serve)
}

// within waits until something has come to pass.
func within(limit time.Duration, ok func() bool) error {
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v", limit)
		}
	}
	return nil
}

// bareUpdate is one statement that changes as many rows of a table that has tasks and their states in one, within their pages, and
// is durable.
func bareUpdate() (float64, error) {
	return bareStatement(`update plain set status = 'interrupted', reason = 'stop', since = now()`)
}

// bareMove is one that takes as many rows out of one such table and puts them into another.
func bareMove() (float64, error) {
	return bareStatement(`with gone as (delete from lastcall.ready returning *) insert into moved select * from gone`)
}

// wideTable is a table for tasks and their states, and for tasks that wait.
const wideTable = `create table plain with (fillfactor = 34) as
	select t.id, t.created, t.priority, t.lane, t.key, t.payload, s.* from lastcall.tasks t left join lastcall.states s on s.task = t.id where false`

// bareStatement measures a statement about tasks that have just been enqueued, or about as many rows of a table of its own.
func bareStatement(sql string) (float64, error) {
	return withCluster(func(server *pgtest.Server) (float64, error) {
		ctx := context.Background()
		store, err := openPostgres(server)
		if err != nil {
			return 0, err
		}
		c, err := pgx.Connect(ctx, server.DSN("postgres"))
		if err != nil {
			return 0, err
		}
		for _, sql := range []string{
			`create table moved (like lastcall.ready including all)`,
			wideTable,
			`alter table plain add primary key (id)`,
			fmt.Sprintf(`insert into plain (id, created, priority, lane, payload) select gen_random_uuid(), now(), 0, 1, '{}' from generate_series(1, %d)`, hundredThousand/load),
		} {
			if _, err := c.Exec(ctx, sql); err != nil {
				return 0, err
			}
		}
		if _, err := enqueueOf(ctx, store, patient, hundredThousand/load); err != nil {
			return 0, err
		}
		began := time.Now()
		tag, err := c.Exec(ctx, sql)
		if err != nil {
			return 0, err
		}
		took := time.Since(began)
		if n := tag.RowsAffected(); n != int64(hundredThousand/load) {
			return 0, fmt.Errorf("%d rows", n)
		}
		return milliseconds(took), errors.Join(c.Close(ctx), store.Close())
	})
}

func beatSmall() (float64, error) { return beat(10) }
func beatLarge() (float64, error) { return beat(50_000 / load) }

// beat returns the median time of a beat of a worker that has so many runs.
func beat(n int) (float64, error) {
	return withCluster(func(server *pgtest.Server) (float64, error) {
		store, err := openPostgres(server)
		if err != nil {
			return 0, err
		}
		timed := &timedBeats{Store: store}
		g, running, err := runAll(timed, n)
		if err != nil {
			return 0, err
		}
		if err := within(time.Minute, func() bool { return int(running.Load()) == n }); err != nil {
			return 0, err
		}
		timed.forget()
		beats := 9 / min(load, 3)
		if err := within(time.Minute, func() bool { return timed.count() >= beats }); err != nil {
			return 0, err
		}
		median := timed.median()
		g.Stop(nil)
		if code := g.Wait().ExitCode(); code != 0 {
			return 0, fmt.Errorf("exit code %d", code)
		}
		return median, store.Close()
	})
}

// timedBeats measures the beats of a worker.
type timedBeats struct {
	task.Store
	mu   sync.Mutex
	took []time.Duration
}

func (s *timedBeats) Heartbeat(ctx context.Context, b task.Beat) (task.BeatReply, error) {
	began := time.Now()
	reply, err := s.Store.Heartbeat(ctx, b)
	s.mu.Lock()
	s.took = append(s.took, time.Since(began))
	s.mu.Unlock()
	return reply, err
}

func (s *timedBeats) forget() {
	s.mu.Lock()
	s.took = nil
	s.mu.Unlock()
}

func (s *timedBeats) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.took)
}

// median is in milliseconds.
func (s *timedBeats) median() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.took)
	return milliseconds(s.took[len(s.took)/2])
}
