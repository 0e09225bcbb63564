//go:build linux

package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// inspector reads what a store has, with statements of its own.
type inspector struct {
	db    *sql.DB
	state history.State
}

// reading is the part of an inspection that differs from store to store.
type reading struct {
	// tasks has a row for each task in each place where it is, and for each that was pruned: its
	// columns are those of scanTask.
	tasks string
	// runs has a row for each run, the oldest of a task first: its columns are those of scanRun.
	runs string
	// counts has the numbers of tasks by status, as the store tells them.
	counts string
	// residue has a query for each table, which counts rows that belong to nothing.
	residue map[string]string
}

// inspect is the command inspect.
func inspect(s settings, out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	state, err := readState(ctx, s.store)
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	state.Retention = s.retention
	return json.NewEncoder(out).Encode(state)
}

func readState(ctx context.Context, address string) (state history.State, err error) {
	at := time.Now()
	if path, ok := sqlitePath(address); ok {
		state, err = readSQLite(ctx, path)
	} else {
		state, err = readPostgres(ctx, address)
	}
	state.At = at
	return state, err
}

// read reads all that a reading names.
func (i *inspector) read(ctx context.Context, r reading) error {
	if err := i.readTasks(ctx, r); err != nil {
		return fmt.Errorf("tasks: %w", err)
	}
	i.state.Counts = make(map[string]int64)
	err := i.each(ctx, r.counts, func(rows *sql.Rows) error {
		var (
			status string
			n      int64
		)
		err := rows.Scan(&status, &n)
		if n != 0 {
			i.state.Counts[status] = n
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("counts: %w", err)
	}
	i.state.Residue = make(map[string]int64)
	for table, query := range r.residue {
		var n int64
		if err := i.db.QueryRowContext(ctx, query).Scan(&n); err != nil {
			return fmt.Errorf("residue of %s: %w", table, err)
		}
		if n != 0 {
			i.state.Residue[table] = n
		}
	}
	return nil
}

func (i *inspector) readTasks(ctx context.Context, r reading) error {
	place := make(map[string]int) // by id
	err := i.each(ctx, r.tasks, func(rows *sql.Rows) error {
		t, err := scanTask(rows)
		place[t.ID] = len(i.state.Tasks)
		i.state.Tasks = append(i.state.Tasks, t)
		return err
	})
	if err != nil {
		return err
	}
	return i.each(ctx, r.runs, func(rows *sql.Rows) error {
		id, r, err := scanRun(rows)
		if n, ok := place[id]; ok {
			i.state.Tasks[n].Runs = append(i.state.Tasks[n].Runs, r)
		}
		return err
	})
}

// each calls do for each row of a query.
func (i *inspector) each(ctx context.Context, query string, do func(*sql.Rows) error) (err error) {
	rows, err := i.db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// scanTask reads a task, and its number from its payload: 0 if it is none of a run's. Its times are
// in microseconds.
func scanTask(rows *sql.Rows) (t history.Task, err error) {
	var (
		payload       []byte
		ended, pruned int64
	)
	err = rows.Scan(&t.ID, &t.Kind, &t.Queue, &t.Key, &t.Status, &t.Reason, &t.Error, &t.Attempts, &t.Interruptions, &t.Crashes, &t.Result, &payload, &ended, &pruned)
	t.Ended, t.Pruned = timeOf(ended), timeOf(pruned)
	var plan struct{ Seq int }
	if json.Unmarshal(payload, &plan) == nil {
		t.Seq = plan.Seq
	}
	return t, err
}

// scanRun reads a run and the id of its task. Its times are in microseconds.
func scanRun(rows *sql.Rows) (id string, r history.Run, err error) {
	var started, ended int64
	err = rows.Scan(&id, &r.Run, &r.PID, &started, &ended, &r.Status, &r.Reason, &r.Error, &r.Crashed, &r.Reclaimed)
	r.Started, r.Ended = timeOf(started), timeOf(ended)
	return id, r, err
}

// timeOf is the time of so many microseconds, none for 0.
func timeOf(micros int64) (t time.Time) {
	if micros == 0 {
		return t
	}
	return time.UnixMicro(micros).UTC()
}

// leave adds to what is left that nobody needs.
func (i *inspector) leave(format string, args ...any) {
	i.state.Left = append(i.state.Left, fmt.Sprintf(format, args...))
}
