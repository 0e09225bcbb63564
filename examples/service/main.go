// Command service takes orders over HTTP and prints their labels in tasks; see README.md.
package main

import (
	"context"
	"flag"
	"log/slog"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/prom"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
	"github.com/lastcall-go/lastcall/task/pgstore"
)

var (
	listen = flag.String("listen", "127.0.0.1:8080", "address for clients")
	debug  = flag.String("debug", "127.0.0.1:8081", "address for the platform")
)

func main() {
	flag.Parse()
	os.Exit(lastcall.Main(lastcall.Config{}, setUp))
}

func setUp(ctx context.Context, g *lastcall.Group) error {
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	g.Defer("pool", func(context.Context) error { pool.Close(); return nil })
	opened, err := pgstore.Open(ctx, pgstore.Config{Pool: pool, Migrate: true})
	if err != nil {
		return err
	}
	g.Defer("store", lastcall.CloseFunc(opened.Close)) // before the pool: the last one is closed first
	metrics := prom.New()
	prometheus.MustRegister(metrics)
	store := metrics.Store(opened)
	metrics.WatchTasks(store)
	metrics.WatchStop(ctx)

	var mux task.Mux
	shop, err := newShop(ctx, pool, task.NewClient(store), &mux)
	if err != nil {
		return err
	}
	worker, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Observe: metrics.Observe, Concurrency: 16})
	if err != nil {
		return err
	}
	metrics.WatchWorker(worker)
	if err := g.Go("worker", worker.Serve); err != nil {
		return err
	}
	http.Handle("GET /metrics", promhttp.Handler()) // where net/http/pprof has put its own
	http.Handle("GET /readyz", httpapi.ProbeHandler(httpapi.ProbeConfig{Ready: g.Ready, Store: store, Worker: worker}))
	if err := serve(g, "debug", *debug, http.DefaultServeMux, lastcall.ServeUntilClose()); err != nil {
		return err
	}
	return serve(g, "api", *listen, shop.routes())
}

func serve(g *lastcall.Group, name, address string, h http.Handler, options ...lastcall.ServerOption) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	slog.Info("serving "+name, "address", l.Addr().String())
	return g.HTTP(name, &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}, l, options...)
}
