package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// idleStatements counts what an idle worker asks of the server in a second. The server's own clean-up
// would be counted with it: a transaction for each table, once a minute.
func idleStatements() (float64, error) {
	return withCluster(func(server *pgtest.Server) (float64, error) {
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		store, err := openPostgres(server)
		if err != nil {
			return 0, err
		}
		var mux task.Mux
		task.Handle(&mux, noop, func(context.Context, *task.Run, empty) error { return nil })
		w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Logger: quiet})
		if err != nil {
			return 0, err
		}
		served := make(chan error, 1)
		go func() { served <- w.Serve(ctx) }()
		c, err := pgx.Connect(ctx, server.DSN("postgres"))
		if err != nil {
			return 0, err
		}
		// Each statement is a transaction of its own here; the server publishes its counts with a delay.
		commits := func() (n int64, err error) {
			time.Sleep(2 * time.Second)
			err = c.QueryRow(ctx, `select xact_commit from pg_stat_database where datname = current_database()`).Scan(&n)
			return n, err
		}
		time.Sleep(13 * time.Second / time.Duration(min(load, 10))) // a connection that is idle publishes after ten seconds what it asked at the start
		before, err := commits()
		if err != nil {
			return 0, err
		}
		self, others, err := processorTime(server.PID())
		if err != nil {
			return 0, err
		}
		const span = 60
		time.Sleep((span/time.Duration(min(load, 15)) - 2) * time.Second)
		after, err := commits()
		if err != nil {
			return 0, err
		}
		selfNow, othersNow, err := processorTime(server.PID())
		if err != nil {
			return 0, err
		}
		seconds := float64(span / min(load, 15))
		fmt.Fprintf(os.Stderr, "    of a core: %.2f %%, and %.2f %% of the server\n", (selfNow-self).Seconds()/seconds*100, (othersNow-others).Seconds()/seconds*100)
		stop()
		return float64(after-before-1) / seconds, errors.Join(<-served, c.Close(context.WithoutCancel(ctx)), store.Close())
	}, "autovacuum=off")
}
