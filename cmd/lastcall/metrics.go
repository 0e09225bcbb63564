package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

// metrics are what serve tells Prometheus. docs/cli.md has the list.
type metrics struct {
	registry      *prometheus.Registry
	waited, took  *prometheus.HistogramVec
	interruptions *prometheus.CounterVec
	crashes       prometheus.Counter
	unresponsive  *prometheus.CounterVec
	stale         prometheus.Counter
	store         *prometheus.HistogramVec
	storeErrors   *prometheus.CounterVec
	requests      *prometheus.HistogramVec
}

// newMetrics makes them, each zero.
func newMetrics() *metrics {
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	long := []float64{0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200, 21600, 86400}
	short := []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		waited:   histogram("lastcall_task_wait_seconds", "How long tasks could be claimed before their run began here.", long, "kind"),
		took:     histogram("lastcall_task_run_seconds", "How long runs went on here, by what the task became.", long, "kind", "status"),
		interruptions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lastcall_task_interruptions_total", Help: "Runs that were cut short on purpose or given back, as this process recorded them.",
		}, []string{"reason"}),
		crashes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lastcall_task_crashes_total", Help: "Runs whose process died, as this process recorded them.",
		}),
		unresponsive: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lastcall_unresponsive_handlers_total", Help: "Handlers here that had not returned 10 s after their context had ended.",
		}, []string{"kind"}),
		stale: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lastcall_stale_writes_refused_total", Help: "Writes of this process that came too late: the run was somebody else's by then.",
		}),
		store: histogram("lastcall_store_seconds", "How long the store took to answer, by call.", short, "call"),
		storeErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lastcall_store_errors_total", Help: "Calls of the store that returned an error, by call.",
		}, []string{"call"}),
		requests: histogram("lastcall_http_request_seconds", "How long HTTP requests took, by route and status.", short, "route", "status"),
	}
	for _, r := range []task.Reason{task.ReasonStop, task.ReasonDeadline, task.ReasonFrozen, task.ReasonLost, task.ReasonRequested, task.ReasonReleased} {
		m.interruptions.WithLabelValues(string(r))
	}
	m.registry.MustRegister(m.waited, m.took, m.interruptions, m.crashes, m.unresponsive, m.stale, m.store, m.storeErrors, m.requests,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// handler answers a scrape.
func (m *metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError), MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	})
}

// observe is told of a run's begin and end.
func (m *metrics) observe(e task.Event) {
	if e.Unresponsive {
		m.unresponsive.WithLabelValues(e.Task.Kind).Inc()
		return
	}
	if e.Status == task.StatusRunning {
		m.waited.WithLabelValues(e.Task.Kind).Observe(e.Waited.Seconds())
		return
	}
	if e.Reclaimed {
		return // how long it took is not known, and its crash is counted with the calls of the store
	}
	status := string(e.Status)
	if e.Stale {
		status = "stale"
	}
	m.took.WithLabelValues(e.Task.Kind, status).Observe(e.Took.Seconds())
}

// served is told of a request.
func (m *metrics) served(e httpapi.RequestInfo) {
	route := e.Route
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, strconv.Itoa(e.Status)).Observe(e.Took.Seconds())
}

// watchStop adds how far the stop of a context's group is.
func (m *metrics) watchStop(ctx context.Context) {
	m.registry.MustRegister(&stopCollector{ctx: ctx})
}

// watchTasks adds how many tasks there are in a store.
func (m *metrics) watchTasks(s task.Store) {
	m.registry.MustRegister(&taskCollector{store: s})
}

var (
	phaseDesc    = prometheus.NewDesc("lastcall_stop_phase", "1 for the phase that the process is in: running, drain, interrupt or close.", []string{"phase"}, nil)
	leftDesc     = prometheus.NewDesc("lastcall_stop_remaining_seconds", "How much time is left in the present phase of a stop. Only then, and where there is a deadline.", nil, nil)
	tasksDesc    = prometheus.NewDesc("lastcall_tasks", "How many tasks there are in the store.", []string{"queue", "kind", "status"}, nil)
	suspectsDesc = prometheus.NewDesc("lastcall_suspects", "How many of the tasks were in two crashes in a row, and run in groups.", []string{"state"}, nil)
	pauseDesc    = prometheus.NewDesc("lastcall_kind_paused", "1 for each kind that this process cannot run now, by what it lacks. Only then.", []string{"kind", "reason"}, nil)
	upDesc       = prometheus.NewDesc("lastcall_store_up", "1 if the store has answered this scrape.", nil, nil)
)

// watchWorker adds which kinds a worker has paused.
func (m *metrics) watchWorker(w *task.Worker) {
	m.registry.MustRegister(&pauseCollector{worker: w})
}

// pauseCollector tells of a worker's pauses.
type pauseCollector struct{ worker *task.Worker }

// Describe implements prometheus.Collector.
func (c *pauseCollector) Describe(ch chan<- *prometheus.Desc) { ch <- pauseDesc }

// Collect implements prometheus.Collector.
func (c *pauseCollector) Collect(ch chan<- prometheus.Metric) {
	for _, k := range c.worker.PausedKinds() {
		ch <- prometheus.MustNewConstMetric(pauseDesc, prometheus.GaugeValue, 1, k.Kind, k.Reason)
	}
}

// stopCollector tells of a group's stop.
type stopCollector struct{ ctx context.Context }

// Describe implements prometheus.Collector.
func (c *stopCollector) Describe(ch chan<- *prometheus.Desc) { ch <- phaseDesc; ch <- leftDesc }

// Collect implements prometheus.Collector.
func (c *stopCollector) Collect(ch chan<- prometheus.Metric) {
	now := stopPhase(c.ctx)
	for _, phase := range []string{"running", "drain", "interrupt", "close"} {
		value := 0.0
		if phase == now {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(phaseDesc, prometheus.GaugeValue, value, phase)
	}
	if left, ok := lastcall.TimeLeft(c.ctx); ok {
		ch <- prometheus.MustNewConstMetric(leftDesc, prometheus.GaugeValue, left.Seconds())
	}
}

// stopPhase is how far the stop of a context's group is.
func stopPhase(ctx context.Context) string {
	select {
	case <-lastcall.LastCall(ctx):
	default:
		return "running"
	}
	switch {
	case lastcall.UntilAbandon(ctx).Err() != nil:
		return "close"
	case lastcall.UntilInterrupt(ctx).Err() != nil:
		return "interrupt"
	}
	return "drain"
}

// taskCollector counts the tasks of a store when it is asked, at most once a second.
type taskCollector struct {
	store task.Store

	mu  sync.Mutex // held while the store is asked, so that one asks for all
	at  time.Time
	now task.Counts
	err error
}

const (
	countTrusted  = time.Second
	countPatience = 5 * time.Second
)

// Describe implements prometheus.Collector.
func (c *taskCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- tasksDesc
	ch <- suspectsDesc
	ch <- upDesc
}

// Collect implements prometheus.Collector.
func (c *taskCollector) Collect(ch chan<- prometheus.Metric) {
	counts, err := c.ask()
	if err != nil {
		ch <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, 0)
		return
	}
	ch <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, 1)
	for _, n := range counts.Tasks {
		ch <- prometheus.MustNewConstMetric(tasksDesc, prometheus.GaugeValue, float64(n.N), n.Queue, n.Kind, string(n.Status))
	}
	ch <- prometheus.MustNewConstMetric(suspectsDesc, prometheus.GaugeValue, float64(counts.SuspectsWaiting), "waiting")
	ch <- prometheus.MustNewConstMetric(suspectsDesc, prometheus.GaugeValue, float64(counts.SuspectsRunning), "running")
}

func (c *taskCollector) ask() (task.Counts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) >= countTrusted {
		ctx, cancel := context.WithTimeout(context.Background(), countPatience) // a scrape has no context here
		defer cancel()
		c.now, c.err = c.count(ctx)
		c.at = time.Now()
	}
	return c.now, c.err
}

// maxLines bounds what a scrape has of the tasks: every line is a series, which Prometheus keeps.
const maxLines = 1000

// count names the kinds that a registered worker knows, and adds up the others: whoever may submit
// chooses the kinds and queues of tasks.
func (c *taskCollector) count(ctx context.Context) (task.Counts, error) {
	workers, err := c.store.Workers(ctx)
	if err != nil {
		return task.Counts{}, err
	}
	q := task.CountQuery{Lines: maxLines, Kinds: []string{}}
	for _, w := range workers {
		q.Kinds = append(q.Kinds, w.Kinds...)
	}
	slices.Sort(q.Kinds)
	q.Kinds = slices.Compact(q.Kinds)
	return c.store.Count(ctx, q)
}

// guarded shows metrics beside the tasks: to those who may read them, or where there are no tokens
// to this machine.
func guarded(h http.Handler, tokens *httpapi.Tokens) http.Handler {
	if tokens == nil {
		return thisMachineOnly(h)
	}
	return tokens.Require(httpapi.RoleRead, h)
}

// thisMachineOnly refuses requests by names that are not this machine's, as a page in a browser
// makes them by a name of its own that leads here.
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
