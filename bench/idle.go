package main

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// The figures of an idle worker.
const (
	statements   = "statements /s"
	ofACore      = "of a core %"
	ofServerCore = "of the server's core %"
)

// noVacuum turns autovacuum off, so that its transactions (one for each table, once a minute) are
// not counted.
const noVacuum = "autovacuum=off"

// idle counts the statements per second of an idle worker.
func idle() (figures, error) {
	return onPostgres(func(store task.Store, db database) (figures, error) { return idleOn(store, db) }, noVacuum)
}

func idleOn(store task.Store, db database) (found figures, err error) {
	stop, err := serveNoop(store, 0, func() {})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, db.dsn)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	// Each statement is a transaction of its own here. The server publishes its counts with a delay.
	commits := func() (n int64, err error) {
		time.Sleep(2 * time.Second)
		err = c.QueryRow(ctx, `select xact_commit from pg_stat_database where datname = current_database()`).Scan(&n)
		return n, err
	}
	time.Sleep(seconds(13)) // an idle connection publishes its counts after ten seconds
	before, err := commits()
	if err != nil {
		return nil, err
	}
	var after int64
	span := 60 * time.Second / time.Duration(min(load, 20))
	spent, err := clocked(db, 1, func() (err error) {
		time.Sleep(span - 2*time.Second)
		after, err = commits()
		return err
	})
	if err != nil {
		return nil, err
	}
	percent := func(us float64) float64 { return us / float64(span.Microseconds()) * 100 }
	return figures{
		statements:   float64(after-before-1) / span.Seconds(),
		ofACore:      percent(spent[ofTheWorker]),
		ofServerCore: percent(spent[ofTheServer]),
	}, nil
}
