package main

import (
	"log/slog"
	"net/http"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

// newProbes makes what a platform may ask for without a token.
func newProbes(store task.Store, ready func() bool, log *slog.Logger) *http.ServeMux {
	probes := httpapi.ProbeHandler(httpapi.ProbeConfig{Ready: ready, Store: store, Logger: log})
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
