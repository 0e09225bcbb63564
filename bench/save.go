package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// saver is a task that saves until the measurement is over.
var saver = task.Kind[empty]{Name: "saver"}

// The figures of saves.
const (
	savesOf1000 = "from 1,000 handlers /s"
	savesOf10   = "from 10 handlers /s"
	saveOfOne   = "from one handler ms"
	bareCommit  = "bare commit ms"
	bareCommits = "bare commits /s"
)

// savePostgres measures saves from many handlers at once, and the bare commits of one connection
// before, between and after them.
func savePostgres() (figures, error) {
	return onPostgres(func(store task.Store, db database) (figures, error) {
		bare, err := newBare(db)
		if err != nil {
			return nil, err
		}
		found := figures{}
		for _, handlers := range []int{1, 10, 1000} {
			if err := bare.run(seconds(1)); err != nil {
				return nil, err
			}
			if err := saves(store, handlers, seconds(3), db, found); err != nil {
				return nil, err
			}
		}
		if err := bare.run(seconds(1)); err != nil {
			return nil, err
		}
		found[bareCommit] = milliseconds(bare.took) / float64(bare.n)
		found[bareCommits] = float64(bare.n) / bare.took.Seconds()
		return found, bare.c.Close(context.Background())
	})
}

func saveSQLite() (figures, error) {
	return onSQLite(func(store task.Store, db database) (figures, error) {
		found := figures{}
		return found, saves(store, 1000, seconds(3), db, found)
	})
}

// seconds returns n seconds, or n tenths of a second in the short form.
func seconds(n int) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(min(load, 10))
}

// saves runs several handlers at once, each of which saves one checkpoint after the other until the
// time is over.
func saves(store task.Store, handlers int, d time.Duration, db database, found figures) error {
	name := handlers
	if handlers > 10 {
		handlers /= min(load, 10)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client := task.NewClient(store)
	for range handlers {
		if _, err := saver.Enqueue(ctx, client, empty{}, nil); err != nil {
			return err
		}
	}
	s := &saving{handlers: int64(handlers), all: make(chan struct{}), d: d, stop: stop}
	var mux task.Mux
	task.Handle(&mux, saver, s.handle)
	w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: handlers, Logger: quiet,
		Observe: s.observe})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- w.Serve(ctx) }()
	select {
	case <-s.all:
	case err := <-served:
		return errors.Join(errors.New("the worker has ended"), err)
	}
	spent, err := clocked(db, 1, func() error { return <-served })
	if err != nil {
		return err
	}
	n := float64(s.saved.Load())
	switch name {
	case 1:
		found[saveOfOne] = milliseconds(d) / n
	case 10:
		found[savesOf10] = n / d.Seconds()
	default:
		found[savesOf1000] = n / d.Seconds()
		found["for each save: "+processor] = spent[processor] / n
	}
	return s.check(store)
}

// saving is the state that the handlers share.
type saving struct {
	handlers              int64
	all                   chan struct{} // closed when all handlers are running
	d                     time.Duration
	begun, saved, stopped atomic.Int64
	stop                  context.CancelFunc
}

func (s *saving) handle(ctx context.Context, r *task.Run, _ empty) error {
	if s.begun.Add(1) == s.handlers {
		close(s.all)
	}
	<-s.all
	at := somewhere
	if _, err := r.Load(&at); err != nil {
		return err
	}
	for until := time.Now().Add(s.d); time.Now().Before(until); {
		at.At++
		if err := r.Save(ctx, at); err != nil {
			return err
		}
		s.saved.Add(1)
	}
	return nil
}

// observe stops the worker once the end of the last handler is recorded.
func (s *saving) observe(_ context.Context, e task.Event) {
	if e.Status.Ended() && s.stopped.Add(1) == s.handlers {
		s.stop()
	}
}

// check checks that the tasks have the last of their checkpoints.
func (s *saving) check(store task.Store) error {
	newest, err := store.Find(context.Background(), task.Query{Kind: saver.Name, Status: task.StatusSucceeded,
		Limit: int(s.handlers)})
	if err != nil {
		return err
	}
	saved := int64(0)
	for _, t := range newest {
		var at position
		if err := json.Unmarshal(t.Checkpoint, &at); err != nil {
			return fmt.Errorf("checkpoint %q: %w", t.Checkpoint, err)
		}
		saved += at.At - somewhere.At
	}
	if saved != s.saved.Load() {
		return fmt.Errorf("the checkpoints tell of %d saves, there were %d", saved, s.saved.Load())
	}
	return nil
}

// bare is one connection that updates a row, in a transaction for each update.
type bare struct {
	c    *pgx.Conn
	n    int
	took time.Duration
}

func newBare(db database) (*bare, error) {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, db.dsn)
	if err != nil {
		return nil, err
	}
	for _, sql := range []string{`create table bare (id integer primary key, n bigint not null)`,
		`insert into bare values (1, 0)`} {
		if _, err := c.Exec(ctx, sql); err != nil {
			return nil, errors.Join(err, c.Close(ctx))
		}
	}
	return &bare{c: c}, nil
}

func (b *bare) run(d time.Duration) error {
	began := time.Now()
	for time.Since(began) < d {
		if _, err := b.c.Exec(context.Background(), `update bare set n = n + 1 where id = 1`); err != nil {
			return err
		}
		b.n++
	}
	b.took += time.Since(began)
	return nil
}
