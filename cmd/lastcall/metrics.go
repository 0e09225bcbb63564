package main

import (
	"cmp"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lastcall-go/lastcall/prom"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

// metrics are what serve exports to Prometheus. docs/cli.md has the list.
type metrics struct {
	*prom.Metrics
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
}

// newMetrics creates the metrics, each zero.
func newMetrics() *metrics {
	m := &metrics{
		Metrics:  prom.New(),
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lastcall_http_request_seconds", Help: "How long HTTP requests took, by route and status.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30},
		}, []string{"route", "status"}),
	}
	m.registry.MustRegister(m.Metrics, m.requests,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// handler answers a scrape.
func (m *metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError), MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	})
}

// served records a request.
func (m *metrics) served(e httpapi.RequestInfo) {
	m.requests.WithLabelValues(cmp.Or(e.Route, "none"), strconv.Itoa(e.Status)).Observe(e.Took.Seconds())
}

// guarded serves metrics at the address of the tasks: to tokens that may read the tasks, or,
// without a token file, to this machine.
func guarded(h http.Handler, tokens *httpapi.Tokens) http.Handler {
	if tokens == nil {
		return thisMachineOnly(h)
	}
	return tokens.Require(httpapi.RoleRead, h)
}

// thisMachineOnly refuses requests for host names that are not this machine's. A page in a browser
// sends such requests, by a name of its own that resolves to this machine.
func thisMachineOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !isLoopback(host) {
			http.Error(w, "ask by an address of this machine", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}
