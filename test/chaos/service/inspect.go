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

// inspector reads the content of a store with SQL statements of its own.
type inspector struct {
	db    *sql.DB
	state history.State
}

// reading is the part of an inspection that depends on the store.
type reading struct {
	// tasks selects a row for each task in each table that has it, and for each pruned task. Its
	// columns are those of scanTask.
	tasks string
	// runs selects a row for each run, the oldest of a task first. Its columns are those of scanRun.
	runs string
	// counts selects the numbers of tasks by status, as the store reports them.
	counts string
	// residue has, for each table, a query that counts orphaned rows.
	residue map[string]string
}

// inspect is the command "inspect".
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

// read executes all queries of a reading.
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

// scanTask reads a task. Its number comes from its payload, and is 0 if it is not a task of a run.
// Times are in microseconds.
func scanTask(rows *sql.Rows) (t history.Task, err error) {
	var (
		payload                []byte
		meta                   string
		created, ended, pruned int64
	)
	err = rows.Scan(&t.ID, &t.Kind, &t.Queue, &t.Key, &t.Status, &t.Reason, &t.Error, &t.Attempts, &t.Interruptions, &t.Crashes, &t.Result, &payload, &meta, &created, &ended, &pruned)
	t.Created, t.Ended, t.Pruned = timeOf(created), timeOf(ended), timeOf(pruned)
	var plan struct{ Seq int }
	if json.Unmarshal(payload, &plan) == nil {
		t.Seq = plan.Seq
	}
	return t, errors.Join(err, setMade(&t, meta))
}

// scanRun reads a run and the id of its task. Times are in microseconds.
func scanRun(rows *sql.Rows) (id string, r history.Run, err error) {
	var started, ended int64
	err = rows.Scan(&id, &r.Run, &r.PID, &started, &ended, &r.Status, &r.Reason, &r.Error, &r.Crashed, &r.Reclaimed)
	r.Started, r.Ended = timeOf(started), timeOf(ended)
	return id, r, err
}

// timeOf converts microseconds to a time. 0 is the zero time.
func timeOf(micros int64) (t time.Time) {
	if micros == 0 {
		return t
	}
	return time.UnixMicro(micros).UTC()
}

// leave adds an entry to the list of what is left and not needed any more.
func (i *inspector) leave(format string, args ...any) {
	i.state.Left = append(i.state.Left, fmt.Sprintf(format, args...))
}
