package main

import (
	"log/slog"
	"net"
	"net/http"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

// newProbes creates the routes that a platform may request without a token.
func newProbes(store task.Store, worker *task.Worker, ready func() bool, log *slog.Logger) *http.ServeMux {
	probes := httpapi.ProbeHandler(httpapi.ProbeConfig{Ready: ready, Store: store, Worker: worker, Logger: log})
	mux := http.NewServeMux()
	mux.Handle("/healthz", probes)
	mux.Handle("/readyz", probes)
	return mux
}

// withProbes serves the routes of probes, and all others from api.
func withProbes(api http.Handler, probes *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, pattern := probes.Handler(r); pattern != "" {
			h.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// forPlatform guards a listener without tokens. If the listener is on loopback, it refuses requests
// for foreign host names: a page in a browser of this machine could otherwise read the answers, by
// a name of its own that resolves to this machine.
func forPlatform(probes http.Handler, at net.Addr) http.Handler {
	if host, _, err := net.SplitHostPort(at.String()); err == nil && isLoopback(host) {
		return thisMachineOnly(probes)
	}
	return probes
}
