package prom_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/prom"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// A service with a worker, whose metrics are served until the closing phase of its stop.
func Example() {
	var mux task.Mux
	os.Exit(lastcall.Main(lastcall.Config{}, func(ctx context.Context, g *lastcall.Group) error {
		opened := memstore.New() // or a store of PostgreSQL
		g.Defer("store", lastcall.CloseFunc(opened.Close))

		metrics := prom.New()
		store := metrics.Store(opened)
		metrics.WatchTasks(store)
		metrics.WatchStop(ctx)
		worker, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Observe: metrics.Observe, Logger: slog.Default()})
		if err != nil {
			return err
		}
		metrics.WatchWorker(worker)
		if err := g.Go("worker", worker.Serve); err != nil {
			return err
		}

		registry := prometheus.NewRegistry()
		registry.MustRegister(metrics)
		debug := http.NewServeMux()
		debug.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
		listener, err := net.Listen("tcp", "127.0.0.1:9090")
		if err != nil {
			return err
		}
		return g.HTTP("debug", &http.Server{Handler: debug}, listener, lastcall.ServeUntilClose())
	}))
}
