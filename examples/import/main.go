// Command import writes a million rows into PostgreSQL, each once, however often it is killed: a
// batch of rows and the position of the import are committed in one transaction.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/pgstore"
)

var rows = flag.Int("rows", 1_000_000, "how many rows to import")

// Import is the payload: a list of readings to import.
type Import struct{ Rows int }

// readings may be killed as often as the platform likes: a crash is no reason to fail the task.
var readings = task.Kind[Import]{Name: "import-readings", MaxCrashes: -1}

// id is the id of the task. There is one import, however often this program is started, even after
// the import has ended: a key would be free by then.
const id = "7d0e64a5-3a52-4c41-9d6b-2f5c1b6f8e10"

// batch is how many rows a transaction has.
const batch = 1000

func main() {
	flag.Parse()
	os.Exit(lastcall.Main(lastcall.Config{Grace: 30 * time.Second}, setup))
}

// setup works one task, and ends the program when that has ended.
func setup(ctx context.Context, g *lastcall.Group) error {
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	g.Defer("pool", func(context.Context) error { pool.Close(); return nil })
	store, err := pgstore.Open(ctx, pgstore.Config{Pool: pool, Migrate: true})
	if err != nil {
		return err
	}
	g.Defer("store", lastcall.CloseFunc(store.Close))
	var mux task.Mux
	task.Handle(&mux, readings, importer{pool}.work)
	worker, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Concurrency: 1})
	if err != nil {
		return err
	}
	client := task.NewClient(store)
	added, err := readings.Enqueue(ctx, client, Import{*rows}, &task.EnqueueOptions{ID: id})
	if err != nil {
		return err
	}
	if err := g.Go("worker", worker.Serve); err != nil {
		return err
	}
	return g.Loop("result", func(ctx context.Context) error {
		t, err := client.Wait(ctx, added.ID)
		if errors.Is(err, lastcall.ErrStopping) {
			return nil // the next process resumes it
		}
		if err == nil {
			fmt.Printf("%s: %s%s\n", t.Status, t.Result, t.Error)
		}
		g.Stop(nil)
		return err
	})
}

// importer writes to a database.
type importer struct{ pool *pgxpool.Pool }

// work continues after the last committed row, and hands over at last call.
func (i importer) work(ctx context.Context, r *task.Run, a Import) error {
	_, err := task.Step(ctx, r, "table", func(ctx context.Context) (any, error) {
		// No column is unique: a row that is imported twice would appear twice.
		_, err := i.pool.Exec(ctx, "create table if not exists readings (at timestamptz not null, sensor integer not null, value double precision not null)")
		return nil, err
	})
	if err != nil {
		return err
	}
	at := 0
	if _, err := r.Load(&at); err != nil {
		return err
	}
	for at < a.Rows {
		if r.Stopping() {
			return task.ErrInterrupted // all finished work is committed
		}
		next := min(at+batch, a.Rows)
		err := pgx.BeginFunc(ctx, i.pool, func(tx pgx.Tx) error {
			_, err := tx.CopyFrom(ctx, pgx.Identifier{"readings"}, []string{"at", "sensor", "value"},
				pgx.CopyFromSlice(next-at, func(n int) ([]any, error) { return reading(at + n), nil }))
			if err != nil {
				return err
			}
			r.SetProgress(float64(next)/float64(a.Rows), fmt.Sprint("row ", next))
			return r.SaveTx(ctx, pgstore.Tx(tx), next)
		})
		if err != nil {
			return err // the next run begins at the stored checkpoint
		}
		at = next
	}
	return r.SetResult(fmt.Sprint(a.Rows, " rows"))
}

// reading returns the n-th row to import: here it is invented.
func reading(n int) []any {
	return []any{time.Unix(1_700_000_000+int64(n), 0), n % 97, float64(n)}
}
