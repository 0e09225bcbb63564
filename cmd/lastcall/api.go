package main

import (
	"log/slog"
	"net"
	"net/http"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/httpapi"
	"github.com/lastcall-go/lastcall/task"
)

// newAPI makes what serve offers at an address: the tasks, and the probes of the platform. queues says
// where the tasks of a kind wait that name no queue.
func newAPI(store task.Store, addr net.Addr, queues map[string]string, ready func() bool, log *slog.Logger) (*httpapi.Handler, *http.Server, error) {
	api, err := httpapi.New(httpapi.Config{Store: store, Addr: addr, Queues: queues, Stopping: lastcall.Stopping, Logger: log})
	if err != nil {
		return nil, nil, err
	}
	probes := httpapi.Probes(httpapi.ProbeConfig{Ready: ready, Store: store, Logger: log})
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle("/healthz", probes)
	mux.Handle("/readyz", probes)
	return api, httpapi.NewServer(mux, log), nil
}
