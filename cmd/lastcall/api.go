package main

import (
	"log/slog"
	"net"
	"net/http"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

// newProbes makes what a platform may ask for without a token.
func newProbes(store task.Store, worker *task.Worker, ready func() bool, log *slog.Logger) *http.ServeMux {
	probes := httpapi.ProbeHandler(httpapi.ProbeConfig{Ready: ready, Store: store, Worker: worker, Logger: log})
	mux := http.NewServeMux()
	mux.Handle("/healthz", probes)
	mux.Handle("/readyz", probes)
	return mux
}

// besides offers the probes beside the tasks, at one address.
func besides(api http.Handler, probes *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, pattern := probes.Handler(r); pattern != "" {
			h.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// forPlatform guards what a listener without tokens has. On loopback a page in a browser of this
// machine could read it, by a name of its own that leads here.
func forPlatform(probes http.Handler, at net.Addr) http.Handler {
	if host, _, err := net.SplitHostPort(at.String()); err == nil && isLoopback(host) {
		return thisMachineOnly(probes)
	}
	return probes
}
