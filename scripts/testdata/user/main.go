// Command user is a program outside of the repository: scripts/release builds it against a version,
// without a replace, as the module of a user would.
package main

import (
	"context"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/prom"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/pgstore"
)

func main() { os.Exit(lastcall.Main(lastcall.Config{Grace: 30 * time.Second}, setup)) }

func setup(ctx context.Context, g *lastcall.Group) error {
	store, err := pgstore.Open(ctx, pgstore.Config{DSN: os.Getenv("DATABASE_URL")})
	if err != nil {
		return err
	}
	g.Defer("store", lastcall.CloseFunc(store.Close))
	metrics := prom.New()
	if err := prometheus.Register(metrics); err != nil {
		return err
	}
	worker, err := task.NewWorker(task.WorkerConfig{Store: metrics.Store(store), Mux: new(task.Mux), Observe: metrics.Observe})
	if err != nil {
		return err
	}
	return g.Go("worker", worker.Serve)
}
